"""Files that the existing implementation and this one wrote load with exactly the values that were written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import write_golden
from legacy_classes import Session

from neuralib.persistence import (
    GzipHandler,
    PickleHandler,
    as_dict,
    autoinc_field,
    field,
    missing,
    persistence_class,
    read_head,
    results_equal,
)

FOLDER = Path(__file__).parent / "golden" / "upstream"
OURS = Path(__file__).parent / "golden" / "ours-1"
ENTRIES = [
    (folder.parent, entry)
    for folder in sorted(FOLDER.glob("*/manifest.json"))
    for entry in json.loads(folder.read_text())
]


@persistence_class(name="shuf", filename_field_splitter="_")
class Shuffle:
    region: str = field(validator=True, filename=True)
    bins: int = field(validator=True, filename_prefix="bins", filename=True)
    version: int = autoinc_field(filename_prefix="#")
    score: float
    weights: Any
    labels: Any


def handler_of(folder: Path, entry: dict[str, Any], **options: Any):
    cls = {"Session": Session, "Shuffle": Shuffle}[entry["class"]]
    return (GzipHandler if entry["file"].endswith(".gz") else PickleHandler)(cls, folder, **options)


def expected_of(value: Any) -> Any:
    if isinstance(value, dict) and "ndarray" in value:
        return np.array(value["ndarray"], dtype=value["dtype"], order="F" if value["fortran"] else "C").reshape(
            value["shape"]
        )
    return value


def test_all_golden_files_are_listed():
    """A missing file must not pass."""
    listed = {folder / entry["file"] for folder, entry in ENTRIES}
    assert listed == {path for path in FOLDER.glob("*/cache*")}
    assert len(listed) == 20


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
@pytest.mark.parametrize(
    ("folder", "entry"), ENTRIES, ids=lambda value: value.name if isinstance(value, Path) else value["file"]
)
def test_golden_file_loads_with_exactly_its_values(folder, entry, trusted):
    """By its path; type, dtype, shape, order and value of each field are compared."""
    result = handler_of(folder, entry, trusted=trusted).load_persistence(folder / entry["file"])
    found = as_dict(result)
    assert list(found) == list(entry["fields"])
    for name, raw in entry["fields"].items():
        expected = expected_of(raw)
        if isinstance(expected, np.ndarray):
            assert type(found[name]) is np.ndarray
            assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape)
            assert found[name].flags.f_contiguous == expected.flags.f_contiguous
            np.testing.assert_array_equal(found[name], expected, strict=True)
        else:
            assert type(found[name]) is type(expected)
            assert found[name] == expected


@pytest.mark.parametrize(
    ("folder", "entry"), ENTRIES, ids=lambda value: value.name if isinstance(value, Path) else value["file"]
)
def test_golden_file_is_found_by_its_keys(folder, entry):
    """File names are the same to the byte, so the keys give the path."""
    handler = handler_of(folder, entry)
    result = handler.load_persistence(dict(entry["fields"]))
    assert handler.filename(result) == entry["file"]


@pytest.mark.parametrize("folder", ["numpy1", "numpy2"])
def test_golden_folder_is_found_whole(folder):
    """By load_all, in the order of the numbers."""
    found = [
        result.version for _, result in PickleHandler(Shuffle, FOLDER / folder).load_all(region="RSC", bins=missing)
    ]
    assert found == [0, 1, 2]


# ------------------------------------------------------------------------------------------ of this implementation


def needs_zstd(ext: str) -> None:
    if ext.endswith(".zst"):
        pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def test_all_golden_files_of_this_version_are_there():
    """Two results by each handler."""
    names = {
        f"cache-Session-A00-RED-#{number}{ext}" for number in write_golden.CONTENTS for ext in write_golden.HANDLERS
    }
    assert {path.name for path in OURS.iterdir()} == names
    assert len(names) == 6


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
@pytest.mark.parametrize("number", write_golden.CONTENTS)
@pytest.mark.parametrize("ext", write_golden.HANDLERS)
def test_golden_file_of_this_version_is_read_in_every_way(ext, number, trusted):
    """Loaded by its keys, mapped, by its head, verified."""
    needs_zstd(ext)
    wanted = write_golden.session(number)
    handler = write_golden.HANDLERS[ext](write_golden.Session, OURS, trusted=trusted)
    assert results_equal(handler.load_persistence(wanted), wanted)
    path = handler.filepath(wanted)
    if ext == ".pkl":
        mapping = PickleHandler(write_golden.Session, OURS, trusted=trusted, mmap_mode="r")
        assert results_equal(mapping.load_persistence(wanted), wanted)
    assert [(check.problem, check.checksummed) for check in handler.verify(path)] == [(None, True)]
    head = read_head(path)
    assert (head.complete, head.compressed) == (True, ext != ".pkl")
    assert head.card is not None
    assert head.card.class_name == "write_golden:Session"
    assert head.card.keys == (("animal", ""), ("colour", ""), ("run", "#"))
    assert (head.card.units, head.card.numbered, head.card.function_keys) == ({"rate": "Hz"}, "run", ("colour",))
    assert [place.dtype for place in head.card.arrays] == (["<f8", "|u1"] if number else [])
