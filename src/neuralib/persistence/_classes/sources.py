"""Keep the source of generated code in linecache, for tracebacks, pdb and inspect, as long as the code exists."""

from __future__ import annotations

import itertools
import linecache
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# When generated code is gone, its file name stays in linecache, without lines, and is given to the next code of the same
# title. It is never removed: a finalizer may run at any moment, also within `linecache.checkcache`, which before Python 3.13
# raises a KeyError if a name vanishes during its loop. Both tables are changed by single, atomic operations only, because of
# other threads and finalizers.
_counts: dict[str, Iterator[int]] = {}
_unused: dict[str, list[str]] = {}


def new_source_name(title: str) -> str:
    """Return a file name for generated code that no existing code has."""
    try:
        return _unused.setdefault(title, []).pop()
    except IndexError:
        number = next(_counts.setdefault(title, itertools.count()))
        return f"<generated {title}>" if number == 0 else f"<generated {title} {number}>"


def keep_source(name: str, title: str, text: str, method: Callable[..., object]) -> None:
    """Show `text` as the source of `method`, whose code was compiled under `name`, until the method is gone."""
    # No time stamp: linecache then never looks for such a file.
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    weakref.finalize(method, _retire, name, title).atexit = False


def _retire(name: str, title: str) -> None:
    linecache.cache[name] = (0, None, [], name)
    _unused[title].append(name)
