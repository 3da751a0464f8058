"""Any system call may fail: former results stay, each result whose save returned is there, and the error names call and path."""

from __future__ import annotations

import itertools
import os

from stress.runner import CASES
from stress.victims import make_scenario, needs_strace

from neuralib.persistence._stores import system

pytestmark = needs_strace

ERRORS = ["EIO", "ENOSPC", "EDQUOT", "EINTR", "ESTALE", "EPERM"]
TRIED = CASES
POINTS = 4  # of each scenario in the quick form
REPEATED = {"read", "write", "preadv", "fsync"}
"""Calls that are repeated if a signal interrupts them, so that EINTR is no error."""
REMOVING = {"unlink", "unlinkat", "rmdir", "rename"}
"""Calls that remove temporary files: if they fail, a hidden file stays until it is swept."""


def test_any_call_fails(victims, sample, scenario, publishing):
    """It fails once, as by a disk, a quota, a signal or a server; then the same process runs the scenario again."""
    unharmed = victims.run(scenario, publishing, victims.prepared_folder(scenario), again=True)
    assert not [report for report in unharmed.reports if "error" in report or "again error" in report], unharmed.reports
    assert unharmed.reports[-1] == {"ended": True}
    for point, error in sample(zip(unharmed.points, itertools.cycle(ERRORS)), POINTS):
        for call, folder, outcome in victims.disturb(scenario, publishing, point, f"error={error}", again=True):
            try:
                check_outcome(outcome, folder, call)
                assert (
                    error != "EINTR"
                    or call not in REPEATED
                    or not [report for report in outcome.reports if "error" in report]
                )
                make_scenario(scenario, folder).check(outcome.reports)
            except BaseException as wrong:
                wrong.add_note(f"{call}, the first time {point}, failed with {error}; reports: {outcome.reports}")
                raise


def check_outcome(outcome, folder, call):
    """Check that the error names path and operation, that nothing is left over, and that the second run succeeded."""
    assert outcome.exit_code == 0
    assert outcome.reports[-1] == {"ended": True}
    assert not [report for report in outcome.reports if "again error" in report]
    for report in outcome.reports:
        if "error" in report:
            assert {"OSError", "PersistenceError"} & set(report["kinds"])
            assert report["path"] in report["text"]
            assert report["path"].startswith(str(folder)) or str(folder).startswith(report["path"])
            assert "while " in report["text"]
        # strace lets the call fail without making it, so that a descriptor that it was to close stays open
        assert report.get("leaked", 0) <= (call == "close")
    if call not in REMOVING:
        left = [name for _, _, files in os.walk(folder) for name in files if name.startswith(system.LEFTOVER_PREFIX)]
        assert not left
