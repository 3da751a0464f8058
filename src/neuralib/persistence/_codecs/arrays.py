"""Arrays in pickles: written as ``numpy.ndarray(shape, dtype string, buffer)``, a call that every numpy understands.

This is smaller than what numpy itself writes, two to three times faster for small arrays, and the same under numpy 1 and 2.
It is plain pickle: a reader needs numpy and nothing else. Contiguous arrays of numbers, texts, bytes and records are
written so. All others (of objects, dates, subclasses, strided views) are pickled as numpy does it.
"""

from __future__ import annotations

import copyreg
import sys

from neuralib.persistence import _pickling
from neuralib.persistence._packages import package_of

_NATIVE_NUMBERS = "?bhilqBHILQefdFD"  # numpy's one-letter codes


# Filled when numpy is loaded. Threads share it without a lock: if two of them fill it, they put in the same.
reducers = _pickling.Reducers(copyreg.dispatch_table, package_of)


def numpy_is_known() -> bool:
    """Register the reducer of arrays if numpy is loaded; return whether it is."""
    if "numpy" not in sys.modules:  # there is no array to write. Not dict.get, which may wait for itself: see Numbering
        return False
    numpy = sys.modules["numpy"]
    if not hasattr(numpy, "ndarray"):
        return False
    _pickling.know_array_codes({numpy.dtype(code): numpy.dtype(code).str for code in _NATIVE_NUMBERS})
    reducers[numpy.ndarray] = _pickling.reduce_array
    reducers[type(numpy.dtype("V1"))] = _pickling.reduce_dtype
    return True
