"""Runs scenarios in a process under the C library of ``test_full_disks``, which changes what read, write and close do."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from stress.runner import CASES, ScenarioRunner


def main(folder: str, what: str, *settings: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if what == "all":
            os.environ.update(eval(settings[0]))
            for scenario, publishing in CASES:
                name = f"{scenario}-{publishing}"
                run_one(Path(folder), patch, scenario, publishing, lambda run_scenario: run_scenario(), name)
                print(name)
        else:
            long = settings[0] == "long"
            tried = CASES if long else random.Random(0).sample(CASES, 8)
            print(sum(fail_each_close(Path(folder), patch, *case, most=1000 if long else 3) for case in tried))


def run_one(folder, patch, scenario, publishing, disturb, name):
    work = folder / name
    work.mkdir()
    with patch.context() as inner:
        runner = ScenarioRunner(work, inner)
        runner.publish_by(publishing)
        return runner.run(runner.new_scenario(scenario), disturb)


def fail_each_close(folder, patch, scenario, publishing, most):
    """Let the first close of a file fail, then the second, and so on, each in a run of its own; return how many did."""
    failed = 0
    for turn in range(1, most + 1):
        errors = []

        def disturb(run_scenario, turn=turn, errors=errors):
            os.environ["FAIL_CLOSE"] = str(turn)
            try:
                run_scenario()
            except OSError as error:
                assert error.errno == errno.EIO
                assert ", while " in str(error)
                errors.append(str(error))  # not itself, which refers to what was mapped
            finally:
                del os.environ["FAIL_CLOSE"]

        run_one(folder, patch, scenario, publishing, disturb, f"{scenario}-{publishing}-{turn}")
        if not errors and turn > 8:
            break
        failed += bool(errors)
    return failed
