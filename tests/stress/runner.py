"""Runs a scenario in this process while something disturbs it, and checks that nothing is lost or left behind."""

from __future__ import annotations

import _thread
import gc
import os
import shutil
import sys
import time
import warnings

from checks import threads_end
from stress.publishing import publish_by
from stress.reads import BY_THREADS, READS
from stress.scenarios import SCENARIOS

from neuralib.persistence import _disk
from neuralib.persistence._stores import system

HOOK_SCENARIOS = ["Hooked", "DurableHooked", "OverwriteHooked"]
"""Scenarios that save through a hook, which writes to a path: their files are never without a name."""

SAVING_CASES = [
    (scenario, publishing)
    for scenario in SCENARIOS
    for publishing in ("unnamed", "hidden", "claimed")
    if publishing != "unnamed" or scenario not in HOOK_SCENARIOS
]
"""Each scenario that saves, with each method of publishing that it can use."""

CASES = SAVING_CASES + [(scenario, "unnamed") for scenario in READS]
"""The same, and each scenario that loads (the method makes no difference to it)."""


class ScenarioRunner:
    """Makes scenarios in folders of their own, and runs each while a function disturbs it.

    :param folder: an existing folder; a subfolder is made for each scenario
    """

    def __init__(self, folder, monkeypatch):
        self._folder, self._monkeypatch = folder, monkeypatch
        self._runs = 0
        self._threads = _thread._count()
        gc.collect()
        gc.freeze()  # so that each collection takes microseconds

    def publish_by(self, publishing):
        """Use this method of publishing until the end of the test."""
        for owner, name in ((system, "TMPFILE"), (os, "link"), (_disk, "rename_exclusively")):
            self._monkeypatch.setattr(owner, name, getattr(owner, name))
        publish_by(publishing)

    def new_scenario(self, name):
        """Return the scenario of that *name* in a new folder, prepared to run."""
        self._runs += 1
        folder = self._folder / str(self._runs)
        folder.mkdir()
        cls = (SCENARIOS | READS | BY_THREADS)[name]
        cls(folder).prepare()
        scenario = cls(folder)
        scenario.reports = []
        scenario.report = lambda **facts: scenario.reports.append(facts)
        return scenario

    def run(self, scenario, disturb):
        """Run *scenario* while it is disturbed; check what is left; run it again undisturbed, and check again.

        :param disturb: called with the scenario's ``run``, which it calls
        :return: what *disturb* returns
        """
        ignored = []  # exceptions that the interpreter could only print
        self._monkeypatch.setattr(sys, "unraisablehook", lambda failure: ignored.append(failure.exc_value))
        threads_end(self._threads)  # those of earlier scenarios, which hold descriptors until they end
        threads, before = _thread._count(), descriptors()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            outcome = disturb(scenario.run)
        gc.collect()
        assert threads_end(threads), f"{_thread._count()} threads run, {threads} ran before"
        assert descriptors_are(before), f"descriptors: {descriptors()}, before: {before}"
        left = [name for _, folders, files in os.walk(scenario.folder) for name in [*folders, *files]]
        assert not [name for name in left if name.startswith(system.LEFTOVER_PREFIX)], left
        scenario.report_results()
        scenario.check(scenario.reports)
        for result in getattr(scenario, "results", ()):
            scenario.handler.save_persistence(result)
        scenario.run()
        scenario.report_results()
        scenario.check(scenario.reports)
        assert all(isinstance(error, (KeyboardInterrupt, MemoryError)) for error in ignored), ignored
        shutil.rmtree(scenario.folder)  # thousands of runs would fill the disk
        assert threads_end(self._threads), (
            "threads are left"
        )  # so that the next runner doesn't count one that is ending
        return outcome


def descriptors_are(wanted):
    """Wait until the open descriptors are those; return whether that happened.

    A thread that was started, and did not run yet, is not counted: it holds what it is to work with until it has run.
    """
    deadline = time.monotonic() + 5
    while descriptors() != wanted and time.monotonic() < deadline:
        time.sleep(0.001)
    return descriptors() == wanted


def descriptors():
    """Return what each open descriptor refers to, by its number."""
    return {number: target for number in os.listdir("/proc/self/fd") if (target := target_of(number))}


def target_of(number):
    """Return what the descriptor of that *number* refers to, or None for the one by which the folder was listed."""
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:
        return None
