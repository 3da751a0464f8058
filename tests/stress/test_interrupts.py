"""Ctrl-C, or no memory, at any moment: the old or the new result is there, whole, and the process can go on."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest
from stress.bench import WAYS, Bench

from neuralib.persistence._handlers import frames

pytestmark = [
    pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted under /proc"),
    pytest.mark.skipif(
        sys.version_info >= (3, 12),
        reason="fails or hangs from Python 3.12 on; whether the interpreter or this package is the cause is not known yet",
    ),
]

TRIED = WAYS
MOMENTS = 4  # of each scenario in the quick form
MOMENTS_LONG = 100
SIGNALS_LONG = 30


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
        except RuntimeError as error:  # what threading makes of it while it waits for a thread to begin
            if self.left >= 0 or str(error) != "release unlocked lock":
                raise
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


def interrupt(bench, scenario, count):
    """Let *scenario* be interrupted at *count* of its instructions."""
    endless = sys.maxsize
    for _ in range(2):  # the second time, caches are filled
        counting = Interruption(endless)
        bench.disturbed(bench.made(scenario), counting)
    moments = range(endless - counting.left)
    assert len(moments) > 20
    chosen = random.Random(scenario).sample(moments, min(len(moments), count))
    hit = 0
    for moment in chosen:
        made = bench.made(scenario)
        try:
            hit += bench.disturbed(made, Interruption(moment))
        except BaseException as error:
            error.add_note(f"interrupted at instruction {moment} of {len(moments)}; said: {made.said}")
            raise
    assert hit >= 0.8 * len(chosen), "the moments must be hit"


def test_interrupted_at_any_instruction(bench, long, scenario, way):
    """Once, and then the same process does it again, with the results that it has."""
    bench.go(way)
    interrupt(bench, scenario, MOMENTS_LONG if long else MOMENTS)


@pytest.mark.parametrize("large", ["OverwriteLarge", "LoadLarge"])
def test_interrupted_while_threads_help(bench, long, monkeypatch, large):
    """Those that read, or add up what is written: none goes on waiting, or working."""
    monkeypatch.setattr(frames, "ASIDE_FROM", 1 << 16)
    interrupt(bench, large, 1000 if long else 40)


def interrupted_by_timer(delay_s):
    """By this process's own timer: more often in the midst of things."""

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


def interrupted_by_another(delay_s):
    """By SIGINT from another process, as Ctrl-C comes."""

    def disturb(run):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(reading, 1)
            time.sleep(delay_s)
            os.kill(os.getppid(), signal.SIGINT)
            os._exit(0)
        try:
            os.write(writing, b"x")
            run()
            early = False
            time.sleep(60)
        except KeyboardInterrupt:
            early = "early" not in locals()
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)
        return early

    return disturb


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
