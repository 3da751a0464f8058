"""What victims do while they are killed, or the system fails them, and what must hold afterwards."""

from __future__ import annotations

import io
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
        content = io.BytesIO()  # numpy does not tell of a full disk when it closes a file of its own
        np.save(content, result.data)
        path.write_bytes(content.getvalue())
        path.with_suffix(".txt").write_text("beside")

    def _load_persistence(self, path):
        _, a, b = path.stem.split("-", 1)[1].rpartition("Pair-")[0], *path.stem.removeprefix("cache-Pair-").split("-")
        return filled(Pair(int(a), b), data=np.load(io.BytesIO(path.read_bytes())))


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

    def after(self) -> None:
        """Say what became of the results in memory."""

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
        return np.random.default_rng(n).random(150_000)


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

    def __init__(self, folder):
        super().__init__(folder)
        self.serial = 0  # tells each result from all others, whatever its number
        self.mine = []

    def made(self, folder):
        return self.kind(Run, folder, **self.options)

    def before(self):
        self.handler.save_persistence(filled(Run("A"), data=self.data(0)))

    def run(self):
        if self.batch:
            self.handler.save_all(self.made_up() for _ in range(5))
            self.after()
            return
        for _ in range(3):
            self.handler.save_persistence(self.made_up())
            self.after()

    def made_up(self):
        self.serial += 1
        self.mine.append(filled(Run("A"), data=self.data(self.serial)))
        return self.mine[-1]

    def after(self):
        """Whoever has a number is there under it."""
        self.say(numbers=[(it.version, it.data[0] - self.data(0)[0]) for it in self.mine if it.version is not None])

    def check(self, said):
        handler = self.made(self.folder)
        found = [it for _, it in handler.load_all(Run("A"))]
        assert [it.version for it in found] == list(range(len(found)))
        assert all(np.array_equal(it.data, self.data(it.data[0] - self.data(0)[0])) for it in found)
        acknowledged = {number: serial for it in said for number, serial in it.get("numbers", ())}
        for number, serial in acknowledged.items():
            assert np.array_equal(found[number].data, self.data(serial)), (number, serial)
        self.check_next(handler, len(found))

    def check_next(self, handler, number):
        assert handler.save_persistence(filled(Run("A"), data=self.data(number))).version == number
        self.check_folder(handler)


class Batch(Numbered):
    batch = True


class DurableBatch(Numbered):
    batch = True
    options = {"durable": True}


class Hooked(Scenario):
    """A user's own handler."""

    def made(self, folder):
        handler = HookHandler(folder)
        vars(handler).update(self.options)
        return handler

    def check_folder(self, handler):
        super().check_folder(handler)
        assert not [it for it in os.listdir(self.folder) if not it.endswith((".npy", ".txt"))]


class DurableHooked(Hooked):
    options = {"durable": True}


class OverwriteHooked(Overwrite):
    made = Hooked.made


class Extended(Overwrite):
    """A handler that extends what it inherits."""

    class kind(PickleHandler):
        def _save_persistence(self, result, path):
            super()._save_persistence(result, path)


class NewFolder(Scenario):
    """The folder is made on the way."""

    def made(self, folder):
        return self.kind(Pair, folder / "made" / "here", **self.options)

    def before(self):
        pass

    def check(self, said):
        if not (self.folder / "made" / "here").exists():
            assert not [it for it in said if "saved" in it]
            return
        handler = self.made(self.folder)
        found = {it.a for _, it in handler.load_all(None, a=_anything(), b=_anything())}
        assert found >= {it["saved"] for it in said if "saved" in it}


class DurableNewFolder(NewFolder):
    options = {"durable": True}


SCENARIOS = {
    it.__name__: it
    for it in (
        New, Large, Compressed, Durable, Overwrite, OverwriteLarge, Numbered, Batch, DurableBatch, Hooked, DurableHooked,
        OverwriteHooked, Extended, NewFolder, DurableNewFolder,
    )
}  # fmt: skip
