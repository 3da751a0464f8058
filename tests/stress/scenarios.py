"""What victims do while they are killed, and what must hold afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from checks import Pair, Run, filled

from neuralib.persistence import GzipHandler, PersistenceHandler, PickleHandler, results_equal
from neuralib.persistence._stores import system

if TYPE_CHECKING:
    from pathlib import Path


class HookHandler(PersistenceHandler):
    """As users subclass it: writes by path, in several steps, with a file beside it."""

    persistence_class = Pair
    save_root: Any = None

    def __init__(self, root):
        self.save_root = root

    def filename(self, result, **kwargs):
        return super().filename(result, **kwargs) + ".npy"

    def _save_persistence(self, result, path):
        with open(path, "wb") as file:
            np.save(file, result.data)
        path.with_suffix(".txt").write_text("beside")

    def _load_persistence(self, path):
        _, a, b = path.stem.split("-", 1)[1].rpartition("Pair-")[0], *path.stem.removeprefix("cache-Pair-").split("-")
        return filled(Pair(int(a), b), data=np.load(path))


class Scenario:
    """Saves by one handler, each acknowledged when it returned."""

    kind: Any = PickleHandler
    options: dict[str, Any] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handler = self.made(folder)
        self.say: Any = None

    def made(self, folder: Path) -> Any:
        return self.kind(Pair, folder, **self.options)

    def data(self, n: int) -> Any:
        return np.arange(10.0) + n

    def before(self) -> None:
        """Prepare the folder, unharmed."""
        self.handler.save_persistence(filled(Pair(0, "former"), data=self.data(0)))

    def run(self) -> None:
        for n in (1, 2):
            self.handler.save_persistence(filled(Pair(n, "new"), data=self.data(n)))
            self.say(saved=n)

    def check(self, said: list[dict[str, Any]]) -> None:
        """Everything that was acknowledged is there, everything that is there is whole."""
        handler = self.made(self.folder)
        found = {it.a: it for _, it in handler.load_all(None, **dict.fromkeys("ab", _anything()))}
        assert set(found) >= {0} | {it["saved"] for it in said if "saved" in it}
        for n, result in found.items():
            assert np.array_equal(result.data, self.data(n))
        assert not [it for it in handler.verify() if it.problem]
        self.check_folder(handler)

    def check_folder(self, handler: Any) -> None:
        """Only results and hidden leftovers are there, which go when they are swept."""
        names = os.listdir(self.folder)
        hidden = {it for it in names if it.startswith(system.LEFTOVER_PREFIX)}
        assert all(it.startswith("cache-") for it in set(names) - hidden)
        assert {it.name for it in handler.sweep(older_than_s=-60)} == hidden


def _anything() -> Any:
    from neuralib.persistence import missing

    return missing


class New(Scenario):
    """Small results under new names."""


class Large(Scenario):
    """Results with arrays that are written in several pieces."""

    def data(self, n):
        return np.arange(300_000.0) + n


class Compressed(Large):
    kind = GzipHandler

    def data(self, n):
        return np.random.default_rng(n).random(300_000)


class Durable(Scenario):
    options = {"durable": True}


class Overwrite(Scenario):
    """The former result is replaced: it or the new one is there, whole."""

    options: dict[str, Any] = {}

    def run(self):
        self.handler.save_persistence(filled(Pair(0, "former"), data=self.data(7)))
        self.say(replaced=True)

    def check(self, said):
        handler = self.made(self.folder)
        found = handler.load_persistence(Pair(0, "former"))
        candidates = [filled(Pair(0, "former"), data=self.data(n)) for n in (0, 7)]
        allowed = candidates[1:] if any("replaced" in it for it in said) else candidates
        assert any(results_equal(found, it) for it in allowed)
        self.check_folder(handler)


class OverwriteLarge(Overwrite):
    def data(self, n):
        return np.arange(300_000.0) + n


class Numbered(Scenario):
    """Results of a series: numbers stay dense for the next, who is not disturbed."""

    batch = False

    def made(self, folder):
        return self.kind(Run, folder, **self.options)

    def before(self):
        self.handler.save_persistence(filled(Run("A"), data=self.data(0)))

    def run(self):
        if self.batch:
            self.handler.save_all(filled(Run("A"), data=self.data(n)) for n in range(1, 6))
            self.say(saved=5)
            return
        for n in range(1, 4):
            saved = self.handler.save_persistence(filled(Run("A"), data=self.data(n)))
            self.say(saved=saved.version)

    def check(self, said):
        handler = self.made(self.folder)
        found = [it for _, it in handler.load_all(Run("A"))]
        assert [it.version for it in found] == list(range(len(found)))
        assert all(np.array_equal(it.data, self.data(it.version)) for it in found)
        assert len(found) > max([0, *(it["saved"] for it in said if "saved" in it)])
        assert handler.save_persistence(filled(Run("A"), data=self.data(len(found)))).version == len(found)
        self.check_folder(handler)


class Batch(Numbered):
    batch = True


class DurableBatch(Numbered):
    batch = True
    options = {"durable": True}


class Hooked(Scenario):
    """A user's own handler."""

    def made(self, folder):
        return HookHandler(folder)

    def check_folder(self, handler):
        super().check_folder(handler)
        assert not [it for it in os.listdir(self.folder) if not it.endswith((".npy", ".txt"))]


class NewFolder(Scenario):
    """The folder is made on the way."""

    def made(self, folder):
        return self.kind(Pair, folder / "made" / "here")

    def before(self):
        pass

    def check(self, said):
        if not (self.folder / "made" / "here").exists():
            assert not [it for it in said if "saved" in it]
            return
        handler = self.made(self.folder)
        found = {it.a for _, it in handler.load_all(None, a=_anything(), b=_anything())}
        assert found >= {it["saved"] for it in said if "saved" in it}


SCENARIOS = {
    it.__name__: it
    for it in (
        New, Large, Compressed, Durable, Overwrite, OverwriteLarge, Numbered, Batch, DurableBatch, Hooked, NewFolder,
    )
}  # fmt: skip
