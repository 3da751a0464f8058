"""Who saves at the same time: every acknowledged result is there, once, whole, under a number of its own."""

from __future__ import annotations

import sys

import pytest
from stress.mounts import mounted_twice, why_no_sshfs
from stress.races import check_deleted, check_numbered, check_replaced, race
from stress.ways import WAYS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the ways of POSIX")

WRITERS = ["one by one", "threads, one handler", "threads, a handler each", "batches", "durable batches", "durable"]


def acknowledged(outcomes, orders, role=None):
    names = [str(n) for n, it in enumerate(orders) if (it["role"] in WRITERS if role is None else it["role"] == role)]
    return [tuple(it) for name in names for it in outcomes[name]]


def in_the_long_form(*values):
    """Leave these out of the quick form."""
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize("way", [it for it in WAYS if it != "unnamed" or sys.platform == "linux"])
def test_each_number_has_one_owner(tmp_path, long, way):
    """Processes, threads with one handler and with one each, batches, durable ones, while others read and check."""
    count = 300 if long else 15
    common = {"folder": tmp_path / "new", "way": way, "count": count}
    orders = [{"role": role, **common} for role in WRITERS] + [{"role": "read", **common}] * (3 if long else 1)
    outcomes = race(orders)
    check_numbered(tmp_path / "new", acknowledged(outcomes, orders), len(WRITERS) * count)


@pytest.mark.parametrize(
    ("handler", "way"), [("gzip", "hidden"), in_the_long_form("path", "hidden"), ("path", "claimed")]
)
def test_other_formats_race_as_well(tmp_path, long, handler, way):
    """Compressed files, and hooks that write by path."""
    count = 100 if long else 10
    common = {"folder": tmp_path, "way": way, "count": count, "handler": handler}
    orders = [{"role": role, **common} for role in [*WRITERS[:2], "durable batches", "read"]]
    outcomes = race(orders)
    check_numbered(tmp_path, acknowledged(outcomes, orders), 3 * count, handler)


@pytest.mark.parametrize("ways", [("unnamed", "hidden", "renamed"), in_the_long_form(("hidden", "renamed"))])
def test_processes_that_go_different_ways_agree(tmp_path, long, ways):
    """One system knows more than the other. (A claim binds those who go by claims only.)"""
    if sys.platform != "linux" and "unnamed" in ways:
        pytest.skip("no files without names")
    count = 300 if long else 20
    orders = [{"role": "one by one", "folder": tmp_path, "way": way, "count": count} for way in ways * 2]
    outcomes = race(orders)
    check_numbered(tmp_path, acknowledged(outcomes, orders), len(orders) * count)


@pytest.mark.parametrize("way", ["unnamed", in_the_long_form("hidden"), in_the_long_form("renamed"), "claimed"])
def test_deleters_disturb_nobody(tmp_path, long, way):
    """Neither those who save nor those who read: what was not deleted is there."""
    common = {"folder": tmp_path, "way": way, "count": 400 if long else 25, "deleting": True}
    roles = ["one by one", "threads, one handler", "batches", "delete", "delete", "read"]
    orders = [{"role": role, **common} for role in roles]
    outcomes = race(orders)
    check_deleted(tmp_path, acknowledged(outcomes, orders), acknowledged(outcomes, orders, "delete"))


@pytest.mark.parametrize("way", ["unnamed", in_the_long_form("hidden"), in_the_long_form("renamed"), "claimed"])
def test_one_name_has_one_whole_result_at_any_time(tmp_path, long, way):
    """Whoever replaces it, and whoever reads meanwhile."""
    common = {"folder": tmp_path, "way": way, "count": 300 if long else 25}
    orders = [{"role": role, **common} for role in ["same: save"] * 4 + ["same: read"]]
    outcomes = race(orders)
    check_replaced(tmp_path, acknowledged(outcomes, orders, "same: save"))
    assert len(list(tmp_path.iterdir())) == 1
    assert acknowledged(outcomes, orders, "same: read")[0][1] >= 1, "the reader saw some"


@pytest.mark.skipif(why_no_sshfs() is not None, reason=str(why_no_sshfs()))
@pytest.mark.parametrize("options", ["dir_cache=no", in_the_long_form("dir_cache=yes")])
def test_a_folder_that_is_mounted_twice(tmp_path, long, options):
    """Each mount has its own view of the folder; sshfs reports a lost race as EPERM, and lists from its memory."""
    count = 60 if long else 8
    with mounted_twice(tmp_path, options) as (back, *mounts):
        roles = ["one by one", "threads, one handler", "durable batches", "read"]
        orders = [{"role": role, "folder": folder, "count": count} for role in roles for folder in mounts]
        outcomes = race(orders)
        check_numbered(back, acknowledged(outcomes, orders), 6 * count)


@pytest.mark.skipif(why_no_sshfs() is not None, reason=str(why_no_sshfs()))
def test_one_name_in_a_folder_that_is_mounted_twice(tmp_path, long):
    """Replaced on both sides. sshfs may take the size of the former file for the new one's: that is told, as damage."""
    with mounted_twice(tmp_path, "dir_cache=no") as (back, *mounts):
        common = {"count": 100 if long else 10, "stale": True}
        orders = [{"role": role, "folder": it, **common} for role in ("same: save", "same: read") for it in mounts]
        outcomes = race(orders)
        check_replaced(back, acknowledged(outcomes, orders, "same: save"))
