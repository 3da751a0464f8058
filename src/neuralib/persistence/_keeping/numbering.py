"""The next number of an auto-increment key: the highest in the store plus one, shared by no two writers.

Names are listed once; then the highest number of each series is remembered. That each number has one owner rests on the
store's exclusive puts alone; what is remembered only saves work. Whether it still holds is told by the store's state: what
this handler saves itself is noted, and is no change by others, in whichever series it is.

A folder's state is its time of change and its size. On Linux from 6.13 on, the next change shows on disks. Before, and in
memory where one name comes for another, the state may stay the same for some milliseconds in which others save, rename and
delete: then a number may be tried that is taken, or be one that leaves a gap or is below another's, but none is given twice.
"""

from __future__ import annotations

import time
from typing import Any

from neuralib.persistence import _names
from neuralib.persistence._errors import ContractError, shown
from neuralib.persistence._stores.base import Store, listed

_MOST_SERIES = 1 << 14  # remembered: a series is one set of keys, and takes about 200 bytes
_SCAN_SHARE = 2  # listing a folder that others keep writing into may take this share of the time: 1/(2 + 1)
_LOST = -1  # in place of a value of _seen: the number is somebody else's, and whether it is the highest is not known
_MOST_CREDIT_S = 0.1  # and so much time besides, for changes that come once in a while


class Numbering:
    """The numbers of one handler's results in one store.

    Threads share it without a lock. What they leave in it may be a mixture of what two of them saw, which costs a lost race
    or a listing, as what another process did in between would.

    :param store: where the results are
    :param marks: the texts right before and after each number, by which one listing serves all series; None where they
        are not known
    """

    __slots__ = (
        "_absent",
        "_complete",
        "_credit_s",
        "_highest",
        "_marks",
        "_scanned_at_s",
        "_seen",
        "_state",
        "_tells",
        "store",
    )

    def __init__(self, store: Store, marks: tuple[str, str] | None) -> None:
        self.store = store
        self._marks = marks
        self._state: Any = None  # of the store, for which what is remembered holds; None where that has to be looked up
        self._tells = type(store).state is not Store.state  # then no state means that the place is not there
        self._absent = False  # whether it told none when it was looked at last, and nothing was saved since
        self._seen = 0  # how often the store was found changed by others
        self._highest: dict[tuple[str, str], tuple[int, int]] = {}  # by series: its highest number, and _seen by then
        self._complete = -1  # the value of _seen for which all series are remembered that there are
        self._scanned_at_s = 0.0
        self._credit_s = _MOST_CREDIT_S  # what listing may take

    @property
    def was_asked(self) -> bool:
        """Whether a number was asked for: before, nothing is remembered."""
        return self._seen > 0

    def next(self, series: tuple[str, str], *, look: bool) -> tuple[int, Any]:
        """Return the number after the highest of *series*, and the state of the store for which it is that.

        :param series: what stands before and after the number in the names
        :param look: look at the store first, where its state would otherwise be compared when the result is put
        """
        state = self._state
        if state is None or look:
            now = self.store.state()
            if state is None or now is None or not state.is_unchanged(now):
                if self._seen == 0 or (self._tells and not (now is None and self._absent)):
                    self._seen += 1
                self._absent = now is None
                self._state = state = now
        known = self._highest.get(series)
        if known is not None and known[1] == self._seen:
            return known[0] + 1, state
        if known is None and self._complete == self._seen:
            return 0, state
        return self._looked_up(series, known) + 1, state

    def _looked_up(self, series: tuple[str, str], known: tuple[int, int] | None) -> int:
        """Return the highest number of *series*, which is not known, or no longer."""
        # Others write here too. Listing the names at each of their saves would make a save cost as much as there are
        # results, so while that takes too large a share of the time, look upwards from where the series ended.
        seen = self._seen  # before looking: what others do meanwhile is not seen
        if known is not None and known[0] >= 0 and self._credit_at(time.monotonic()) <= 0:
            head, tail = series
            if self.store.has(f"{head}{known[0]}{tail}"):
                highest = _end_of_series(self.store, head, tail, known[0])
                self._note(series, highest, seen)
                return highest
        start_s = time.monotonic()
        highest = self._listed(series, seen)
        end_s = time.monotonic()
        self._credit_s = self._credit_at(start_s) - (end_s - start_s)
        self._scanned_at_s = end_s
        if known is not None and known[1] == _LOST and known[0] > highest:
            head, tail = series
            if self.store.has(f"{head}{known[0]}{tail}"):  # the listing was made before that one came
                highest = _end_of_series(self.store, head, tail, known[0])
        self._note(series, highest, seen)
        return highest

    def _listed(self, series: tuple[str, str], seen: int) -> int:
        """Return the highest number of *series* by listing the names; where there are more series, of all at once."""
        if self._marks is not None and self._highest and self._complete != seen:
            found = _names.index_series(listed(self.store), *self._marks, _MOST_SERIES)
            if found is not None:
                self._highest = {each: (number, seen) for each, number in found.items()}
                self._complete = seen
                return found.get(series, -1)
        highest: Any = self.store.highest(*series)
        if not isinstance(highest, int):
            raise ContractError(type(self.store).__qualname__, "highest", "an int", shown(highest))
        return highest

    def _note(self, series: tuple[str, str], highest: int, seen: int) -> None:
        known = self._highest
        if len(known) >= _MOST_SERIES and series not in known:
            known.pop(next(iter(list(known)), series), None)  # in one step: other threads add at the same time
            self._complete = -1
        known[series] = (highest, seen)

    def _credit_at(self, now_s: float) -> float:
        """Return how many seconds listing the names may take at the time *now_s*; less than 0 while it has taken too many."""
        return min(self._credit_s + (now_s - self._scanned_at_s) / _SCAN_SHARE, _MOST_CREDIT_S)

    def published(self, series: tuple[str, str], number: int, state: Any) -> None:
        """Note that *number* was saved by this handler.

        :param state: the store's right after, or None
        """
        known = self._highest
        if series in known or len(known) < _MOST_SERIES:
            known[series] = (number, self._seen)
        else:
            self._note(series, number, self._seen)
        self._state = state
        self._absent = False

    def given(self, series: tuple[str, str], number: int) -> None:
        """Note that this handler saved *number* without asking for it, which the store's state may not tell so soon."""
        self._absent = False
        known = self._highest.get(series)
        if known is not None:
            if number > known[0]:
                self._highest[series] = (number, known[1])
        elif number >= 0 and self._complete == self._seen:  # which says that there is no other of this series
            self._note(series, number, self._seen)

    def changed(self) -> None:
        """Note that the store was changed by others."""
        self._state = None

    def lost(self, series: tuple[str, str], number: int) -> None:
        """Note that somebody else was first with *number*.

        It counts at once, whatever a listing says: network file systems list names as they were some seconds ago.
        """
        self._state = None
        self._absent = False
        highest = self._highest.get(series, (-1, _LOST))[0]
        self._note(series, max(highest, number), _LOST)


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
