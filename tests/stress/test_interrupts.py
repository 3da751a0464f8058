"""Ctrl-C at any moment: the former or the new result is there, whole, and the process can go on."""

from __future__ import annotations

import os
import random
import time

import pytest
from stress.interruptions import ENDLESS, Interruption, interrupted_by_another, interrupted_by_timer
from stress.runner import CASES, ScenarioRunner
from stress.victims import make_scenario, needs_strace

from neuralib.persistence._bytes import checksums
from neuralib.persistence._codecs import frames
from neuralib.persistence._stores import system

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted under /proc")

TRIED = CASES
MOMENTS = 4  # of each scenario in the quick form
MOMENTS_LONG = 100
SIGNALS_LONG = 30


@pytest.fixture
def runner(tmp_path, monkeypatch):
    return ScenarioRunner(tmp_path, monkeypatch)


def interrupt(runner, name, count, *, by_signal):
    """Run the scenario of that *name* *count* times, and interrupt each run at another of its instructions.

    Runs differ a little, by what is in caches and how long threads are waited for. If a run ends before its moment, another is
    interrupted in the middle of the length that this one had. That can miss only if the other run is half as long.
    """
    counting = Interruption(ENDLESS, by_signal=by_signal)
    runner.run(runner.new_scenario(name), counting)
    length = counting.passed
    assert length > 20
    moments = random.Random(name).sample(range(length), min(count, length))
    for first in moments:
        moment = first
        for _ in range(3):
            scenario = runner.new_scenario(name)
            interruption = Interruption(moment, by_signal=by_signal)
            try:
                interrupted = runner.run(scenario, interruption)
            except BaseException as error:
                error.add_note(f"interrupted at instruction {moment} of {length}; reports: {scenario.reports}")
                raise
            if interrupted:
                break
            moment = interruption.passed // 2
        else:
            raise AssertionError(f"three runs, each half as long as the one before; the first ended before {first}")


def test_interrupted_at_any_instruction(runner, long, scenario, publishing):
    """KeyboardInterrupt comes before an instruction of this package; then the same process saves the same results again."""
    runner.publish_by(publishing)
    interrupt(runner, scenario, MOMENTS_LONG if long else MOMENTS, by_signal=False)


def test_a_signal_at_any_instruction(runner, long, scenario, publishing):
    """It interrupts the standard library too, where the interpreter next looks for signals."""
    runner.publish_by(publishing)
    interrupt(runner, scenario, MOMENTS_LONG if long else MOMENTS, by_signal=True)


@pytest.mark.parametrize("by_signal", [False, True], ids=["raised", "by signal"])
@pytest.mark.parametrize("scenario", ["OverwriteLarge", "LoadLarge", "LoadAhead"])
def test_interrupted_while_threads_help(runner, long, monkeypatch, scenario, by_signal):
    """No thread that reads ahead, or computes a checksum, goes on waiting or working afterwards."""
    monkeypatch.setattr(checksums, "BACKGROUND_FROM", 1 << 16)
    monkeypatch.setattr(frames, "_PIECE", 1 << 16)
    interrupt(runner, scenario, 1000 if long else 40, by_signal=by_signal)


def test_signals_at_random_moments(runner, long, scenario, publishing):
    """They come in the middle of system calls and of compiled code too."""
    runner.publish_by(publishing)
    runner.run(runner.new_scenario(scenario), lambda run: run())
    start = time.monotonic()
    runner.new_scenario(scenario).run()
    duration_s = time.monotonic() - start
    rng = random.Random(f"{scenario} {publishing}")
    interrupted = 0
    for _ in range((SIGNALS_LONG if long else MOMENTS) // 2):
        for interrupted_by in (interrupted_by_timer, interrupted_by_another):
            interrupted += runner.run(
                runner.new_scenario(scenario), interrupted_by(max(1e-6, rng.random() * duration_s))
            )
    assert interrupted or not long


@needs_strace
def test_interrupted_in_a_system_call(victims, sample, scenario, publishing):
    """strace sends the signal while a chosen call is made; then the same process saves the same results again."""
    unharmed = victims.run(scenario, publishing, victims.prepared_folder(scenario), again=True)
    for point in sample(unharmed.points, MOMENTS):
        for call, folder, outcome in victims.disturb(scenario, publishing, point, "signal=INT", again=True):
            try:
                assert outcome.exit_code == 0
                assert outcome.reports[-1] == {"ended": True}
                assert {report["error"] for report in outcome.reports if "error" in report} <= {"KeyboardInterrupt"}
                assert not [report for report in outcome.reports if "again error" in report or report.get("leaked")]
                left = [
                    name for _, _, files in os.walk(folder) for name in files if name.startswith(system.LEFTOVER_PREFIX)
                ]
                assert not left
                make_scenario(scenario, folder).check(outcome.reports)
            except BaseException as error:
                error.add_note(f"interrupted in {call}, the first time in {point}; reports: {outcome.reports}")
                raise
