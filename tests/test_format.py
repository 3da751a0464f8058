"""The reader in the documentation reads every kind of file, so the specification is complete."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pages
import pytest
import test_golden

from neuralib.persistence import (
    GzipHandler,
    PickleHandler,
    ZstdHandler,
    as_dict,
    autoinc_field,
    field,
    persistence_class,
)
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
    """It returns the same values as the library, with arrays of the same memory order."""
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
    """The oldest of them hold the instance, and no dict."""
    expected = {name: test_golden.expected_of(value) for name, value in entry["fields"].items()}
    assert same_value(reader.read_result(folder / entry["file"]), expected)


def test_the_reader_finds_damage(tmp_path, reader):
    """By the end of the file alone."""
    handler = PickleHandler(Shuffle, tmp_path)
    result = Shuffle("A00")
    result.weights = np.arange(LARGE)
    handler.save_persistence(result)
    path = handler.filepath(result)
    good = path.read_bytes()
    pickle_bytes, _ = struct.unpack("<QI", good[-20:-8])
    for at in [*range(0, pickle_bytes, 997), *range(pickle_bytes, len(good) - 28), *range(len(good) - 20, len(good))]:
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            reader.read_result(path)


def test_card_and_end_are_as_specified(tmp_path):
    """Magic, lengths, the checksum of everything, and that of everything but the arrays that the card lists."""
    handler = PickleHandler(Shuffle, tmp_path)
    result = Shuffle("A00")
    arrays = result.weights = [np.arange(LARGE), np.arange(100, dtype=np.int16), np.arange(LARGE) + 0.5]
    handler.save_persistence(result)
    data = handler.filepath(result).read_bytes()
    magic, pickle_bytes, card_bytes, whole, structure = struct.unpack("<8sQIII", data[-28:])
    assert magic == b"\x89NLP\r\n\x1a\n"
    assert pickle_bytes + card_bytes == len(data) - 28
    assert data[pickle_bytes - 1 : pickle_bytes + 1] == b".{"
    assert whole == zlib.crc32(data[:-8])
    rest = data[:-8]
    card = json.loads(data[pickle_bytes:-28])
    places = card.pop("arrays")
    for (begin, start, size, writable, shape, dtype), array in zip(places, arrays[::2], strict=True):
        assert data[start : start + size] == array.tobytes()
        assert start % 64 == 0
        filling = start - begin - 12
        assert data[begin:start] == b"C%c%b0\x96" % (filling, bytes(filling)) + struct.pack("<Q", array.nbytes)
        assert (writable, tuple(shape), dtype) == (1, array.shape, array.dtype.str)
        rest = rest.replace(array.tobytes(), b"")
    assert structure == zlib.crc32(rest)
    assert card == {
        "class": [__name__, "Shuffle"],
        "name": "Shuffle",
        "splitter": "-",
        "keys": [["animal", ""], ["run", "#"]],
        "fields": {"animal": "str", "run": "int", "weights": "object"},
        "key_names": ["animal", "run"],
        "numbered": "run",
    }


@pytest.mark.parametrize("handler_class", [GzipHandler, ZstdHandler])
def test_compressed_files_hold_the_very_same_bytes(tmp_path, reader, handler_class):
    """Decompressed, they are the ``.pkl`` file, for small and large results."""
    if handler_class is ZstdHandler:
        pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    for weights in (1, [np.arange(LARGE), np.arange(LARGE) + 0.5]):
        result = Shuffle("A00")
        result.run, result.weights = 3, weights
        for kind in (PickleHandler, handler_class):
            kind(Shuffle, tmp_path).save_persistence(result)
        plain, compressed = (kind(Shuffle, tmp_path).filepath(result) for kind in (PickleHandler, handler_class))
        assert reader.content_of(compressed) == plain.read_bytes()


def test_the_reader_tells_of_class_keys_and_units(tmp_path):
    """When it is run as a program."""
    path = test_golden.OURS / "cache-Session-A00-RED-#0.pkl"
    done = subprocess.run([sys.executable, str(READER), str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:2] == ["class: write_golden.Session", "animal (key): 'A00'"]
    assert "rate: 30.5 Hz" in done.stdout.splitlines()


def test_the_reader_uses_neither_pickle_nor_this_package():
    """Otherwise it would not show that the specification is complete."""
    imported = set(re.findall(r"^(?:import|from) (\w+)", READER.read_text(), re.MULTILINE))
    assert imported <= {"gzip", "json", "struct", "sys", "zlib", "numpy"}
    assert imported <= {*sys.stdlib_module_names, "numpy"}
