"""Ctrl-C, or no memory, at any moment: the old or the new result is there, whole, and the process can go on."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest
from stress.bench import WAYS, Bench

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted under /proc")

TRIED = WAYS
MOMENTS = 4  # of each scenario in the quick form


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


class Interruption:
    """Raises KeyboardInterrupt before the n-th instruction of Python's byte code."""

    def __init__(self, moment):
        self.left = moment

    def __call__(self, run):
        """Run until then; return whether it came to that."""
        sys.settrace(self._called)
        try:
            run()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return self.left < 0

    def _called(self, frame, event, arg):
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._stepped

    def _stepped(self, frame, event, arg):
        if event == "opcode":
            self.left -= 1
            if self.left == -1:
                raise KeyboardInterrupt
        return self._stepped


def test_interrupted_at_any_instruction(bench, sample, scenario, way):
    """Once, and then the same process does it again, with the results that it has."""
    bench.go(way)
    endless = sys.maxsize
    counting = Interruption(endless)
    bench.disturbed(bench.made(scenario), counting)
    moments = endless - counting.left
    assert moments > 20
    bench.disturbed(bench.made(scenario), counting := Interruption(endless))  # caches are filled by now
    hit = 0
    for moment in (chosen := sample(range(endless - counting.left), MOMENTS)):
        made = bench.made(scenario)
        try:
            hit += bench.disturbed(made, Interruption(moment))
        except BaseException as error:
            error.add_note(f"interrupted at instruction {moment} of {moments}; said: {made.said}")
            raise
    assert hit >= 0.9 * len(chosen), "the moments must be hit"


def interrupted_by_timer(delay_s):
    def disturb(run):
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, delay_s)
            run()
            signal.setitimer(signal.ITIMER_REAL, 0)
            time.sleep(0)
        except KeyboardInterrupt:
            return True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        return False

    return disturb


def test_interrupted_by_a_signal(bench, long, scenario, way):
    """A real one, from a timer, at random moments: in the middle of system calls and of compiled code too."""
    bench.go(way)
    start = time.monotonic()
    bench.disturbed(bench.made(scenario), lambda run: run())
    start = time.monotonic()
    bench.made(scenario).run()
    took = time.monotonic() - start
    rng = random.Random(scenario)
    hit = 0
    for _ in range(600 if long else MOMENTS):
        hit += bench.disturbed(bench.made(scenario), interrupted_by_timer(max(1e-6, rng.random() * took)))
    assert hit or not long
