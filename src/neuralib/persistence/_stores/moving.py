"""Results on their way to another name or another place: an original is removed only after its copy was verified there.

Wherever that is interrupted, each result is whole under its former name, its new one, or both, and the next call goes on.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._stores.base import Put, Stat, Store, stat_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    Outcome = tuple["Copy", Exception | None]

T = TypeVar("T")

_MOST_TOGETHER = 500  # copies that wait for the disk together
_GROUP_BYTES = 1 << 26
# Errors after which the other copies may be stored.
_ABOUT_ONE = {errno.EBUSY, errno.EFBIG, errno.EINVAL, errno.ENAMETOOLONG}


class Copy(NamedTuple):
    """A copy of one result that is not stored yet."""

    name: str
    """Of the original."""
    before: Stat
    """Of the original, from before it was read."""
    target: Store
    put: Put
    """It gets the time of the original, and its permissions if that is a file."""
    verify: Callable[[Exception | None], object]
    """Called with None when the copy is stored, or with the error that its name is taken: raises an error unless this
    result is there."""


@contextmanager
def drafted(store: Store) -> Generator[Any]:
    """Give a draft of *store*, which is discarded if it can't be filled."""
    draft = store.draft()
    try:
        yield draft
    except BaseException:
        draft.discard()
        raise


def moved(source: Store, copies: Iterable[Copy], *, keep: bool = False) -> Iterator[Outcome]:
    """Store *copies* in groups, verify each, and remove the originals from *source*.

    :param keep: leave the originals
    :return: each copy, with None, or with the error for which its original stays
    :raises OSError: about the place rather than one result, such as a full disk
    """
    group: list[Copy] = []
    size_bytes = 0
    for copy in copies:
        is_full = len(group) == _MOST_TOGETHER or size_bytes >= _GROUP_BYTES
        if is_full or (group and copy.target.url != group[0].target.url):
            yield from _moved_together(source, group, keep=keep)
            group, size_bytes = [], 0
        group.append(copy)
        content = copy.put.content
        size_bytes += len(content) if type(content) is bytes else content.size
    yield from _moved_together(source, group, keep=keep)


def _moved_together(source: Store, group: list[Copy], *, keep: bool) -> Iterator[Outcome]:
    """Do the same for copies of one target."""
    try:
        left = yield from _passing(group, lambda copy: _dated(source, copy, keep=keep))
        while left:
            outcomes: list[Exception | None] = []
            problem = None
            try:
                group[0].target.put_many([put for _, put in left], outcomes, durable=True)
            except OSError as error:
                problem = error
            outcome_of = {
                copy.name: outcome
                for (copy, _), outcome in zip(left, outcomes, strict=problem is None)
                if not isinstance(outcome, InterruptedError)
            }
            tried = [copy for copy, _ in left if copy.name in outcome_of]
            whole = yield from _passing(tried, lambda copy: _verify(copy, outcome_of[copy.name]))  # noqa: B023 - called at once
            yield from _removed(source, [copy for copy, _ in whole], keep=keep)
            left = [each for each in left if each[0].name not in outcome_of]
            if problem is not None and problem.errno not in _ABOUT_ONE:
                raise problem
            if problem is not None and problem not in outcomes:
                yield left.pop(0)[0], problem
    finally:
        for copy in group:
            if type(copy.put.content) is not bytes:
                copy.put.content.discard()


def _passing(copies: list[Copy], step: Callable[[Copy], T]) -> Generator[Outcome, None, list[tuple[Copy, T]]]:
    """Return the copies with what *step* returns for each; yield those for which it raises an error."""
    found = []
    for copy in copies:
        try:
            found.append((copy, step(copy)))
        except (OSError, PersistenceError) as error:
            yield copy, error
    return found


def _dated(source: Store, copy: Copy, *, keep: bool) -> Put:
    """Return the put of a copy whose original is still what was read, with its time and permissions."""
    if not keep:
        refuse_replaced(source, copy.name, copy.before)
    if source.local_folder() is None:
        return copy.put._replace(time_ns=round(copy.before.time_modified_s * 1e9))
    status = os.lstat(source.location(copy.name))
    return copy.put._replace(time_ns=status.st_mtime_ns, mode=status.st_mode)


def refuse_replaced(store: Store, name: str, before: Stat) -> None:
    """Raise an error where the content of *name* is no longer that of which *before* is known.

    :raises FileNotFoundError: it is gone
    """
    if stat_of(store, name).version != before.version:
        raise _just_replaced(store, name)


def _just_replaced(store: Store, name: str) -> OSError:
    return OSError(errno.EBUSY, "was replaced meanwhile, and stays", store.location(name))


def _verify(copy: Copy, outcome: Exception | None) -> None:
    if outcome is not None and not isinstance(outcome, FileExistsError):
        raise outcome
    copy.verify(outcome)


def _removed(source: Store, copies: list[Copy], *, keep: bool) -> Iterator[Outcome]:
    """Remove the originals: together where the store shares the cost of that, else one by one."""
    going = []
    for copy in copies:
        if keep or (copy.put.name == copy.name and copy.target.url == source.url):  # it is the original
            yield copy, None
        else:
            going.append(copy)
    shares_cost = type(source).delete_many is not Store.delete_many
    for part in [going] if shares_cost and going else [[copy] for copy in going]:
        try:
            gone = set(source.delete_many({copy.name: copy.before.version for copy in part}))
            left = {copy.name for copy in part if copy.name not in gone and source.has(copy.name)}
        except OSError as error:
            yield from ((copy, error) for copy in part)
            continue
        yield from ((copy, _just_replaced(source, copy.name) if copy.name in left else None) for copy in part)
