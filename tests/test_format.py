"""The reader that the documentation gives reads every kind of file, so that the specification is enough to write one."""

from __future__ import annotations

import importlib.util
import re
import struct
import sys
import zlib

import numpy as np
import pages
import pytest
import test_golden

from neuralib.persistence import GzipHandler, PickleHandler, as_dict, autoinc_field, field, persistence_class
from neuralib.persistence._equality import same_value

READER = pages.ROOT / "docs" / "read_result.py"
LARGE = 20_000


@persistence_class
class Shuffle:
    animal: str = field(filename=True)
    run: int = autoinc_field("#")
    weights: object


@pytest.fixture(scope="module")
def reader():
    spec = importlib.util.spec_from_file_location("read_result", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_only(array):
    array.flags.writeable = False
    return array


VALUES = {
    "small": np.arange(10.0),
    "large": np.arange(LARGE, dtype=float),
    "fortran, small": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
    "fortran, large": np.asfortranarray(np.arange(LARGE).reshape(100, -1)),
    "read-only, large": read_only(np.arange(LARGE, dtype=np.float32)),
    "several, large": [
        np.arange(LARGE),
        b"between" * LARGE,
        np.arange(LARGE, dtype=np.uint8),
        bytearray(LARGE),
        "z" * LARGE,
    ],
    "twice": [VALUE := np.arange(LARGE, dtype=np.complex64), VALUE],
    "transposed": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(2 * LARGE)[::2],
    "swapped": np.arange(5, dtype=">i4"),
    "none": np.empty((0, 3)),
    "zero-dimensional": np.array(1.5),
    "scalar": np.float32(2.5),
    "plain": {
        "a": [1, -1, 255, 256, 70_000, -(2**40), 2**70, 1.5, float("inf"), None, True, False, "ä", b"", (), (1,)]
    },
    "nested": [[{"x": (1, 2, 3, 4)}], {1, 2}, frozenset({"a"}), set(), {}, [], "\ud800"],
}


@pytest.mark.parametrize("handler_class", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("kind", VALUES)
def test_the_reader_reads_what_is_saved(tmp_path, reader, kind, handler_class):
    """The same values, in arrays of the same order."""
    handler = handler_class(Shuffle, tmp_path)
    result = Shuffle("A00")
    result.weights = value = VALUES[kind]
    handler.save_persistence(result)
    found = reader.read_result(handler.filepath(result))
    assert list(found) == ["animal", "run", "weights"]
    assert same_value(found, as_dict(result))
    if isinstance(value, np.ndarray):
        assert found["weights"].dtype == value.dtype
        assert found["weights"].flags.f_contiguous == value.flags.f_contiguous or not value.flags.forc


@pytest.mark.parametrize(("folder", "entry"), test_golden.ENTRIES)
def test_the_reader_reads_files_of_the_earlier_implementation(reader, folder, entry):
    """Of the oldest kind too, which hold the instance."""
    expected = {name: test_golden.expected_of(value) for name, value in entry["fields"].items()}
    assert same_value(reader.read_result(folder / entry["file"]), expected)


def test_the_reader_finds_damage(tmp_path, reader):
    """By the trailer alone."""
    handler = PickleHandler(Shuffle, tmp_path)
    result = Shuffle("A00")
    result.weights = np.arange(LARGE)
    handler.save_persistence(result)
    path = handler.filepath(result)
    good = path.read_bytes()
    for at in range(0, len(good) - 24, 997):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            reader.read_result(path)


def test_the_trailer_is_as_specified(tmp_path):
    """Magic, length, the checksum of all, and the checksum of all but the memory of large arrays."""
    handler = PickleHandler(Shuffle, tmp_path)
    result = Shuffle("A00")
    arrays = result.weights = [np.arange(LARGE), np.arange(LARGE, dtype=np.int16), np.arange(LARGE) + 0.5]
    handler.save_persistence(result)
    data = handler.filepath(result).read_bytes()
    magic, length, whole, structure = struct.unpack("<8sQII", data[-24:])
    assert magic == b"\x89NLP\r\n\x1a\n"
    assert length == len(data) - 24
    assert whole == zlib.crc32(data[:length])
    rest = data[:length]
    for it in arrays[::2]:
        at = data.index(it.tobytes())
        assert at % 64 == 0
        assert data[at - 9 : at] == b"\x96" + struct.pack("<Q", it.nbytes)
        assert re.search(rb"C(.)(\0*)0$", data[: at - 9], re.DOTALL)
        rest = rest.replace(it.tobytes(), b"")
    assert structure == zlib.crc32(rest)


def test_the_reader_uses_neither_pickle_nor_this_package():
    """Else it would show nothing."""
    imported = set(re.findall(r"^(?:import|from) (\w+)", READER.read_text(), re.MULTILINE))
    assert imported <= {"gzip", "struct", "sys", "zlib", "numpy"}
    assert imported <= {*sys.stdlib_module_names, "numpy"}
