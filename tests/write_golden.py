"""Write the golden files of this version of the format: ``python tests/write_golden.py FOLDER``.

They are written once, and kept as they are: every later version must read them.
"""

from __future__ import annotations

import enum
import sys
from typing import Annotated, Any

import numpy as np

from neuralib.persistence import GzipHandler, PickleHandler, ZstdHandler, autoinc_field, field, persistence_class

HANDLERS = {".pkl": PickleHandler, ".pkl.gz": GzipHandler, ".pkl.zst": ZstdHandler}


class Colour(enum.Enum):
    RED = 1


@persistence_class
class Session:
    animal: str = field(filename=True)
    colour: Colour = field(filename=lambda colour: colour.name)
    run: int = autoinc_field("#")
    rate: Annotated[float, "Hz"]
    data: Any


CONTENTS = {
    0: {"plain": [1, "a", None], "small": np.arange(4, dtype="i2")},
    1: {"large": np.zeros(10_000), "fortran": np.asfortranarray(np.ones((300, 300), "u1")), "text": "between"},
}
"""By number."""


def session(number: int) -> Session:
    """Return the result that is in the files with *number*."""
    made = Session("A00", Colour.RED)
    made.run, made.rate, made.data = number, 30.5, CONTENTS[number]
    return made


def write(folder: str) -> None:
    """Write each result by each handler."""
    for handler in HANDLERS.values():
        for number in CONTENTS:
            handler(Session, folder).save_persistence(session(number))


if __name__ == "__main__":
    import write_golden  # so that the pickled class is in a module that can be imported

    write_golden.write(sys.argv[1])
