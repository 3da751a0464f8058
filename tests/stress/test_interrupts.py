"""Ctrl-C at any moment: the old or the new result is there, whole, and the process can go on."""

from __future__ import annotations

import os
import random
import time

import pytest
from stress.bench import WAYS, Bench
from stress.interruptions import ENDLESS, Interruption, interrupted_by_another, interrupted_by_timer
from stress.victims import made as scenario_made, needs_strace

from neuralib.persistence._bytes import checksums
from neuralib.persistence._stores import system

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted under /proc")

TRIED = WAYS
MOMENTS = 4  # of each scenario in the quick form
MOMENTS_LONG = 100
SIGNALS_LONG = 30


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


def interrupt(bench, scenario, count, *, asked):
    """Let *scenario* be interrupted at *count* of its instructions.

    Runs differ a little, in what is in caches and how long threads are waited for. Where one ends before its moment, the next is
    interrupted in the middle of it: that one could miss only if it were half as long.
    """
    counting = Interruption(ENDLESS, asked=asked)
    bench.disturbed(bench.made(scenario), counting)
    length = counting.passed
    assert length > 20
    moments = random.Random(scenario).sample(range(length), min(count, length))
    for first in moments:
        moment = first
        for _ in range(3):
            made = bench.made(scenario)
            interruption = Interruption(moment, asked=asked)
            try:
                hit = bench.disturbed(made, interruption)
            except BaseException as error:
                error.add_note(f"interrupted at instruction {moment} of {length}; said: {made.said}")
                raise
            if hit:
                break
            moment = interruption.passed // 2
        else:
            raise AssertionError(f"three runs, each half as long as the one before; the first ended before {first}")


def test_interrupted_at_any_instruction(bench, long, scenario, way):
    """Once, and then the same process does it again, with the results that it has."""
    bench.go(way)
    interrupt(bench, scenario, MOMENTS_LONG if long else MOMENTS, asked=False)


def test_asked_to_stop_at_any_instruction(bench, long, scenario, way):
    """By a signal: the standard library is interrupted too, where the interpreter looks for signals."""
    bench.go(way)
    interrupt(bench, scenario, MOMENTS_LONG if long else MOMENTS, asked=True)


@pytest.mark.parametrize("asked", [False, True], ids=["raised", "asked"])
@pytest.mark.parametrize("scenario", ["OverwriteLarge", "LoadLarge", "LoadAhead"])
def test_interrupted_while_threads_help(bench, long, monkeypatch, scenario, asked):
    """Those that read, or add up what is written: none goes on waiting, or working."""
    monkeypatch.setattr(checksums, "BACKGROUND_FROM", 1 << 16)
    interrupt(bench, scenario, 1000 if long else 40, asked=asked)


def test_interrupted_by_a_signal(bench, long, scenario, way):
    """A real one, at random moments: in the middle of system calls and of compiled code too."""
    bench.go(way)
    bench.disturbed(bench.made(scenario), lambda run: run())
    start = time.monotonic()
    bench.made(scenario).run()
    took = time.monotonic() - start
    rng = random.Random(f"{scenario} {way}")
    hit = 0
    for _ in range((SIGNALS_LONG if long else MOMENTS) // 2):
        for how in (interrupted_by_timer, interrupted_by_another):
            hit += bench.disturbed(bench.made(scenario), how(max(1e-6, rng.random() * took)))
    assert hit or not long


@needs_strace
def test_interrupted_in_a_system_call(victims, sample, scenario, way):
    """A real signal, that comes while a chosen call is made."""
    unharmed = victims.run(scenario, way, victims.fresh(scenario), again=True)
    for point in sample(unharmed.points, MOMENTS):
        for call, folder, outcome in victims.disturbed(scenario, way, point, "signal=INT", again=True):
            try:
                assert outcome.code == 0
                assert outcome.said[-1] == {"ended": True}
                assert {it["error"] for it in outcome.said if "error" in it} <= {"KeyboardInterrupt"}
                assert not [it for it in outcome.said if "again error" in it or it.get("leaked")]
                left = [it for _, _, files in os.walk(folder) for it in files if it.startswith(system.LEFTOVER_PREFIX)]
                assert not left
                scenario_made(scenario, folder).check(outcome.said)
            except BaseException as error:
                error.add_note(f"interrupted in {call}, first of all in {point}; said: {outcome.said}")
                raise
