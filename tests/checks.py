"""What the tests of formats share: a class, ways to fill it, and one check of a whole round trip."""

from __future__ import annotations

import _thread
import sys
import time
from typing import Any

import pytest

from neuralib.persistence import PersistenceHandler, autoinc_field, field, persistence_class, results_equal


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


def filled(result: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(result, name, value)
    return result


def threads_end(count: int) -> bool:
    """Wait until no more than *count* threads are left; return whether it came to that."""
    deadline = time.monotonic() + 5
    while (left := _thread._count()) > count and time.monotonic() < deadline:
        time.sleep(0.001)
    return left <= count


def check_round_trip(handler: PersistenceHandler[Any], result: Any) -> Any:
    """Save *result*, load it by path, by text, by template and by keys; return what was loaded."""
    assert handler.save_persistence(result) is result
    path = handler.filepath(result)
    assert path.is_file()
    keys = {it.field_name: getattr(result, it.field_name) for it in handler.persistence_info.fields if it.init}
    for address in (path, str(path), result, keys):
        loaded = handler.load_persistence(address)
        assert type(loaded) is type(result)
        assert results_equal(loaded, result)
    assert handler.validate(result, loaded)
    found = list(handler.load_all(result))
    assert [it[0] for it in found] == [path]
    assert results_equal(found[0][1], result)
    return loaded


def has_zstd() -> bool:
    """Whether Python, or the extra, can compress by Zstandard."""
    try:
        if sys.version_info >= (3, 14):
            import compression.zstd  # noqa: F401
        else:
            import backports.zstd  # noqa: F401
    except ImportError:
        return False
    return True


needs_zstd = pytest.mark.skipif(not has_zstd(), reason="needs the extra 'zstd'")
