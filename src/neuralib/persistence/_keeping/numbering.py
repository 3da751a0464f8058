"""The next number of an auto-increment key: the highest in the store plus one, shared by no two writers.

The names are listed once. Then the highest number of each series is remembered, which only saves work: the store's
exclusive puts decide who gets a number. The store's state tells whether somebody else changed it since. A handler's own
saves are no such change, whichever series they belong to, and in folders, whichever thread they are from.

A folder's state is its time of change and its size. On disks, Linux 6.13 and newer give every change another state.
Elsewhere the state may stay the same for some milliseconds in which others save, rename and delete. Then a handler may try
a number that is taken, leave a gap, or give a number below another's. It never gives a number twice.
"""

from __future__ import annotations

import time
from itertools import count
from typing import Any

from neuralib.persistence import _scan
from neuralib.persistence._stores.base import MOST_DIGITS, Store, listed

_MOST_SERIES = 1 << 14  # remembered: a series is one set of keys, and takes about 200 bytes
_SCAN_SHARE = 2  # listing a folder that others keep writing into may take this share of the time: 1/(2 + 1)
_LOST = -1  # in place of the number of a look: another writer has the number, and there may be higher ones
_MOST_CREDIT_S = 0.1  # listing may take this much time besides, for changes that are rare


class View:
    """What was seen in one look at a store. It never changes.

    :param look: the number of the look, which no other one has; 0 before the first
    :param state: the store's state, for which the numbers hold that are remembered with that look; None if the store must be
        looked at again
    """

    __slots__ = ("look", "state")

    def __init__(self, look: int, state: Any) -> None:
        self.look = look
        self.state = state


class _Counters(dict[tuple[str, str], _scan.Counter | None]):
    """The counters of series, which may be of earlier looks; None for others.

    Not by dict.get, which may wait for itself in Python 3.13 without the interpreter lock: it takes the lock of the dict
    twice, if another thread made the dict and its keys are no texts. That takes longer than all the rest of a save.
    """

    def __missing__(self, series: tuple[str, str]) -> None:
        return None


class Numbering:
    """The numbers of one handler's results in one store.

    Threads share it without a lock: the numbers of a series are counted with the look that they hold for, and each thread
    takes another one. If two threads note a look at the same time, one note may be lost. That costs a lost race or a listing,
    as a save by another process would.

    :param store: where the results are
    :param marks: the texts right before and after each number, by which one listing serves all series; None where they
        are not known
    :param endings: the ends of the names: the one that names get, then those of other formats whose numbers count too
    """

    def __init__(self, store: Store, marks: tuple[str, str] | None, endings: tuple[str, ...] = ("",)) -> None:
        self.store = store
        self._endings = endings
        self._marks = marks
        self.view = View(0, None)
        """The last look."""
        self._looks = count(1)
        self._tells = type(store).state is not Store.state  # if so, no state means that the place does not exist
        self._absent = False  # whether the store had no state at the last look, and nothing was saved since
        self._counters = _Counters()
        self._complete = -1  # the look for which all existing series are remembered
        self._scanned_at_s = 0.0
        self._credit_s = _MOST_CREDIT_S  # what listing may take

    @property
    def was_asked(self) -> bool:
        """Whether a number was asked for: before, nothing is remembered."""
        return self.view.look > 0

    def next(self, series: tuple[str, str], *, look: bool) -> tuple[int, View]:
        """Return the number after the highest of *series*, and the view of the store for which it is that.

        :param series: what stands before and after the number in the names
        :param look: look at the store first, where its state would otherwise be compared when the result is put
        """
        view = self.view
        if look or view.state is None:
            view = self._looked_at(view)
        return self._counted(series, view).taken + 1, view

    def take(self, series: tuple[str, str], look: bool, left: int = -1) -> tuple[int, View]:
        """Return the same as :meth:`next`, a number that no other thread of this handler takes.

        :param look: as in :meth:`next`
        :param left: the number that :meth:`give_back` left to this result, or -1
        """
        view = self.view
        if look or view.state is None:
            view = self._looked_at(view)
        counter = self._counters[series]
        number = counter.take(view.look) if left < 0 and counter is not None else -1
        if number < 0:
            counter = self._counted(series, view)
            if 0 <= left <= counter.taken and not self.store.has(f"{series[0]}{left}{series[1]}"):
                return left, view
            number = counter.take(counter.look)
        return number, view

    def give_back(self, series: tuple[str, str], number: int, view: View) -> int:
        """Note that *number*, which was taken, is not saved.

        :param view: the view that the number is from
        :return: -1; but where other threads went on to higher numbers, *number*, which is left to the same result
        """
        counter = self._counters[series]
        return -1 if counter is not None and counter.look == view.look and counter.give_back(number) else number

    def _counted(self, series: tuple[str, str], view: View) -> _scan.Counter:
        """Return the counter of *series* for *view*."""
        counter = self._counters[series]
        if counter is not None and counter.look == view.look:
            return counter
        if counter is None and self._complete == view.look:
            return self._note(series, -1, view.look)
        return self._looked_up(series, counter, view.look)

    def _looked_at(self, view: View) -> View:
        """Look at the store, and return *view* if it still holds, else a new one."""
        now = self.store.state()
        if view.state is not None and now is not None and view.state.is_unchanged(now):
            return view
        is_known = view.look > 0 and (not self._tells or (now is None and self._absent))
        self._absent = now is None
        self.view = view = View(view.look if is_known else next(self._looks), now)
        return view

    def _looked_up(self, series: tuple[str, str], known: _scan.Counter | None, look: int) -> _scan.Counter:
        """Find the highest number of *series*, and return its counter for the *look* made before."""
        # Others write here too. If each of their saves made us list the names, our saves would take time in proportion to
        # the number of results. So while listing takes too large a share of the time, look upwards from the known number.
        if known is not None and known.saved >= 0 and self._credit_at(time.monotonic()) <= 0:
            head, tail = series
            if self.store.has(f"{head}{known.saved}{tail}"):
                return self._note(series, _end_of_series(self.store, head, tail, known.saved), look)
        start_s = time.monotonic()
        highest = self._listed(series, look)
        end_s = time.monotonic()
        self._credit_s = self._credit_at(start_s) - (end_s - start_s)
        self._scanned_at_s = end_s
        if known is not None and known.look == _LOST and known.saved > highest:
            head, tail = series
            if self.store.has(f"{head}{known.saved}{tail}"):  # it was saved after the listing was made
                highest = _end_of_series(self.store, head, tail, known.saved)
        return self._note(series, highest, look)

    def _listed(self, series: tuple[str, str], look: int) -> int:
        """Return the highest number of *series* by listing the names. If there are several series, note all of them."""
        if self._marks is not None and self._counters and self._complete != look:
            found = self._indexed(*self._marks)
            if found is not None:
                self._counters = _Counters((each, _scan.Counter(look, number)) for each, number in found.items())
                self._complete = look
                return found.get(series, -1)
        head, tail = series
        own, *others = self._endings
        tails = (tail, *(tail.removesuffix(own) + other for other in others))
        return self.store.highest_among(head, tails)

    def _indexed(self, before: str, after: str) -> dict[tuple[str, str], int] | None:
        """Return the highest number of each series, files of other formats included; None if there are too many series."""
        own, *others = self._endings
        names = listed(self.store)
        marks = [after, *others] if after and after == own else [after]
        indexed = [_scan.index_series(names, before, mark, _MOST_SERIES) for mark in marks]
        found = indexed[0]
        if found is None or None in indexed:
            return None
        for index in indexed:
            theirs = [each for each in index if each[1].endswith(tuple(others))]  # type: ignore[union-attr]
            for head, tail in theirs:
                other = next(other for other in others if tail.endswith(other))
                series = head, tail.removesuffix(other) + own
                found[series] = max(index[head, tail], found.get(series, -1))  # type: ignore[index]
        return found

    def _note(self, series: tuple[str, str], highest: int, look: int) -> _scan.Counter:
        known = self._counters
        if len(known) >= _MOST_SERIES and series not in known:
            known.pop(next(iter(list(known)), series), None)  # in one step: other threads add at the same time
            self._complete = -1
        known[series] = counter = _scan.Counter(look, highest)
        return counter

    def _credit_at(self, now_s: float) -> float:
        """Return how many seconds listing may take at the time *now_s*. The number is negative while it took too many."""
        return min(self._credit_s + (now_s - self._scanned_at_s) / _SCAN_SHARE, _MOST_CREDIT_S)

    def published(self, series: tuple[str, str], number: int, view: View, state: Any) -> None:
        """Note that *number* was saved by this handler.

        :param view: the view that the number is from
        :param state: the store's state right after, or None
        """
        counter = self._counters[series]
        if counter is None or not counter.save(number, view.look):
            self._note(series, number, view.look)
        if state is not view.state and self.view is view:
            self.view = View(view.look, state)
        self._absent = False

    def given(self, series: tuple[str, str], number: int) -> None:
        """Note that this handler saved a result which had *number* already. The store's state may not show that at once."""
        self._absent = False
        if not 0 <= number < 10**MOST_DIGITS:  # which doesn't count: see Store.highest
            return
        counter = self._counters[series]
        if counter is not None:
            counter.save(number, counter.look)
        elif self._complete == self.view.look:  # which says that there is no other of this series
            self._note(series, number, self.view.look)

    def changed(self, view: View) -> None:
        """Note that the store was changed by others since *view*."""
        if self.view is view:
            self.view = View(view.look, None)

    def lost(self, series: tuple[str, str], number: int, view: View) -> None:
        """Note that another writer was first with *number*, which is from *view*.

        The number counts at once, whatever a listing says: network file systems may list names as they were seconds ago.
        """
        counter = self._counters[series]
        if counter is not None and counter.look == view.look and counter.saved >= number:
            return  # another thread of this handler was
        self.changed(view)
        self._absent = False
        self._note(series, number if counter is None else max(counter.saved, number), _LOST)


def _end_of_series(store: Store, head: str, tail: str, known: int) -> int:
    """Return the last number of the unbroken series from *known* on, by looking at O(log n) names."""
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
