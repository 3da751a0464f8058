"""Saves or loads arrays of every kind; run with the numpy of one environment, and then with that of another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from neuralib.persistence import GzipHandler, PickleHandler, field, persistence_class, results_equal

RECORD = [("a", "i4"), ("b", "f8"), ("c", "U3")]
ALIGNED = np.dtype([("a", "i1"), ("b", "f8")], align=True)
NESTED = [("p", [("x", "i4"), ("y", "f4")]), ("v", "f4", (2,))]


@persistence_class
class Kept:
    kind: str = field(filename=True)
    size: int = field(filename=True)
    data: Any


def arrays(size: int) -> dict[str, Any]:
    """Return arrays of *size* items, by their kind."""
    numbers = np.arange(size)
    plain = {
        code: numbers.astype(code)
        for code in ("?", "b", "u2", "i8", "f2", "f8", "c16", ">i4", ">f8", "g", "G", "M8[ms]")
    }
    return {
        **plain,
        "text": numbers.astype("U7"),
        "swapped text": numbers.astype(">U7"),
        "bytes": numbers.astype("S7"),
        "records": np.array([(i, i / 2, str(i)) for i in range(size)], RECORD),
        "nested records": np.array([((i, 1), [1, 2]) for i in range(size)], NESTED),
        "records with dates": np.zeros(size, [("when", "M8[s]"), ("a", "i4")]),
        "aligned records": np.zeros(size, ALIGNED),
        "nested aligned records": np.zeros(size, np.dtype([("p", ALIGNED), ("when", "M8[s]")], align=True)),
        "memory": numbers.astype("i8").view("V8"),
        "objects": np.array([None, "x", 1.5] * size, object),
        "fortran": np.asfortranarray(numbers.astype("U7").reshape(-1, 1).repeat(3, 1)),
        "strided": numbers.astype("U7")[::2],
        "read-only": np.broadcast_to(np.array(["a"]), (size,)),
        "empty": np.array([], "U3"),
        "one": np.array("abc"),
        "masked": np.ma.masked_array(numbers, numbers % 3 == 0),
        "inside": {"x": [np.array([b"a"])], "y": np.float64(1.5), "z": np.str_("é")},
    }


def main(what: str, folder: str) -> None:
    for kind in (PickleHandler, GzipHandler):
        for size in (3, 30_000):
            for name, data in arrays(size).items():
                wanted = Kept(name, size)
                wanted.data = data
                if what == "save":
                    kind(Kept, Path(folder)).save_persistence(wanted)
                    continue
                for trusted in (True, False):
                    found = kind(Kept, Path(folder), trusted=trusted).load_persistence(wanted)
                    same = results_equal(found, wanted) and getattr(found.data, "dtype", 0) == getattr(data, "dtype", 0)
                    print(f"{kind.__name__} {size} {name} {trusted}: {'same' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
