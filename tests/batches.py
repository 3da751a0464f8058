"""Options whose results are computed in tests of batches: a module of its own, so that worker processes can import it."""

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
    """Fails for planes of 100 and more; counts its computations in a folder, where other processes see them too."""

    def __init__(self, tally: Path | None = None, *, slow_s: float = 0.0, kill_at: int = -1) -> None:
        self.tally, self.slow_s, self.kill_at = tally, slow_s, kill_at

    def empty_cache(self) -> Fit:
        return Fit("A", 0)

    def compute_cache(self, result: Fit) -> Fit:
        if self.tally is not None:
            (self.tally / f"{result.animal}-{result.plane}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(self.slow_s)
        if result.plane >= 100:
            raise Unpicklable(result.plane)
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


class Unpicklable(Exception):
    """As some libraries raise: it does not survive the way between processes."""

    def __init__(self, plane: int) -> None:
        super().__init__(f"plane {plane} does not converge")
        self.lock: Any = open(os.devnull)  # noqa: SIM115

    def __del__(self) -> None:
        self.lock.close()
