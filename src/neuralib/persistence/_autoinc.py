"""The next number of an auto-increment key: the highest in the store plus one, shared by no two writers.

Names are listed once, then the highest number is remembered. That each number has one owner rests on the store's
exclusive publication alone; what is remembered only saves work.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from neuralib.persistence._stores.base import Store

_REMEMBERED_SERIES = 256  # per handler: a series is one set of keys in one store
_SCAN_SHARE = 2  # listing a folder that others write into may take this share of the time: 1/(2 + 1)


class _Known(NamedTuple):
    highest: int
    stamp: int | None  # the store's, right after this was known
    scanned_at_s: float  # when the names were last listed, and how long that took
    scan_took_s: float


class Numbering:
    """What one handler remembers of the series that it has numbered. Two threads at worst list names twice."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], _Known] = {}

    def next(self, place: str, store: Store, head: str, tail: str) -> int:
        """Return the number after the highest of the series ``head + number + tail`` in *store*, which is at *place*."""
        key = (place, head, tail)
        known = self._known.get(key)
        if known is None:
            return self._listed(key, store)
        if known.stamp is not None and store.stamp() == known.stamp:
            return known.highest + 1
        # Others write here too. Listing the names at each of their saves would make a save cost as much as there are
        # results, so while that takes too large a share of the time, look upwards from where the series ended.
        if time.monotonic() - known.scanned_at_s >= _SCAN_SHARE * known.scan_took_s or known.highest < 0:
            return self._listed(key, store)
        if not store.has(f"{head}{known.highest}{tail}"):
            return self._listed(key, store)
        highest = _end_of_series(store, head, tail, known.highest)
        self._remember(key, known._replace(highest=highest, stamp=None))
        return highest + 1

    def taken(self, place: str, store: Store, head: str, tail: str, number: int) -> None:
        """Note that *number* was published, by this process."""
        key = (place, head, tail)
        known = self._known.get(key)
        if known is not None:
            self._remember(key, known._replace(highest=number, stamp=store.stamp()))

    def lost(self, place: str, head: str, tail: str) -> None:
        """Note that somebody else was first with the number."""
        key = (place, head, tail)
        known = self._known.get(key)
        if known is not None:
            self._remember(key, known._replace(stamp=None))

    def _listed(self, key: tuple[str, str, str], store: Store) -> int:
        _, head, tail = key
        stamp = store.stamp()  # before the names: what comes in between changes it
        start = time.monotonic()
        highest = store.highest(head, tail)
        end = time.monotonic()
        self._remember(key, _Known(highest, stamp, end, end - start))
        return highest + 1

    def _remember(self, key: tuple[str, str, str], known: _Known) -> None:
        series = self._known
        series[key] = known
        if len(series) > _REMEMBERED_SERIES:
            series.pop(next(iter(series)), None)


def _end_of_series(store: Store, head: str, tail: str, known: int) -> int:
    """Return the last number of the series that goes on from *known*, in a number of looks that grows as its logarithm."""
    step = 1
    while store.has(f"{head}{known + step}{tail}"):
        step *= 2
    low, high = known + step // 2, known + step  # low is there (or is known), high is not
    while high - low > 1:
        middle = (low + high) // 2
        if store.has(f"{head}{middle}{tail}"):
            low = middle
        else:
            high = middle
    return low
