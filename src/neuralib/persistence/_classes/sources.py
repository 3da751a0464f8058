"""Source text of generated code, kept where tracebacks, pdb and inspect look for it, as long as the code lives."""

from __future__ import annotations

import itertools
import linecache
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A file name of generated code stays in linecache when its code is gone, without lines, and is then given to the next code of
# the same title. It is never taken out: a finalizer runs at any moment, also within `linecache.checkcache`, which before
# Python 3.13 raises a KeyError for a name that vanishes while it looks at the others. Both tables are changed by single
# operations only, which other threads and finalizers cannot cut in two.
_counts: dict[str, Iterator[int]] = {}
_unused: dict[str, list[str]] = {}


def new_source_name(title: str) -> str:
    """Return a file name for generated code: no code that lives has it."""
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
