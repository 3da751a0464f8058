"""The names in a store that conditions on keys leave to be read."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from neuralib.persistence._naming.names import Pattern
    from neuralib.persistence._stores.base import Store

    Wanted = Sequence[frozenset[str | None] | None]

_FEW = 64  # names that are looked at one by one


def candidate_names(store: Store, patterns: Sequence[Pattern], wanted: Wanted) -> list[str] | list[bytes]:
    """Return the names in *store* that may fit, as :meth:`Store.packed_names` does.

    Few names are looked at one by one. Otherwise the names are listed from the text on with which all that fit begin.

    :param patterns: of the names
    :param wanted: the texts that each column may have; None for any. A text None means that the name leaves the key out
    """
    names = _few_names(store, patterns, wanted)
    if names is not None:
        return names
    return store.packed_names(_common_start([_known_start(pattern, wanted) for pattern in patterns]))


def _few_names(store: Store, patterns: Sequence[Pattern], wanted: Wanted) -> list[str] | None:
    """Return those of the wanted names that are there, if few are wanted; None to list all names."""
    if None in wanted or math.prod(len(texts or ()) for texts in wanted) * len(patterns) > _FEW:
        return None
    found = store.which(dict.fromkeys(name for pattern in patterns for name in _names_like(pattern, wanted)))
    # Where 'a' and 'A' are one file, only a listing tells which of them is there.
    if store.local_folder() is not None and any(store.has(name.swapcase()) for name in found):
        return None
    return found


def _names_like(pattern: Pattern, wanted: Wanted) -> Iterator[str]:
    """Yield the names of *pattern* whose keys have the *wanted* texts."""
    left_out = [texts for column, texts in enumerate(wanted) if column not in pattern.columns]
    if any(None not in (texts or ()) for texts in left_out):
        return
    for chosen in itertools.product(*(wanted[column] or () for column in pattern.columns)):
        if None not in chosen:
            yield "".join(itertools.chain(*zip(pattern.literals, chosen, strict=False), pattern.literals[-1:]))  # type: ignore[arg-type]


def _known_start(pattern: Pattern, wanted: Wanted) -> str:
    """Return the text with which all names of *pattern* begin whose keys have the *wanted* texts."""
    start = pattern.literals[0]
    for column, literal in zip(pattern.columns, pattern.literals[1:], strict=True):
        texts = wanted[column]
        text = None if texts is None or len(texts) != 1 else next(iter(texts))
        if text is None:
            break
        start += text + literal
    return start


def _common_start(starts: list[str]) -> str:
    """Return the text with which all *starts* begin."""
    first, last = min(starts), max(starts)  # between which all others lie
    return next((first[:end] for end in range(len(first), 0, -1) if last.startswith(first[:end])), "")
