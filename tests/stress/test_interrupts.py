"""Ctrl-C at any moment: the old or the new result is there, whole, and the process can go on."""

from __future__ import annotations

import os
import random
import time

import pytest
from stress.bench import WAYS, Bench
from stress.interruptions import ENDLESS, Interruption, interrupted_by_another, interrupted_by_timer

from neuralib.persistence._bytes import checksums

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted under /proc")

TRIED = WAYS
MOMENTS = 4  # of each scenario in the quick form
MOMENTS_LONG = 100
SIGNALS_LONG = 30


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


def interrupt(bench, scenario, count, *, asked):
    """Let *scenario* be interrupted at *count* of its instructions."""
    counting = Interruption(ENDLESS, asked=asked)
    bench.disturbed(bench.made(scenario), counting)
    length = counting.passed
    moments = list(range(length))
    random.Random(scenario).shuffle(moments)
    hit = missed = 0
    for moment in moments:
        if hit == count:
            break
        if moment >= length:
            continue
        made = bench.made(scenario)
        interruption = Interruption(moment, asked=asked)
        try:
            if bench.disturbed(made, interruption):
                hit += 1
            else:  # the run was shorter than those before: by then caches are filled
                length = interruption.passed
                missed += 1
        except BaseException as error:
            error.add_note(f"interrupted at instruction {moment} of {length}; said: {made.said}")
            raise
    assert length > 20
    assert hit == min(count, length), "the moments must be hit"
    assert missed <= 3 + count // 5, "runs must be as long as those before, once caches are filled"


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
    monkeypatch.setattr(checksums, "ASIDE_FROM", 1 << 16)
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
