"""The few verbs that a store needs. Numbering and finding are written once, on these."""
# pyright: reportReturnType=false
# (a method of a protocol has a docstring for a body)

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from neuralib.persistence._disk import Stamp


class Draft(Protocol):
    """Bytes on their way to a name. Nobody sees them before they are published, and never a part of them."""

    def write(self, data: Buffer, /) -> int:
        """Add *data*; return its size in bytes."""

    def reserve(self, size: int) -> None:
        """Prepare for *size* more bytes: a hint, for large values."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def finish(self) -> None:
        """Complete the bytes, so that publishing them only gives the name."""

    def sync(self) -> None:
        """Write the finished bytes, published or not, through to the disk."""

    def publish_new(self, name: str) -> None:
        """Give the bytes *name*; of any number of writers exactly one succeeds.

        :raises FileExistsError: the name is taken
        """

    def publish_over(self, name: str) -> None:
        """Give the bytes *name*, in place of what has that name now, in one step."""

    def discard(self) -> None:
        """Forget the bytes, published or not: what is published stays. May be called more than once."""


class Store(Protocol):
    """Named bytes in one place."""

    @property
    def root(self) -> str:
        """The place."""

    def draft(self) -> Draft:
        """Return a new draft."""

    def names(self) -> Sequence[str]:
        """Return the names that there are, in no order; none where the place is not there."""

    def highest(self, head: str, tail: str) -> int:
        """Return the highest *n* for which there is a name ``head + str(n) + tail``, or -1; opens nothing."""

    def stamp(self) -> Stamp | None:
        """Return what tells whether names come or go later; None where the place is not there."""

    def has(self, name: str) -> bool:
        """Return whether there is something under *name*."""
