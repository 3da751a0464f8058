"""Runs scenarios in a process whose system calls are not quite what they seem: see ``test_full_disks``."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from stress.bench import WAYS, Bench


def main(folder: str, what: str, *settings: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if what == "all":
            os.environ.update(eval(settings[0]))
            for scenario, way in WAYS:
                name = f"{scenario}-{way}"
                run(Path(folder), patch, scenario, way, lambda it: it(), name)
                print(name)
        else:
            long = settings[0] == "long"
            tried = WAYS if long else random.Random(0).sample(WAYS, 8)
            print(sum(closing(Path(folder), patch, *it, most=1000 if long else 3) for it in tried))


def run(folder, patch, scenario, way, disturb, name):
    work = folder / name
    work.mkdir()
    with patch.context() as inner:
        bench = Bench(work, inner)
        bench.go(way)
        return bench.disturbed(bench.made(scenario), disturb)


def closing(folder, patch, scenario, way, most):
    """Let each close of a file fail; return how many did."""
    failed = 0
    for turn in range(1, most + 1):
        felt = []

        def disturb(it, turn=turn, felt=felt):
            os.environ["FAIL_CLOSE"] = str(turn)
            try:
                it()
            except OSError as error:
                assert error.errno == errno.EIO
                assert ", while " in str(error)
                felt.append(error)
            finally:
                del os.environ["FAIL_CLOSE"]

        run(folder, patch, scenario, way, disturb, f"{scenario}-{way}-{turn}")
        if not felt and turn > 8:
            break
        failed += bool(felt)
    return failed
