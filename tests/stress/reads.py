"""What victims load while the system fails them: what they get is right, or an error that names the file."""

from __future__ import annotations

from typing import Any

import numpy as np
from checks import Pair, Run, filled
from stress.scenarios import HookHandler, Scenario

from neuralib.persistence import GzipHandler, results_equal


class Load(Scenario):
    """One small result."""

    def run(self) -> None:
        self.compare(self.handler.load_persistence(Pair(0, "former")), 0)

    def compare(self, found: Any, n: int) -> None:
        self.say(right=results_equal(found, filled(Pair(0, "former"), data=self.data(n))))

    def check(self, said: list[dict[str, Any]]) -> None:
        """Whatever was loaded was right, and what is there was left alone."""
        assert all(it["right"] for it in said if "right" in it)
        assert not [it for it in self.made(self.folder).verify() if it.problem]
        self.check_folder(self.made(self.folder))


class LoadWhole(Load):
    """One of a size that is read into spare memory."""

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
    kind = GzipHandler

    def data(self, n):
        return np.random.default_rng(n).random(100_000)


class LoadHooked(Load):
    def made(self, folder):
        return HookHandler(folder)


class Verify(LoadLarge):
    """A file that can't be read is a problem of it, not the end."""

    def run(self):
        found = list(self.handler.verify())
        self.say(checked=len(found))
        for it in found:
            if it.problem is not None:
                raise it.problem
            self.say(right=it.checksummed)


class LoadAll(Load):
    """A series."""

    def made(self, folder):
        return self.kind(Run, folder)

    def before(self):
        for n in range(4):
            self.handler.save_persistence(filled(Run("A"), data=self.data(n)))

    def run(self):
        found = [it for _, it in self.handler.load_all(Run("A"))]
        wanted = [filled(Run("A", n), data=self.data(n)) for n in range(4)]
        self.say(right=len(found) == 4 and all(map(results_equal, found, wanted)))


class LoadAhead(LoadAll):
    """A series, by threads that read ahead."""

    kind = GzipHandler

    def made(self, folder):
        return self.kind(Run, folder, threads=3)


BY_THREADS = {it.__name__: it for it in (LoadAhead,)}
"""What the system is asked for by several threads, in no order that could be told before."""

READS = {
    it.__name__: it
    for it in (Load, LoadWhole, LoadLarge, LoadMapped, LoadUntrusted, LoadCompressed, LoadHooked, Verify, LoadAll)
}  # fmt: skip
