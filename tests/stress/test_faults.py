"""Any system call may fail: what was there stays, what was acknowledged is there, and the error says what and where."""

from __future__ import annotations

import itertools
import os

from stress.bench import WAYS
from stress.victims import made, needs_strace

from neuralib.persistence._stores import system

pytestmark = needs_strace

ERRORS = ["EIO", "ENOSPC", "EDQUOT", "EINTR", "ESTALE", "EPERM"]
TRIED = WAYS
POINTS = 4  # of each scenario in the quick form
AGAIN = {"read", "write", "preadv", "fsync"}
"""Calls that are simply made again where a signal interrupted them."""
REMOVING = {"unlink", "unlinkat", "rmdir", "rename"}
"""Calls that remove what is temporary: where they fail, it stays, hidden, and is swept some day."""


def test_any_call_fails(victims, sample, scenario, way):
    """Once, as a disk, a quota, a signal or a server may let it fail; then the same process does it again."""
    unharmed = victims.run(scenario, way, victims.fresh(scenario), again=True)
    assert not [it for it in unharmed.said if "error" in it or "again error" in it], unharmed.said
    assert unharmed.said[-1] == {"ended": True}
    for point, error in sample(zip(unharmed.points, itertools.cycle(ERRORS)), POINTS):
        for call, folder, outcome in victims.disturbed(scenario, way, point, f"error={error}", again=True):
            try:
                check_outcome(outcome, folder, call)
                assert error != "EINTR" or call not in AGAIN or not [it for it in outcome.said if "error" in it]
                made(scenario, folder).check(outcome.said)
            except BaseException as wrong:
                wrong.add_note(f"{call}, first of all {point}, failed with {error}; said: {outcome.said}")
                raise


def check_outcome(outcome, folder, call):
    """The error has its path and operation, nothing is left over, and the next time all is well."""
    assert outcome.code == 0
    assert outcome.said[-1] == {"ended": True}
    assert not [it for it in outcome.said if "again error" in it]
    for it in outcome.said:
        if "error" in it:
            assert {"OSError", "PersistenceError"} & set(it["kinds"])
            assert it["path"] in it["text"]
            assert it["path"].startswith(str(folder)) or str(folder).startswith(it["path"])
            assert "while " in it["text"]
        # strace lets the call fail without making it, so that a descriptor that it was to close stays open
        assert it.get("leaked", 0) <= (call == "close")
    if call not in REMOVING:
        left = [it for _, _, files in os.walk(folder) for it in files if it.startswith(system.LEFTOVER_PREFIX)]
        assert not left
