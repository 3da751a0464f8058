"""The content of an object, read by ranges: its end is known from the first request, the rest is read when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuralib.persistence._bytes.sources import Source
from neuralib.persistence._tasks import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable

PART_BYTES = 1 << 23
"""The most that one request asks for."""

_FIRST_BYTES = 1 << 16  # read at a place where nothing was read before: the start of a file, or what is between arrays
_LAST_BYTES = 1 << 18  # are read at once, where no more are unknown
_PARTS_AT_ONCE = 2
MOST_AHEAD = _PARTS_AT_ONCE * PART_BYTES
"""The most that is read in advance while the content is read from one end to the other."""


class ObjectSource(Source):
    """The content of an object as it was when it was opened.

    :param size: of the whole object, in bytes
    :param known: the part that was read already, from the place *at* on
    :param fetch: returns the bytes from one place to another, by one request; threads call it
    :param version: identifies the content, for replacing it
    :param writer: who wrote it: see :class:`ObjectStore`
    """

    def __init__(
        self,
        size: int,
        known: bytes,
        at: int,
        fetch: Callable[[int, int], bytes],
        version: dict[str, str] | None,
        writer: str | None,
    ) -> None:
        self.size = size
        self.version, self.writer = version, writer
        self._known, self._known_at = known, at
        self._window, self._window_at = b"", 0
        self._fetch = fetch
        self._ahead = _FIRST_BYTES

    def read_at(self, count: int, at: int, /) -> bytes:
        """Return *count* bytes from the place *at* on."""
        end = min(at + count, self.size)
        if at >= self._known_at and end <= self._known_at + len(self._known):
            return self._known[at - self._known_at : max(end, at) - self._known_at]
        parts = []
        while at < end:
            part = self._piece(at, end)
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _piece(self, at: int, end: int) -> bytes:
        """Return some bytes from the place *at* on, not beyond *end*; by requests where they are not known."""
        for data, start in ((self._known, self._known_at), (self._window, self._window_at)):
            if start <= at < start + len(data):
                return data[at - start : end - start]
        if at == self._window_at + len(self._window) and self._window:  # the reader goes on from there
            self._ahead = min(self._ahead * 16, MOST_AHEAD)
        else:
            self._ahead = _FIRST_BYTES
        stop = min(max(end, at + self._ahead), at + MOST_AHEAD, self.size)
        if at < self._known_at:
            whole = self._known_at - at <= _LAST_BYTES
            stop = self._known_at if whole else min(stop, self._known_at)
        self._window = self._fetched(at, stop)
        self._window_at = at
        return self._window[: end - at]

    def _fetched(self, at: int, end: int) -> bytes:
        if end - at <= PART_BYTES:
            return self._fetch(at, end)
        starts = range(at, end, PART_BYTES)
        reading = read_ahead(_PARTS_AT_ONCE, lambda start: self._fetch(start, min(start + PART_BYTES, end)), starts)
        return b"".join([part(start) for start, part in reading])

    def close(self) -> None:
        """Forget what was read."""
        self._known = self._window = b""
        self._known_at = self._window_at = self.size
