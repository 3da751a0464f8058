"""Scenarios that load: whatever fails meanwhile, loaded data is right, or the error names the file."""

from __future__ import annotations

from typing import Any

import numpy as np
from checks import Pair, Run, filled
from stress.scenarios import HookHandler, Scenario

from neuralib.persistence import GzipHandler, results_equal


class Load(Scenario):
    """Loads one small result."""

    def run(self) -> None:
        self.compare(self.handler.load_persistence(Pair(0, "former")), 0)

    def compare(self, found: Any, n: int) -> None:
        """Report whether *found* is the result with the data *n*."""
        self.report(right=results_equal(found, filled(Pair(0, "former"), data=self.data(n))))

    def check(self, reports: list[dict[str, Any]]) -> None:
        """Check that everything that was loaded was right, and that the files are unchanged."""
        assert all(report["right"] for report in reports if "right" in report)
        assert not [check for check in self.make_handler(self.folder).verify() if check.problem]
        self.check_folder(self.make_handler(self.folder))


class LoadWhole(Load):
    """Loads a result of the size for which the buffer of an earlier load is used again."""

    def data(self, n):
        return [np.arange(30_000.0) + n, "x" * 1000]


class LoadLarge(Load):
    def data(self, n):
        return np.arange(300_000.0) + n


class LoadMapped(LoadLarge):
    options = {"mmap_mode": "r"}


class LoadUntrusted(LoadLarge):
    options = {"trusted": False}


class LoadCompressed(Load):
    handler_class = GzipHandler

    def data(self, n):
        return np.random.default_rng(n).random(100_000)


class LoadHooked(Load):
    def make_handler(self, folder):
        return HookHandler(folder)


class Verify(LoadLarge):
    """Checks files: one that can't be read is reported, and the others are checked."""

    def run(self):
        found = list(self.handler.verify())
        self.report(checked=len(found))
        for check in found:
            if check.problem is not None:
                raise check.problem
            self.report(right=check.checksummed)


class LoadAll(Load):
    """Loads a series of numbered results."""

    def make_handler(self, folder):
        return self.handler_class(Run, folder)

    def prepare(self):
        for n in range(4):
            self.handler.save_persistence(filled(Run("A"), data=self.data(n)))

    def run(self):
        found = [result for _, result in self.handler.load_all(Run("A"))]
        wanted = [filled(Run("A", n), data=self.data(n)) for n in range(4)]
        self.report(right=len(found) == 4 and all(map(results_equal, found, wanted)))


class LoadAhead(LoadAll):
    """Loads a series by threads that read ahead."""

    handler_class = GzipHandler

    def make_handler(self, folder):
        return self.handler_class(Run, folder, threads=3)


BY_THREADS = {scenario.__name__: scenario for scenario in (LoadAhead,)}
"""Scenarios whose threads make system calls in an order that differs from run to run."""

READS = {
    scenario.__name__: scenario
    for scenario in (Load, LoadWhole, LoadLarge, LoadMapped, LoadUntrusted, LoadCompressed, LoadHooked, Verify, LoadAll)
}  # fmt: skip
