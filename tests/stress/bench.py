"""Where scenarios are disturbed in this process, and what must hold afterwards."""

from __future__ import annotations

import _thread
import gc
import os
import shutil
import sys
import warnings

from checks import threads_end
from stress.reads import BY_THREADS, READS
from stress.scenarios import SCENARIOS
from stress.zygote import go_the_way

from neuralib.persistence import _disk
from neuralib.persistence._stores import system

BY_HOOK = ["Hooked", "DurableHooked", "OverwriteHooked"]
"""Scenarios whose files have names from the start."""

SAVING = [
    (scenario, way)
    for scenario in SCENARIOS
    for way in ("unnamed", "hidden", "claimed")
    if way != "unnamed" or scenario not in BY_HOOK
]
"""Each scenario that saves, with the ways in which it can."""

WAYS = SAVING + [(scenario, "unnamed") for scenario in READS]
"""All scenarios."""


class Bench:
    """Lets a scenario be disturbed, and checks what is left of it."""

    def __init__(self, folder, monkeypatch):
        self._folder, self._monkeypatch = folder, monkeypatch
        self._runs = 0
        self._threads = _thread._count()
        gc.collect()
        gc.freeze()  # so that each collection takes microseconds

    def go(self, way):
        for owner, name in ((system, "TMPFILE"), (os, "link"), (_disk, "rename_exclusively")):
            self._monkeypatch.setattr(owner, name, getattr(owner, name))
        go_the_way(way)

    def made(self, scenario):
        self._runs += 1
        folder = self._folder / str(self._runs)
        folder.mkdir()
        kind = (SCENARIOS | READS | BY_THREADS)[scenario]
        kind(folder).before()
        made = kind(folder)
        made.said = []
        made.say = lambda **what: made.said.append(what)
        return made

    def disturbed(self, made, disturb):
        """Run the scenario *made* by *disturb*, which takes what to run; check what is left. Return what *disturb* does."""
        lost = []
        self._monkeypatch.setattr(sys, "unraisablehook", lambda it: lost.append(it.exc_value))
        threads_end(self._threads)  # what was made may have had some, which hold descriptors to their last steps
        threads, before = _thread._count(), descriptors()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            outcome = disturb(made.run)
        gc.collect()
        assert threads_end(threads), f"{_thread._count()} threads are left, {threads} were there"
        assert descriptors() == before, f"open are {descriptors()}, before it was {before}"
        left = [it for _, folders, files in os.walk(made.folder) for it in [*folders, *files]]
        assert not [it for it in left if it.startswith(system.LEFTOVER_PREFIX)], left
        made.after()
        made.check(made.said)
        for it in getattr(made, "mine", ()):
            made.handler.save_persistence(it)
        made.run()
        made.after()
        made.check(made.said)
        assert all(isinstance(it, (KeyboardInterrupt, MemoryError)) for it in lost), lost
        shutil.rmtree(made.folder)  # thousands of runs would fill the disk
        assert threads_end(self._threads), "threads are left"  # so that the next bench doesn't count one that is ending
        return outcome


def descriptors():
    """Return what is open, by number."""
    return {each: where for each in os.listdir("/proc/self/fd") if (where := opened(each))}


def opened(descriptor):
    """Return what that *descriptor* leads to, or None if it was that of the listing."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:
        return None
