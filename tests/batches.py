"""Classes and options for tests of batches: a module of its own, so that worker processes can import it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from neuralib.persistence import autoinc_field, field, persistence_class
from neuralib.persistence.cli_persistence import PersistenceOptions


@persistence_class
class Fit:
    animal: str = field(validator=True, filename=True)
    plane: int = field(validator=True, filename_prefix="plane", filename=True)
    weights: np.ndarray
    pid: int


@persistence_class
class Draw:
    animal: str = field(validator=True, filename=True)
    run: int = autoinc_field("#")
    value: float


class FitOptions(PersistenceOptions[Fit]):
    """Fails for planes of 100 and more; counts computations by files in a folder, which all processes see."""

    def __init__(self, tally: Path | None = None, *, slow_s: float = 0.0, kill_at: int = -1) -> None:
        self.tally, self.slow_s, self.kill_at = tally, slow_s, kill_at

    def empty_cache(self) -> Fit:
        return Fit("A", 0)

    def compute_cache(self, result: Fit) -> Fit:
        if self.tally is not None:
            (self.tally / f"{result.animal}-{result.plane}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(self.slow_s)
        if result.plane >= 100:
            raise UnpicklableError(result.plane)
        if result.plane == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        result.weights, result.pid = np.full(5, result.plane, float), os.getpid()
        return result


class DrawOptions(PersistenceOptions[Draw]):
    def empty_cache(self) -> Draw:
        return Draw("A")

    def compute_cache(self, result: Draw) -> Draw:
        result.value = 0.5
        return result


class CountingOptions(FitOptions):
    """Fails at the first two attempts at plane 3; counts by files how often its options were unpickled."""

    def __init__(self, tally: Path, size_bytes: int = 0) -> None:
        super().__init__(tally)
        self.ballast = os.urandom(size_bytes)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        (self.tally / f"unpickled-{os.getpid()}-{time.monotonic_ns()}").touch()

    def compute_cache(self, result: Fit) -> Fit:
        super().compute_cache(result)
        if result.plane == 3 and len(list(self.tally.glob("A-3-*"))) < 3:
            raise ValueError("not yet")
        return result


class StuckOptions(FitOptions):
    """Takes a minute for plane 1."""

    def compute_cache(self, result: Fit) -> Fit:
        time.sleep(60 if result.plane == 1 else 0)
        return super().compute_cache(result)


class LingeringOptions(FitOptions):
    """Kills its worker at the first attempt at plane 0, while another worker computes plane 1, and is not ended at once."""

    def compute_cache(self, result: Fit) -> Fit:
        assert self.tally is not None
        if result.plane == 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (self.tally / "lingering").write_text(str(os.getpid()))  # for the test to end it
        result = super().compute_cache(result)
        if result.plane == 0 and len(list(self.tally.glob("A-0-*"))) == 1:
            while not list(self.tally.glob("A-1-*")):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if result.plane == 1:
            time.sleep(1)
        return result


class YieldingOptions(FitOptions):
    """Takes a millisecond, so that other threads can run."""

    def compute_cache(self, result: Fit) -> Fit:
        time.sleep(0.001)
        return super().compute_cache(result)


CHUNKS = [0]  # how many chunks the engine of a test has computed


class GrowingOptions(FitOptions):
    """Takes longer from plane 80 on; ``pid`` is then the number of the chunk that computed the result."""

    def compute_cache(self, result: Fit) -> Fit:
        result = super().compute_cache(result)
        if result.plane >= 80:
            time.sleep(0.04)
            result.pid = CHUNKS[0]
        return result


class SeededOptions(DrawOptions):
    """Uses the number of a repetition as its seed."""

    def compute_cache(self, result: Draw) -> Draw:
        fresh = Draw(result.animal)  # a new result, which has no number
        fresh.value = float(np.random.default_rng(result.run).random())
        return fresh


class UnpicklableError(Exception):
    """An exception that can't be pickled, as some libraries raise."""

    def __init__(self, plane: int) -> None:
        super().__init__(f"plane {plane} does not converge")
        self.lock: Any = open(os.devnull)  # noqa: SIM115

    def __del__(self) -> None:
        self.lock.close()
