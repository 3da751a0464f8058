"""What a store is: named bytes in one place, behind a few verbs.

Saving, numbering, finding and checking are written once on these verbs. A store of your own subclasses :class:`Store`,
defines the abstract methods, and is tried out with :func:`neuralib.persistence.testing.check_store`.
"""

from __future__ import annotations

import abc
import errno
import time
from collections.abc import Callable
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from neuralib.persistence import _core
from neuralib.persistence._errors import ContractError
from neuralib.persistence._messages import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import PurePath

    from typing_extensions import Buffer

    from neuralib.persistence._bytes.sources import Source


LEFTOVER_PREFIX = ".neuralib-draft-"
"""The start of names that are no results: unfinished files of killed writers, and claims of batches."""


MOST_DIGITS = 18
"""Of a number that counts as an auto-increment number, as the compiled ``_scan`` has it: so many always fit 64 bits."""


class Draft(Protocol):
    """Content on its way to a name: what a store's :meth:`Store.draft` returns, and its :meth:`Store.put` takes.

    Nobody sees it before it is put, and never a part of it.
    """

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def write(self, data: Buffer, /) -> object:
        """Add *data*, which must not change before the draft is put."""

    def reserve(self, size_bytes: int, /) -> object:
        """Prepare for *size_bytes* more bytes: a hint, for large values."""

    def discard(self) -> None:
        """Forget the draft. What was put stays. May be called more than once."""


Content = Any
"""What is put under a name: ``bytes``, or a :class:`Draft` of the same store."""

Replace = bool | Callable[["Source"], object]
"""Whether content may be put under a name that is taken: True, False, or a function that is given what is there, and
raises an error where that must stay."""


class Put(NamedTuple):
    """One of several puts: see :meth:`Store.put_many`."""

    name: str
    content: Content
    replace: Replace = False
    time_ns: int | None = None
    """Of a copy: when the content was last changed, in nanoseconds since 1970. Stores that keep no such time ignore it."""
    mode: int | None = None
    """Of a copy: the permissions of the original, a file. Stores that keep none ignore them."""


class Stat(NamedTuple):
    """What a store knows of a name without reading it."""

    size_bytes: int
    time_modified_s: float
    """Seconds since 1970."""
    version: object = None
    """Differs where the content was replaced since."""
    regular: bool = True
    """False for what is no stored content: a folder or a link that somebody put there."""
    time_created_s: float | None = None


class State:
    """A store's state at one time: see :meth:`Store.state`. Two states are compared by :meth:`is_unchanged`."""

    __slots__ = ()

    def is_unchanged(self, now: Any, /) -> bool:
        """Return whether no name came or went between this state and the later one *now*."""
        raise NotImplementedError

    def is_after(self, before: Any, new_names: int, /) -> bool:
        """Return whether since the earlier state *before* nothing happened but that this store put so many new names."""
        return False


class MemoryDraft:
    """A draft that is kept in memory."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, data: Buffer, /) -> None:
        """Add *data*."""
        # A pickler passes large arrays uncopied, in whatever order their memory has. A number is no data: bytes(3) is 3 zeros.
        part = (
            data if type(data) is bytes else bytes(data.raw() if isinstance(data, PickleBuffer) else memoryview(data))
        )
        self._parts.append(part)
        self.size += len(part)

    def reserve(self, size_bytes: int, /) -> None:
        """Nothing to prepare."""

    def content(self) -> bytes:
        """Return all that was written."""
        if len(self._parts) != 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def discard(self) -> None:
        """Forget the content."""
        self._parts.clear()


class LimitedDraft(MemoryDraft):
    """A draft in memory that is refused as soon as it is too large.

    :param refuse_large: raises an error where so many bytes are too many
    """

    __slots__ = ("_refuse_large",)

    def __init__(self, refuse_large: Callable[[int], object]) -> None:
        super().__init__()
        self._refuse_large = refuse_large

    def write(self, data: Buffer, /) -> None:
        """Add *data*."""
        super().write(data)
        self._refuse_large(self.size)

    def reserve(self, size_bytes: int, /) -> None:
        """Refuse what would be too large before it is copied."""
        self._refuse_large(self.size + size_bytes)


def data_of(content: Content) -> bytes:
    """Return the bytes of *content*, which are bytes or a draft in memory.

    :raises TypeError: it is something else
    """
    if isinstance(content, MemoryDraft):
        return content.content()
    if isinstance(content, bytes):
        return bytes(content)
    raise refused_content(content)


def refused_content(content: object) -> TypeError:
    """Return the error that *content* can't be put into a store."""
    kind = type(content).__qualname__
    return TypeError(f"a store takes bytes, or a draft that it made, as content, not {kind}: convert it to bytes")


FOLDERS = frozenset({"", ".", ".."})
"""What folders are called in themselves, and no file is."""


def problem_of_name(name: str) -> str | None:
    """Return why *name* is no name in any of our stores, since it would lead elsewhere; None where it does not."""
    if _core.is_plain_name(name) or not (name in FOLDERS or "/" in name or "\0" in name):
        return None
    return "it is a path, empty, or has a NUL character"


def refuse_name(store: Store, name: str, problem: str | None) -> None:
    """Raise an error that nothing can be put under *name*, unless there is no *problem* with it.

    :raises OSError: there is one
    """
    if problem is not None:
        advice = "change the value, or give the field a filename= function that returns a safe text"
        problem = f"the store takes no such name, since {problem}: {advice}"
        raise OSError(errno.EINVAL, problem, store.location(name))


class Store(abc.ABC):
    """Named bytes in one place.

    A name is a text without ``/`` and NUL characters, and not empty, ``.`` or ``..``; content is there whole or not at all.
    Another name, or one with characters that the store can't keep, is refused by :meth:`put`, and for all other methods there is
    nothing under it. The name of a result does not begin with ``.``. Names that do are the library's own, such as claims of
    batches, and readers skip them.
    """

    url: str
    """Where it is, for messages: a path, or a URL."""

    process_local: bool = False
    """Whether other processes that get a copy of the store have other content than this one."""

    survives_fork: bool = True
    """Whether a process that was forked from one that has used the store can use it too."""

    # ------------------------------------------------------------------------------------------ what each store defines

    @abc.abstractmethod
    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        """Store *content* under *name*, whole or not at all; of any number of writers of a new name exactly one wins.

        :param content: ``bytes``, or what :meth:`draft` returned
        :param replace: see :data:`Replace`
        :param durable: return only when the content would survive a loss of power
        :raises FileExistsError: the name is taken, and *replace* is False
        :raises OSError: it can't be stored, or not under this name; what was there is as it was
        """

    @abc.abstractmethod
    def open(self, name: str, /) -> Source:
        """Return the content of *name*, to be closed after use.

        :raises FileNotFoundError: there is no such name
        """

    @abc.abstractmethod
    def names(self, prefix: str = "", /) -> Iterable[str]:
        """Return the names that begin with *prefix*, in any order; none where the place does not exist yet."""

    @abc.abstractmethod
    def stat(self, name: str, /) -> Stat:
        """Return what is known of *name* without reading it.

        :raises FileNotFoundError: there is no such name
        """

    @abc.abstractmethod
    def delete(self, name: str, /) -> None:
        """Remove *name*.

        :raises FileNotFoundError: there is no such name
        """

    # ------------------------------------------------------------------------------------------ what it may do better

    def delete_many(self, versions: Mapping[str, object], /) -> list[str]:
        """Remove names whose content was not replaced since it was looked at, and return those that were removed.

        A store that can share the cost of many does so here.

        :param versions: by name, the :attr:`Stat.version` that it had
        """
        return [name for name, version in versions.items() if is_deleted(self, name, version)]

    def open_to_map(self, name: str, /) -> Source:
        """Return the content of *name*, as :meth:`open` does; where it is a local file, so that it can be mapped.

        :raises FileNotFoundError: there is no such name
        """
        return self.open(name)

    def reading(self, names: Iterable[str], /) -> Store:
        """Return a store that opens *names* with less work, where they are asked for in this order, or nearly so.

        A store that can read several at a time does so here. What is opened may be some moments old.
        """
        return self

    def draft(self) -> Any:
        """Return a new draft, which :meth:`put` takes. Large results are written into one piece by piece."""
        return MemoryDraft()

    shares_puts: bool = False
    """Whether :meth:`put_many` shares the cost of many puts even where they are not durable."""

    in_flight: int = 1
    """How many threads read at a time where many results are loaded, unless the handler has more."""

    def weight(self, name: str, /) -> int:
        """Return how much memory reading *name* takes, in bytes, so that fewer are read at a time; 0 for little."""
        return 0

    def put_many(
        self, puts: Sequence[Put], outcomes: list[Exception | None] | None = None, /, *, durable: bool = False
    ) -> list[Exception | None]:
        """Store several contents in order, and return for each None, or the error that its name is taken.

        A store that can share the cost of many does so here: a wait for the disk, a transaction, many requests at a time.

        :param outcomes: a list to be filled as puts succeed, which tells how far it came where an error ends it: None for
            each that was stored, and an error for one that was not: an :class:`InterruptedError` if it was not tried
        :raises Exception: any error but that a name is taken by others
        """
        outcomes = [] if outcomes is None else outcomes
        for put in puts:
            try:
                self.put(put.name, put.content, replace=put.replace, durable=durable)
            except FileExistsError as error:
                if put.replace:
                    raise
                outcomes.append(error)
            else:
                outcomes.append(None)
        return outcomes

    def put_if(self, name: str, content: Content, expected: Any, /, *, durable: bool = False) -> Any:
        """Store *content* under the new name *name*, unless the store is no longer in the state *expected*.

        :param expected: what :meth:`state` or this method returned, or None for any state
        :return: the state right after; None where the store can't tell, or others changed it meanwhile; :data:`CHANGED` where it is not as expected, and
            nothing was stored
        :raises FileExistsError: the name is taken
        """
        if expected is not None:
            now = self.state()
            if now is None or not expected.is_unchanged(now):
                return CHANGED
        self.put(name, content, durable=durable)
        return self.state()

    def state(self) -> Any:
        """Return a :class:`State` that tells whether names came or went since; None where that can't be told cheaply.

        Numbers are given without looking for those of others while the state stays the same. Where there is no state, the
        highest number is found once, and then remembered.
        """
        return None

    def highest(self, head: str, tail: str, /) -> int:
        """Return the highest *n* for which there is a name ``head + str(n) + tail``, or -1. Nothing is opened.

        Numbers of more than 18 digits don't count.
        """
        return highest_in(listed(self, head), head, tail)

    def highest_among(self, head: str, tails: tuple[str, ...], /) -> int:
        """Return the highest *n* for which there is a name ``head + str(n)`` and one of *tails*, or -1."""
        if type(self).highest is not Store.highest:
            found: list[Any] = [self.highest(head, tail) for tail in tails]
            for number in found:
                if not isinstance(number, int):
                    raise ContractError(type(self).__qualname__, "highest", "an int", shown(number))
            return int(max(found))
        names = listed(self, head)
        return max(highest_in(names, head, tail) for tail in tails)

    def packed_names(self, prefix: str = "", /) -> list[str] | list[bytes]:
        """Return the names that begin with *prefix*, hidden ones excluded.

        A store that has many names in one piece returns such pieces: UTF-8 with slashes between the names.
        """
        return listed(self, prefix)

    def stats(self, prefix: str = "", /) -> Iterable[tuple[str, Stat]]:
        """Return the names that begin with *prefix*, each with what is known of it without reading it."""
        for name in listed(self, prefix):
            try:
                yield name, self.stat(name)
            except FileNotFoundError:  # deleted meanwhile
                continue

    def has(self, name: str, /) -> bool:
        """Return whether there is something under *name*."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def which(self, names: Iterable[str], /) -> list[str]:
        """Return those of *names* that are there, in their order."""
        return [name for name in names if self.has(name)]

    def location(self, name: str, /) -> str:
        """Return where *name* is, for messages: its path or URL."""
        return f"{self.url.rstrip('/')}/{name}"

    def path(self, name: str, /) -> PurePath:
        """Return the path of *name*: of a file where there is one, else the name alone."""
        from pathlib import PurePosixPath

        return PurePosixPath(name)

    def local_folder(self) -> str | None:
        """Return the folder whose files the names are, or None: then what needs a local file is refused."""
        return None

    def sync(self, names: Iterable[str], /) -> None:  # noqa: B027 - what is put may be durable at once
        """Make what was put under *names* without ``durable`` survive a loss of power."""

    def sweep(self, older_than_s: float = 0.0, /) -> list[str]:
        """Remove what killed writers left behind, and return its names.

        :param older_than_s: leave what was changed less than this many seconds ago: its writer may be alive
        """
        swept = []
        for name in list(self.names(LEFTOVER_PREFIX)):
            try:
                if time.time() - self.stat(name).time_modified_s >= older_than_s:
                    self.delete(name)
                    swept.append(name)
            except FileNotFoundError:
                pass  # somebody else swept it
        return swept

    def hold(self) -> None:  # noqa: B027 - a hint
        """Prepare for many puts in a row."""

    def release(self) -> None:  # noqa: B027 - a hint
        """Give up what :meth:`hold` prepared."""

    def group_size(self) -> int:
        """Return how many drafts may be written at a time."""
        return 500


def is_deleted(store: Store, name: str, version: object) -> bool:
    """Remove *name* from *store*, unless it is gone, or its content has another version by now; return whether it was removed."""
    try:
        if store.stat(name).version != version:
            return False
        store.delete(name)
    except FileNotFoundError:
        return False
    return True


def highest_in(names: Iterable[str], head: str, tail: str) -> int:
    """Return the highest number between *head* and *tail* in *names*, as ``str(int)`` writes it, or -1."""
    highest = -1
    for name in names:
        if 0 < len(name) - len(head) - len(tail) <= MOST_DIGITS and name.startswith(head) and name.endswith(tail):
            text = name[len(head) : len(name) - len(tail)]
            if text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0"):
                highest = max(highest, int(text))
    return highest


def listed(store: Store, prefix: str = "") -> list[str]:
    """Return the names in *store* that begin with *prefix*, hidden ones excluded.

    :raises ContractError: they are no texts
    """
    names: Any = store.names(prefix)
    if not hasattr(names, "__iter__"):
        raise ContractError(type(store).__qualname__, "names", "an iterable of names", shown(names))
    names = names if type(names) is list else list(names)
    if store.local_folder() is not None:  # ours: of texts, and without hidden ones
        return names  # type: ignore[no-any-return]
    if not set(map(type, names)) <= {str}:
        others = [name for name in names if not isinstance(name, str)]
        if others:
            raise ContractError(type(store).__qualname__, "names", "texts", shown(others[0]))
        names = [str(name) for name in names]  # of classes derived from str
    return names if prefix else [name for name in names if not name.startswith(".")]


def stat_of(store: Store, name: str) -> Stat:
    """Return what *store* knows of *name*.

    :raises ContractError: it is no :class:`Stat`
    :raises FileNotFoundError: there is no such name
    """
    found: Any = store.stat(name)
    if not isinstance(found, Stat):
        raise ContractError(type(store).__qualname__, "stat", "a Stat", shown(found))
    return found


CHANGED: Any = object()
"""What :meth:`Store.put_if` returns where the store is not in the expected state."""
