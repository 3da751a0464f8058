"""What a driver submits at once: how many templates, and whether the options go along."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from neuralib.persistence._computing.parcels import Answer

_BUDGETS = 3  # after so many times that, a worker returns the rest of a chunk: its tasks are longer than those before
_LONGEST_CHUNK = 1024
_MOST_WHOLE = 16  # chunks under way that carry large options


class Unit:
    """One template on its way."""

    __slots__ = ("failures", "suspect", "template")

    def __init__(self, template: Any) -> None:
        self.template = template
        self.failures = 0
        self.suspect = False
        """Whether it was in flight when a worker was killed."""


class Chunk(NamedTuple):
    """What is submitted at once."""

    units: list[Unit]
    whole: bool
    """Whether the options go along."""


class Pace:
    """Decides how many templates are sent at once, by how long the last ones took.

    :param chunk_s: how long a chunk of short tasks is to take, in seconds
    """

    def __init__(self, chunk_s: float) -> None:
        self._chunk_s = chunk_s
        self.budget_s = _BUDGETS * chunk_s
        """After this time, a worker begins no further task of a chunk."""
        self._seconds_each: float | None = None

    def size(self) -> int:
        """Return how many templates the next chunk has."""
        if self._seconds_each is None:
            return 1
        return max(1, min(int(self._chunk_s / self._seconds_each), _LONGEST_CHUNK))

    def note(self, seconds: float, done: int) -> None:
        """Take into account that *done* templates took *seconds*."""
        each = max(seconds / done, 1e-9)
        # The geometric mean soon forgets the first tasks, in which workers import what they need.
        self._seconds_each = each if self._seconds_each is None else math.sqrt(self._seconds_each * each)


class OptionsSending:
    """Which chunks carry the options: all where these are small, else those that go before the workers have them.

    :param always: whether all do
    """

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._informed: set[tuple[str, int]] = set()  # workers that have the options

    def go_with_next(self, waiting: Collection[Chunk], *, needed: bool) -> bool | None:
        """Return whether the next chunk carries the options; None where it has to wait for an answer.

        :param waiting: the chunks under way
        :param needed: whether a worker said that it lacks the options
        """
        if self._always:
            return True
        if sum(chunk.whole for chunk in waiting) < _MOST_WHOLE:
            return needed or not self._informed
        return False if self._informed else None

    def room(self, room: int) -> int:
        """Return how many chunks may be under way, where the executor has *room*."""
        return room if self._always else min(room, _MOST_WHOLE + 2 * len(self._informed))

    def note(self, answer: Answer) -> None:
        """Take into account that the worker of *answer* has the options."""
        self._informed.add(answer.worker)

    def forget(self) -> None:
        """Take into account that there are new workers."""
        self._informed.clear()
