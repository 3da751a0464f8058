"""The next number of an auto-increment key: the highest in the store plus one, shared by no two writers.

Names are listed once, then the highest number is remembered. That each number has one owner rests on the store's
exclusive publication alone; what is remembered only saves work. What says whether it still holds is the folder's time of
change, and its size. On Linux from 6.13 on, a look sees to it that the next change shows, on disks. Before, and in memory
where one name comes for another, they may stay the same for some milliseconds in which others save, rename and delete: then a
number may be tried that is taken, or be one that leaves a gap or is below another's, but none is given twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, TypeVar

from neuralib.persistence._disk import UNKNOWN

if TYPE_CHECKING:
    from neuralib.persistence._disk import Stamp
    from neuralib.persistence._stores.base import Store

S = TypeVar("S", bound="Store")

_REMEMBERED_SERIES = 256  # per handler: a series is one set of keys in one store
_SCAN_SHARE = 2  # listing a folder that others keep writing into may take this share of the time: 1/(2 + 1)
_MOST_CREDIT_S = 0.1  # and so much time besides, for changes that come once in a while


class Numbering(Generic[S]):
    """The series that one handler has numbered.

    Shared by the threads that share the handler, without a lock: two of them at worst make a series twice, and list names
    twice.
    """

    __slots__ = ("_known", "last")

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], Series[S]] = {}
        self.last: Series[S] | None = None
        """The series that was asked for last."""

    def series(self, store: S, around: tuple[str, str]) -> Series[S]:
        """Return the series of names in *store* that have *around* before and after the number."""
        last = self.last
        if last is not None and last.around == around and last.store.root == store.root:
            return last  # comparing texts takes less time than hashing new ones
        head, tail = around
        key = (store.root, head, tail)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Series(store, head, tail)
            while len(self._known) > _REMEMBERED_SERIES:
                self._known.pop(list(self._known)[0], None)  # noqa: RUF015  # one step: other threads add at the same time
        self.last = found
        return found


class Series(Generic[S]):
    """One set of keys in one store: its names differ in the number alone.

    Threads share it without a lock. What they leave in it may be a mixture of what two of them saw, which costs a lost
    race or a listing, as what another process did in between would.
    """

    __slots__ = (
        "_credit_s",
        "_highest",
        "_lost",
        "_scanned_at_s",
        "_stamp",
        "around",
        "expected",
        "head",
        "store",
        "tail",
    )

    def __init__(self, store: S, head: str, tail: str) -> None:
        self.store, self.head, self.tail = store, head, tail
        self.around = (head, tail)
        self._highest: int | None = None  # None until the names were listed
        self._stamp: Stamp | None = None  # the store's, right after that was known
        self.expected: tuple[int, Stamp] | None = None
        """The next number, and the store's stamp while it is that, by the last publication; None where it did not tell."""
        self._lost = -1  # the number that somebody else was first with
        self._scanned_at_s = 0.0
        self._credit_s = _MOST_CREDIT_S  # what listing may take

    def next(self) -> int:
        """Return the number after the highest."""
        self.forget_expected()
        highest, stamp = self._highest, self._stamp
        if highest is None:
            return self._listed()
        if stamp is not None and (now := self.store.stamp()) is not None and stamp.is_unchanged(now):
            return highest + 1
        # Others write here too. Listing the names at each of their saves would make a save cost as much as there are
        # results, so while that takes too large a share of the time, look upwards from where the series ended.
        if self._credit_at(time.monotonic()) > 0 or highest < 0:
            return self._listed()
        if not self.store.has(f"{self.head}{highest}{self.tail}"):
            return self._listed()
        highest = _end_of_series(self.store, self.head, self.tail, highest)
        self._highest, self._stamp = highest, None
        return highest + 1

    def taken(self, number: int, stamp: Stamp = UNKNOWN) -> None:
        """Note that *number* was published, by this process.

        :param stamp: the store's right after, as far as publishing it told
        """
        if stamp.known:
            self.expected = (number + 1, stamp)
        else:
            self.expected = None
            self._highest, self._stamp = number, self.store.stamp()

    def given(self, number: int) -> None:
        """Note that this process published *number* without asking for it, which the store's stamp may not tell so soon."""
        self.forget_expected()
        if self._highest is not None and number > self._highest:
            self._highest, self._stamp = number, None

    def forget_expected(self) -> None:
        """Ask the store before the next publication, not with it."""
        expected = self.expected
        if expected is not None:
            self._highest, self._stamp = expected[0] - 1, expected[1]
            self.expected = None

    def lost(self, number: int) -> None:
        """Note that somebody else was first with *number*.

        It counts at once, whatever a listing says: network file systems list names as they were some seconds ago.
        """
        self.forget_expected()
        self._stamp = None
        self._lost = number

    def _credit_at(self, now_s: float) -> float:
        """Return how many seconds listing the names may take at the time *now_s*; less than 0 while it has taken too many."""
        return min(self._credit_s + (now_s - self._scanned_at_s) / _SCAN_SHARE, _MOST_CREDIT_S)

    def _listed(self) -> int:
        stamp = self.store.stamp()  # before the names: what comes in between changes it
        start = time.monotonic()
        highest = self.store.highest(self.head, self.tail)
        end = time.monotonic()
        self._credit_s = self._credit_at(start) - (end - start)
        self._scanned_at_s = end
        if highest < self._lost and self.store.has(f"{self.head}{self._lost}{self.tail}"):
            highest = _end_of_series(self.store, self.head, self.tail, self._lost)
        self._lost = -1
        self._highest, self._stamp = highest, stamp
        return highest + 1


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
