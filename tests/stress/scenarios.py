"""Scenarios that save: tests kill the process or let system calls fail meanwhile, and check what must hold afterwards."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from checks import Pair, Run, filled

from neuralib.persistence import GzipHandler, PersistenceHandler, PickleHandler, missing, results_equal
from neuralib.persistence._stores import system

if TYPE_CHECKING:
    from pathlib import Path


class HookHandler(PersistenceHandler):
    """A handler as users write them: its hook writes to a path in several steps, and writes a second file beside the first."""

    persistence_class = Pair
    save_root: Any = None

    def __init__(self, root):
        self.save_root = root

    def filename(self, result, **kwargs):
        return super().filename(result, **kwargs) + ".npy"

    def _save_persistence(self, result, path):
        content = io.BytesIO()  # np.save to a path ignores a full disk when it closes the file
        np.save(content, result.data)
        path.write_bytes(content.getvalue())
        path.with_suffix(".txt").write_text("beside")

    def _load_persistence(self, path):
        _, a, b = path.stem.split("-", 1)[1].rpartition("Pair-")[0], *path.stem.removeprefix("cache-Pair-").split("-")
        return filled(Pair(int(a), b), data=np.load(io.BytesIO(path.read_bytes())))


class Scenario:
    """Saves results by one handler, and reports each save when it has returned.

    :param folder: where results are saved
    """

    handler_class: Any = PickleHandler
    options: dict[str, Any] = {}
    """Options of the handler."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handler = self.make_handler(folder)
        self.report: Any = None
        """A function that takes facts by keyword; set by the code that runs the scenario."""

    def make_handler(self, folder: Path) -> Any:
        return self.handler_class(Pair, folder, **self.options)

    def data(self, n: int) -> Any:
        """Return the data of result *n*, different for each."""
        return np.arange(10.0) + n

    def prepare(self) -> None:
        """Fill the folder before the run."""
        self.handler.save_persistence(filled(Pair(0, "former"), data=self.data(0)))

    def run(self) -> None:
        for n in (1, 2):
            self.handler.save_persistence(filled(Pair(n, "new"), data=self.data(n)))
            self.report(saved=n)

    def report_results(self) -> None:
        """Report the state of the results in memory after the run."""

    def check(self, reports: list[dict[str, Any]]) -> None:
        """Check that each result whose save returned exists, and that all results are intact."""
        handler = self.make_handler(self.folder)
        found = {result.a: result for _, result in handler.load_all(a=missing, b=missing)}
        assert set(found) >= {0} | {report["saved"] for report in reports if "saved" in report}
        for n, result in found.items():
            assert np.array_equal(result.data, self.data(n))
        assert not [check for check in handler.verify() if check.problem]
        self.check_folder(handler)

    def check_folder(self, handler: Any) -> None:
        """Check that the folder holds only results and hidden leftovers, and that a sweep removes the leftovers."""
        names = os.listdir(self.folder)
        hidden = {name for name in names if name.startswith(system.LEFTOVER_PREFIX)}
        assert all(name.startswith("cache-") for name in set(names) - hidden)
        assert {path.name for path in handler.sweep(older_than_s=-60)} == hidden


class New(Scenario):
    """Saves small results under new names."""


class Large(Scenario):
    """Saves results with arrays that are written in several pieces."""

    def data(self, n):
        return np.arange(300_000.0) + n


class Compressed(Large):
    handler_class = GzipHandler

    def data(self, n):
        return np.random.default_rng(n).random(150_000)


class Durable(Scenario):
    options = {"durable": True}


class Overwrite(Scenario):
    """Replaces a result: afterwards the former or the new one exists, intact."""

    options: dict[str, Any] = {}

    def run(self):
        self.handler.save_persistence(filled(Pair(0, "former"), data=self.data(7)))
        self.report(replaced=True)

    def check(self, reports):
        handler = self.make_handler(self.folder)
        found = handler.load_persistence(Pair(0, "former"))
        candidates = [filled(Pair(0, "former"), data=self.data(n)) for n in (0, 7)]
        allowed = candidates[1:] if any("replaced" in report for report in reports) else candidates
        assert any(results_equal(found, candidate) for candidate in allowed)
        self.check_folder(handler)


class OverwriteLarge(Overwrite):
    def data(self, n):
        return np.arange(300_000.0) + n


class Numbered(Scenario):
    """Saves numbered results: afterwards no number is skipped, and the next save works."""

    batch = False

    def __init__(self, folder):
        super().__init__(folder)
        self.serial = 0  # identifies the last result by its data, whatever its number
        self.results = []

    def make_handler(self, folder):
        return self.handler_class(Run, folder, **self.options)

    def prepare(self):
        self.handler.save_persistence(filled(Run("A"), data=self.data(0)))

    def run(self):
        if self.batch:
            self.handler.save_all(self.next_result() for _ in range(5))
            self.report_results()
            return
        for _ in range(3):
            self.handler.save_persistence(self.next_result())
            self.report_results()

    def next_result(self):
        self.serial += 1
        self.results.append(filled(Run("A"), data=self.data(self.serial)))
        return self.results[-1]

    def report_results(self):
        """Report each result that has a number, with its serial: it must be saved under that number."""
        self.report(
            numbers=[
                (result.version, result.data[0] - self.data(0)[0])
                for result in self.results
                if result.version is not None
            ]
        )

    def check(self, reports):
        handler = self.make_handler(self.folder)
        found = [result for _, result in handler.load_all(Run("A"))]
        assert [result.version for result in found] == list(range(len(found)))
        assert all(np.array_equal(result.data, self.data(result.data[0] - self.data(0)[0])) for result in found)
        acknowledged = {number: serial for report in reports for number, serial in report.get("numbers", ())}
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
    """Saves by a handler that a user wrote."""

    def make_handler(self, folder):
        handler = HookHandler(folder)
        vars(handler).update(self.options)
        return handler

    def check_folder(self, handler):
        super().check_folder(handler)
        assert not [name for name in os.listdir(self.folder) if not name.endswith((".npy", ".txt"))]


class DurableHooked(Hooked):
    options = {"durable": True}


class OverwriteHooked(Overwrite):
    make_handler = Hooked.make_handler


class Extended(Overwrite):
    """Saves by a handler whose hook calls the inherited one."""

    class handler_class(PickleHandler):
        def _save_persistence(self, result, path):
            super()._save_persistence(result, path)


class NewFolder(Scenario):
    """Saves into a folder that does not exist yet."""

    def make_handler(self, folder):
        return self.handler_class(Pair, folder / "made" / "here", **self.options)

    def prepare(self):
        pass

    def check(self, reports):
        if not (self.folder / "made" / "here").exists():
            assert not [report for report in reports if "saved" in report]
            return
        handler = self.make_handler(self.folder)
        found = {result.a for _, result in handler.load_all(a=missing, b=missing)}
        assert found >= {report["saved"] for report in reports if "saved" in report}


class DurableNewFolder(NewFolder):
    options = {"durable": True}


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        New, Large, Compressed, Durable, Overwrite, OverwriteLarge, Numbered, Batch, DurableBatch, Hooked, DurableHooked,
        OverwriteHooked, Extended, NewFolder, DurableNewFolder,
    )
}  # fmt: skip
