"""Processes and threads save at the same time: each result whose save returned is there once, whole, under its own number."""

from __future__ import annotations

import sys

import pytest
from stress.mounts import mounted_twice, why_no_sshfs
from stress.publishing import PUBLISHING
from stress.races import check_deleted, check_numbered, check_replaced, race

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses methods of publishing that POSIX has")

WRITERS = ["one by one", "threads, one handler", "threads, a handler each", "batches", "durable batches", "durable"]


def saves_of(outcomes, orders, role=None):
    """Return what the racers of this *role* reported; without it, all that write."""
    names = [
        str(n)
        for n, order in enumerate(orders)
        if (order["role"] in WRITERS if role is None else order["role"] == role)
    ]
    return [tuple(saved) for name in names for saved in outcomes[name]]


def in_the_long_form(*values):
    """Return these values as a parameter that the quick form leaves out."""
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    "publishing", [publishing for publishing in PUBLISHING if publishing != "unnamed" or sys.platform == "linux"]
)
def test_each_number_has_one_owner(tmp_path, long, publishing):
    """Processes, threads that share a handler or not, batches and durable saves, while others read and check."""
    count = 300 if long else 15
    common = {"folder": tmp_path / "new", "publishing": publishing, "count": count}
    orders = [{"role": role, **common} for role in WRITERS] + [{"role": "read", **common}] * (3 if long else 1)
    outcomes = race(orders)
    check_numbered(tmp_path / "new", saves_of(outcomes, orders), len(WRITERS) * count)


@pytest.mark.parametrize(
    ("handler", "publishing"), [("gzip", "hidden"), in_the_long_form("path", "hidden"), ("path", "claimed")]
)
def test_other_formats_race_as_well(tmp_path, long, handler, publishing):
    """Compressed files, and hooks that write by path."""
    count = 100 if long else 10
    common = {"folder": tmp_path, "publishing": publishing, "count": count, "handler": handler}
    orders = [{"role": role, **common} for role in [*WRITERS[:2], "durable batches", "read"]]
    outcomes = race(orders)
    check_numbered(tmp_path, saves_of(outcomes, orders), 3 * count, handler)


@pytest.mark.parametrize("methods", [("unnamed", "hidden", "renamed"), in_the_long_form(("hidden", "renamed"))])
def test_different_methods_of_publishing_agree(tmp_path, long, methods):
    """One system may have calls that the other lacks. (Claim files bind only processes that use them, so they are left out.)"""
    if sys.platform != "linux" and "unnamed" in methods:
        pytest.skip("no files without names")
    count = 300 if long else 20
    orders = [
        {"role": "one by one", "folder": tmp_path, "publishing": publishing, "count": count}
        for publishing in methods * 2
    ]
    outcomes = race(orders)
    check_numbered(tmp_path, saves_of(outcomes, orders), len(orders) * count)


@pytest.mark.parametrize("publishing", ["unnamed", in_the_long_form("hidden"), in_the_long_form("renamed"), "claimed"])
def test_deleting_disturbs_nobody(tmp_path, long, publishing):
    """Others save and read meanwhile: each result that was not deleted is there."""
    common = {"folder": tmp_path, "publishing": publishing, "count": 400 if long else 25, "deleting": True}
    roles = ["one by one", "threads, one handler", "batches", "delete", "delete", "read"]
    orders = [{"role": role, **common} for role in roles]
    outcomes = race(orders)
    check_deleted(tmp_path, saves_of(outcomes, orders), saves_of(outcomes, orders, "delete"))


@pytest.mark.parametrize("publishing", ["unnamed", in_the_long_form("hidden"), in_the_long_form("renamed"), "claimed"])
def test_one_name_has_one_whole_result_at_any_time(tmp_path, long, publishing):
    """Four processes replace it while another reads."""
    common = {"folder": tmp_path, "publishing": publishing, "count": 300 if long else 25}
    orders = [{"role": role, **common} for role in ["same: save"] * 4 + ["same: read"]]
    outcomes = race(orders)
    check_replaced(tmp_path, saves_of(outcomes, orders, "same: save"))
    assert len(list(tmp_path.iterdir())) == 1
    assert saves_of(outcomes, orders, "same: read")[0][1] >= 1, "the reader loaded none"


@pytest.mark.skipif(why_no_sshfs() is not None, reason=str(why_no_sshfs()))
@pytest.mark.parametrize("options", ["dir_cache=no", in_the_long_form("dir_cache=yes")])
def test_a_folder_that_is_mounted_twice(tmp_path, long, options):
    """Each mount has its own view of the folder; sshfs reports a lost race as EPERM, and lists from its memory."""
    count = 60 if long else 8
    with mounted_twice(tmp_path, options) as (back, *mounts):
        roles = ["one by one", "threads, one handler", "durable batches", "read"]
        orders = [{"role": role, "folder": folder, "count": count} for role in roles for folder in mounts]
        outcomes = race(orders)
        check_numbered(back, saves_of(outcomes, orders), 6 * count)


@pytest.mark.skipif(why_no_sshfs() is not None, reason=str(why_no_sshfs()))
def test_one_name_in_a_folder_that_is_mounted_twice(tmp_path, long):
    """Both mounts replace the result. sshfs may read the new file with the size of the former one: that is reported as damage."""
    with mounted_twice(tmp_path, "dir_cache=no") as (back, *mounts):
        common = {"count": 100 if long else 10, "stale": True}
        orders = [
            {"role": role, "folder": mount, **common} for role in ("same: save", "same: read") for mount in mounts
        ]
        outcomes = race(orders)
        check_replaced(back, saves_of(outcomes, orders, "same: save"))
