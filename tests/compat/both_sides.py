"""What both implementations do with the same classes and values: save, and load what the other saved.

Run by ``check_upstream_reads_ours.py`` with either implementation installed: ``both_sides.py save|load FOLDER``.
"""

import datetime
import decimal
import math
import pathlib
import pickle
import sys
from typing import Any

import numpy as np

from neuralib import persistence


@persistence.persistence_class(name="shuf", filename_field_splitter="_")
class Shuffle:
    region: str = persistence.field(validator=True, filename=True)
    bins: int = persistence.field(validator=True, filename_prefix="bins", filename=True)
    version: int = persistence.autoinc_field(filename_prefix="#")
    data: Any


@persistence.persistence_class
class Session:
    date: Any = persistence.field(validator=True, filename=True)
    animal: Any = persistence.field(validator=True, filename=True)
    plane: Any = persistence.field(False, "plane", True)
    kind: Any = persistence.field(validator=False, filename=lambda kind: None if kind is None else f"k{kind}")
    hidden: Any = persistence.field(validator=True)
    data: Any
    unset: Any


KEYS = [
    ("2023-01-02", "A00", 0, "spks", ""),
    ("20230102", "A-1 b", "_concat", None, None),
    (None, (0.04, 1.0), False, 3, ["x"]),
    (1.5, "ümläut", -3, "a.b", {"k": 1}),
    (np.int64(7), np.float32(0.5), np.str_("p"), True, b"raw"),
    (datetime.date(2023, 1, 2), "$#~!", 10**30, "%", 1j),
]
_rng = np.random.default_rng(0)
VALUES = [
    None,
    [1, "two", 3.0, None, (4, {5}), frozenset([6])],
    {"nested": {"array": np.arange(6).reshape(2, 3)}},
    math.inf,
    decimal.Decimal("1.10"),
    datetime.datetime(2023, 1, 2, 3, 4, 5),
    pathlib.PurePosixPath("/a/b"),
    b"bytes" * 40_000,
    bytearray(b"more"),
    "text" * 40_000,
    np.float64(1.5),
    np.array(3),
    np.zeros(0),
    np.arange(10.0),
    np.arange(12).reshape(3, 4)[:, ::2],
    np.asfortranarray(np.arange(12, dtype="f4").reshape(3, 4)),
    _rng.normal(size=(300, 300)),
    np.asfortranarray(_rng.normal(size=(300, 300))),
    np.array([1, 2], dtype=">i4"),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array(["2020-01-01"], dtype="M8[D]"),
    np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    np.array(["é", "bb"]),
    np.array([None, "x", 3], dtype=object),
    np.ma.masked_array([1, 2], mask=[True, False]),
    np.arange(5, dtype="f2"),
    [np.arange(3), np.arange(3.0)],
]


def results():
    for keys in KEYS:
        for number, value in enumerate(VALUES if keys is KEYS[0] else VALUES[:3]):
            result = Session(keys[0], keys[1], keys[2], keys[3], keys[4])
            result.animal = f"{keys[1]}v{number}"
            result.data = value
            yield result
    for value in range(3):
        result = Shuffle("RSC", 20)
        result.data = np.full(4, value)
        yield result


def handlers(cls, folder):
    yield persistence.PickleHandler(cls, folder / "plain")
    yield persistence.GzipHandler(cls, folder / "gzip")


def save(folder):
    """Save everything, and note beside it, by pickle alone, what was saved under which name."""
    for kind in ("plain", "gzip"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    notes = []
    for result in results():
        for handler in handlers(type(result), folder):
            if isinstance(result, Shuffle):
                result.version = None
            handler.save_persistence(result)
            path = handler.filepath(result)
            # The values as this side loads them again: the existing package loses the byte order of arrays.
            loaded = handler.load_persistence(path)
            notes.append((path.relative_to(folder).as_posix(), persistence.as_dict(loaded)))
    (folder / "notes.pickle").write_bytes(pickle.dumps(notes, 5))
    print(f"{len(notes)} files saved")


def same(a, b):
    if isinstance(a, np.ndarray):
        return (
            type(a) is type(b)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.flags.f_contiguous == b.flags.f_contiguous
            and (repr(a.tolist()) == repr(b.tolist()))
        )
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def load(folder):
    """Load what the other side saved, by path and by keys, and compare it and its names with its notes."""
    notes = pickle.loads((folder / "notes.pickle").read_bytes())
    bad = 0
    for file, values in notes:
        cls = Shuffle if "shuf" in file else Session
        handler = next(handler for handler in handlers(cls, folder) if handler.save_root.name == file.split("/")[0])
        for way in ("path", "keys"):
            try:
                if way == "path":
                    result = handler.load_persistence(folder / file)
                else:
                    template = cls(*[values[name] for name in cls.__match_args__ if name not in {"data", "unset"}])
                    assert handler.filepath(template) == folder / file, handler.filepath(template)
                    result = handler.load_persistence(template)
                assert same(persistence.as_dict(result), values), persistence.as_dict(result)
            except Exception as error:
                bad += 1
                print(f"{file}, by {way}: {type(error).__name__}: {str(error)[:200]}")
    print(f"{len(notes)} files loaded by path and by keys, {bad} failures")
    return bad


if __name__ == "__main__":
    what, where = sys.argv[1:]
    sys.exit({"save": save, "load": load}[what](pathlib.Path(where)) or 0)
