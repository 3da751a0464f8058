"""Classes and checks that many tests share."""

from __future__ import annotations

import _thread
import gc
import io
import pickle
import sys
import time
import weakref
from typing import Any

import pytest

from neuralib.persistence import PersistenceHandler, _pickling, autoinc_field, field, persistence_class, results_equal
from neuralib.persistence._codecs.arrays import numpy_is_known, reducers


@persistence_class
class Pair:
    a: Any = field(validator=True, filename=True)
    b: Any = field(validator=True, filename=True)
    c: Any = field(default=None)
    data: Any


@persistence_class
class Run:
    animal: Any = field(validator=True, filename=True)
    version: int = autoinc_field("#")
    data: Any


NOT_PICKLED = (AttributeError, TypeError, pickle.PicklingError)
"""The errors of pickling a local function; which one depends on the version of Python."""


def dump_into(target: Any, value: Any) -> None:
    """Pickle *value* into *target*, which has a method ``write``, as codecs do."""
    numpy_is_known()
    _pickling.FirstChunk(0, lambda: target, reducers).dump(value)


def dumped(value: Any) -> bytes:
    """Return *value* pickled as codecs do it."""
    target = io.BytesIO()
    dump_into(target, value)
    return target.getvalue()


def filled(result: Any, **values: Any) -> Any:
    """Set attributes of *result*, and return it."""
    for name, value in values.items():
        setattr(result, name, value)
    return result


def unused_classes_are_freed() -> bool:
    """Return whether unused classes are freed: free-threaded 3.13 keeps all of them once a thread was started."""
    made = weakref.ref(type("Made", (), {}))
    gc.collect()
    return made() is None


def threads_end(count: int) -> bool:
    """Wait until at most *count* threads are left; return whether that happened."""
    deadline = time.monotonic() + 5
    while (left := _thread._count()) > count and time.monotonic() < deadline:
        time.sleep(0.001)
    return left <= count


def check_round_trip(handler: PersistenceHandler[Any], result: Any) -> Any:
    """Save *result*, load it by path, by text, by template and by keys; return what was loaded."""
    assert handler.save_persistence(result) is result
    path = handler.filepath(result)
    assert path.is_file()
    keys = {
        declared.field_name: getattr(result, declared.field_name)
        for declared in handler.persistence_info.fields
        if declared.init
    }
    for address in (path, str(path), result, keys):
        loaded = handler.load_persistence(address)
        assert type(loaded) is type(result)
        assert results_equal(loaded, result)
    assert handler.validate(result, loaded)
    found = list(handler.load_all(result))
    assert [pair[0] for pair in found] == [path]
    assert results_equal(found[0][1], result)
    return loaded


def has_zstd() -> bool:
    """Return whether Python or the extra `zstd` provides Zstandard."""
    try:
        if sys.version_info >= (3, 14):
            import compression.zstd  # noqa: F401
        else:
            import backports.zstd  # noqa: F401
    except ImportError:
        return False
    return True


needs_zstd = pytest.mark.skipif(not has_zstd(), reason="needs the extra 'zstd'")
