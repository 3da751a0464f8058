"""Arrays in pickles: written as ``numpy.ndarray(shape, dtype string, buffer)``, a call that every numpy understands.

Smaller than what numpy writes by itself, two to three times faster for small arrays, and the same for numpy 1 and 2. It
is still plain pickle, for which a reader needs numpy and nothing else. Only native arrays of numbers in one piece are
written so; all others (object and structured dtypes, texts, dates, subclasses, strided views) go numpy's own way.
"""

from __future__ import annotations

import copyreg
import pickle
import sys
from typing import TYPE_CHECKING

from neuralib.persistence import _pickling

if TYPE_CHECKING:
    from typing import Protocol

    from typing_extensions import Buffer

    class Writable(Protocol):
        """What a pickler writes to."""

        def write(self, data: Buffer, /) -> object:
            """Take *data*."""


PROTOCOL = 5

_NATIVE_NUMBERS = "?bhilqBHILQefdFD"  # numpy's one-letter codes


# Filled when numpy is first there. Threads share it without a lock: two of them put in the same.
_reducers = _pickling.Reducers(copyreg.dispatch_table)


def pickler(file: Writable) -> pickle.Pickler:
    """Return a pickler that writes to *file*: frames of about 64 KiB, and larger buffers uncopied, as they are."""
    made = pickle.Pickler(file, PROTOCOL)
    if len(_reducers) or _numpy_is_known():
        made.dispatch_table = _reducers  # type: ignore[assignment]  # it is asked for items, and nothing else
    return made


def _numpy_is_known() -> bool:
    numpy = sys.modules.get("numpy")  # without numpy loaded there is no array to write
    if numpy is None or not hasattr(numpy, "ndarray"):
        return False
    _pickling.know_array_codes({numpy.dtype(code): numpy.dtype(code).str for code in _NATIVE_NUMBERS})
    _reducers[numpy.ndarray] = _pickling.reduce_array
    return True
