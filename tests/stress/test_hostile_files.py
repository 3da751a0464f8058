"""Every operation on every hostile file: load, list, show, compare, check, convert.

One process handles many files one after the other, with limited memory. Time, memory and output must be in proportion to the
file, and each operation must end with an answer or a documented error.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import hostile_buckets
import hostile_files
import pytest

from neuralib.persistence._commands.differences import difference_text, differences
from neuralib.persistence._commands.plain import as_json
from neuralib.persistence._messages import printable, shown
from neuralib.persistence._showing.previews import value_text
from neuralib.persistence._trust import allowance

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and the peak of memory are those of Linux")

RUNNER = Path(__file__).with_name("operations.py")
SECONDS = 3.0
SECONDS_PER_BYTE = 40e-6
OUTPUT_BYTES = 20 << 20
OUTPUT_PER_BYTE = 100
"""A character may become twelve in JSON, and each field has a row."""
MARGIN_BYTES = 48 << 20
"""For the interpreter, and for what a command imports and writes."""


def reports_of(*words, limit_s, environment=None):
    """Return the outcomes of all operations on the files in a folder, or on buckets."""
    done = subprocess.run(
        [sys.executable, RUNNER, *words],
        capture_output=True,
        text=True,
        timeout=limit_s,
        env={**os.environ, "NO_COLOR": "1", **(environment or {})},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_all(reports, kinds):
    bad = [f"{kinds.get(report['file'], report['file'])}: {report}" for report in reports if not ends_well(report)]
    assert not bad, "\n".join(bad)


def ends_well(report):
    size = report["size"]
    memory = allowance.PER_BYTE * size + allowance.BASE_BYTES + MARGIN_BYTES + allowance.HEAD_BYTES
    return (
        report["outcome"] == "ended well"
        and report["seconds"] < SECONDS + SECONDS_PER_BYTE * size
        and report["peak"] < memory
        and report["output"] < OUTPUT_BYTES + OUTPUT_PER_BYTE * size
        and not report["unprintable"]
    )


@pytest.mark.parametrize("count", [3000, pytest.param(300_000, marks=pytest.mark.long)])
def test_every_operation_on_a_hostile_file_ends_well(tmp_path, count):
    """Within memory, time and output in proportion to its size, and without control characters in the output."""
    kinds = {}
    for number, (kind, content) in enumerate(hostile_files.corpus(count).items()):
        name = f"cache-Pair-1-{number}.pkl"
        kinds[name] = kind
        (tmp_path / name).write_bytes(content)
    reports = reports_of(tmp_path, limit_s=120 if count < 10_000 else 7200)
    assert {report["file"] for report in reports} == set(kinds)
    check_all(reports, kinds)


@pytest.mark.parametrize("count", [3000, pytest.param(200_000, marks=pytest.mark.long)])
def test_every_operation_on_a_hostile_archive_ends_well(tmp_path, count):
    """Archives with false rows, schemas and pages: no code of a schema runs, and claimed sizes are not believed."""
    kinds = {path.name: kind for kind, path in hostile_files.archives(tmp_path, count).items()}
    reports = reports_of(tmp_path, limit_s=120 if count < 10_000 else 3600)
    assert {report["file"] for report in reports} == set(kinds)
    check_all(reports, kinds)


@pytest.mark.parametrize("count", [3000, pytest.param(300_000, marks=pytest.mark.long)])
def test_every_operation_on_a_hostile_bucket_ends_well(count):
    """Servers with false listings, sizes, times, ETags and answers: none is believed, and nothing is read without end."""
    pytest.importorskip("obstore", reason="needs the extra cloud")
    buckets = hostile_buckets.buckets(count)
    server = hostile_buckets.HostileServer(buckets.values())
    try:
        words = ["--buckets", str(len(buckets)), str(10 * count)]
        reports = reports_of(*words, limit_s=120 if count < 10_000 else 3600, environment=server.environment())
    finally:
        server.close()
    kinds = {f"b{number}": kind for number, kind in enumerate(buckets)}
    assert {report["file"] for report in reports} == set(kinds)
    check_all(reports, kinds)


def test_any_two_values_are_compared_and_shown():
    """Odd values as loaded without trust, each with each other, some of which Python or numpy fails to compare or to write."""
    values = [hostile_files.READER(pickle.dumps([value], 5), ())[0] for value in hostile_files.odd_values()]
    for value in values:
        again = copy.deepcopy(value)
        assert differences({"x": value}, {"x": again}) == []
        for text in (
            value_text(value),
            value_text([value]),
            value_text({1: value}, 1000),
            shown(value),
            json.dumps(as_json(value)),
        ):
            assert printable(text) == text
            assert len(text) <= 1000
    for one, other in itertools.combinations(values, 2):
        for found in differences({"x": one}, {"x": other}):
            assert 0 < len(difference_text(found)) < 100


def test_sparse_files_of_a_terabyte_are_handled_quickly(tmp_path):
    """Files of zeros, and files that claim to hold as much."""
    try:
        hostile_files.write_sparse_files(tmp_path)
    except OSError as error:
        pytest.skip(f"no such files here: {error}")
    reports = reports_of(tmp_path, limit_s=100)
    assert reports
    for report in reports:
        assert report["outcome"] == "ended well", report
        assert report["seconds"] < 15, report
        assert report["peak"] < 1200 << 20, report


def test_a_folder_of_hostile_files_is_listed_and_checked(tmp_path):
    """In time in proportion to the number of files. Some links form loops."""
    for number, content in enumerate([*hostile_files.corpus(2000).values()] * 3):
        (tmp_path / f"cache-Pair-1-{number}.pkl").write_bytes(content)
    (tmp_path / "cache-Pair-1-loop.pkl").symlink_to("cache-Pair-1-loop.pkl")
    (tmp_path / "cache-Pair-1-first.pkl").symlink_to("cache-Pair-1-second.pkl")
    (tmp_path / "cache-Pair-1-second.pkl").symlink_to("cache-Pair-1-first.pkl")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "above").symlink_to(tmp_path)
    done = subprocess.run(
        [sys.executable, RUNNER, "--folder", tmp_path],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) >= 8
    for report in reports:
        assert report["outcome"] == "ended well", report
        assert report["seconds"] < 10, report
        assert report["output"] < 40 << 20, report
        assert not report["unprintable"], report
