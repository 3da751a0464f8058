"""An object store of a cloud as a store: S3, Google Cloud Storage, Azure, R2, MinIO, by obstore."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from neuralib.persistence._errors import UnconditionalStoreError
from neuralib.persistence._stores.attempts import (
    Attempts,
    as_os_error,
    is_range_refusal,
    is_refusal,
    may_pass,
)
from neuralib.persistence._stores.base import (
    Content,
    LimitedDraft,
    Put,
    Replace,
    Stat,
    Store,
    data_of,
    is_deleted,
    problem_of_name,
    refuse_name,
)
from neuralib.persistence._stores.bucket import Bucket
from neuralib.persistence._stores.object_source import MOST_AHEAD, ObjectSource
from neuralib.persistence._tasks import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Self

    from neuralib.persistence._bytes.sources import Source

R = TypeVar("R")

_FIRST_READ_BYTES = 1 << 17  # a smaller object is read by one request; of a larger one, its end
_PAGE_NAMES = 1000
_WRITER = "writer"  # the name of the metadata, which Azure admits no hyphens in
_LARGE_BYTES = 1 << 20  # from here on, the size counts for how many are read at a time
_MOST_LARGE = 1 << 20  # names whose size is remembered
_MOST_LISTED_BYTES = 1 << 30  # of names in one listing, which are kept: some ten million names
_LONGEST_NAME = 1 << 12  # characters: four times what servers take, and what still fits into a request
_NAME_BYTES = 64  # that a name takes beside its characters


class ObjectStore(Store):
    """The objects of one bucket, or those below a prefix in it. Needs the extra ``cloud``.

    A save is one request. Names below further slashes belong to others, and are left alone. Threads may share a store.

    Each object has a random text in its metadata, by which a writer whose answer got lost finds out whether it won.

    >>> store = ObjectStore("s3://bucket/prefix", region="eu-central-1")  # doctest: +SKIP

    :param place: a URL (``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``), or one of obstore's stores
    :param in_flight: how many requests are made at a time where many results are saved or loaded
    :param options: of ``obstore.store.from_url``: ``region``, ``endpoint``, ``client_options``, ``retry_config``,
        ``credential_provider``. Credentials are best left to the environment, where obstore finds them. With one of obstore's
        stores, ``retry_config`` alone
    :raises ImportError: obstore is not installed
    :raises ValueError: the URL is none of an object store, or contains credentials; an option is not known
    """

    shares_puts = True
    survives_fork = False

    def __init__(self, place: Any, *, in_flight: int = 32, **options: Any) -> None:
        if type(in_flight) is not int or in_flight < 1:
            raise ValueError(f"ObjectStore: in_flight must be an int of at least 1, not {in_flight!r}")
        self._bucket = Bucket(place, options)
        self.url, self.in_flight = self._bucket.url, in_flight
        self._large: dict[str, int] = {}  # by name: the size of what was large when it was listed last

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def __getstate__(self) -> tuple[Any, int, dict[str, Any]]:
        place, options = self._bucket.to_pickle()
        return place, self.in_flight, options

    def __setstate__(self, state: tuple[Any, int, dict[str, Any]]) -> None:
        place, in_flight, options = state
        ObjectStore.__init__(self, place, in_flight=in_flight, **options)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _request(self, doing: str, name: str, request: Callable[[], R]) -> R:
        """Return what *request* returns, which may be sent twice."""
        return self._bucket.request(doing, self.location(name), request)

    # ------------------------------------------------------------------------------------------ writing

    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        """Store *content* under *name*, by one request where the name is new.

        What is replaced is compared by its ETag, with Google by its generation. Where an answer is lost, what is there tells who won.

        :raises UnconditionalStoreError: the server does not keep conditions, and *replace* is not True
        """
        refuse_name(self, name, problem_of_name(name))
        data = data_of(content)
        self._refuse_large(self.location(name), len(data))
        if "\\" in name and self._bucket.is_azure:
            problem = "Azure turns a backslash in a name into a slash: @persistence_class(portable=True) encodes it"
            raise OSError(errno.EINVAL, problem, self.location(name))
        if replace is True:
            client = self._bucket.client_for(len(data))
            self._request("saving", name, lambda: client.put(name, data, use_multipart=False))
        else:
            self._bucket.require("create")
            self._put_unless_taken(name, data, replace)

    def draft(self) -> LimitedDraft:
        """Return a new draft, in memory."""
        return LimitedDraft(partial(self._refuse_large, self.url))

    def _refuse_large(self, place: str, size_bytes: int) -> None:
        """Raise an error where one request can't have so many bytes: of several, no server tells who was first."""
        if size_bytes > self._bucket.most_bytes:
            problem = (
                f"the result has {size_bytes:,} bytes, and this server takes {self._bucket.most_bytes:,} in one request: "
                f"keep it in a folder, or split it into several results"
            )
            raise OSError(errno.EFBIG, problem, place)

    def _put_unless_taken(self, name: str, data: bytes, replace: Replace) -> None:
        client = self._bucket.client_for(len(data))
        attempts = self._bucket.attempts()
        writer = {_WRITER: os.urandom(12).hex()}
        version: dict[str, str] | None = None  # of what is to be replaced
        was_admitted = False  # what was to be replaced
        while True:
            mode: Any = "create" if version is None else version
            try:
                client.put(name, data, mode=mode, attributes=writer, use_multipart=False)
                return
            except Exception as error:
                problem = error
            is_refused = is_refusal(problem)
            if not is_refused and not may_pass(problem):
                raise self._explained(problem, name, attempts) from None
            # What is there tells who has won: an answer can be lost, or be that to the same request sent a second time.
            there = self._found(name, whole=bool(replace))
            if there is not None and there.writer == writer[_WRITER]:
                return
            if there is not None and not callable(replace):
                raise FileExistsError(errno.EEXIST, "there is a result already", self.location(name))
            # The first refusal asks for a look at what is there. A server may refuse for ever.
            if (there is None or was_admitted or not is_refused) and not attempts.pause():
                raise self._explained(problem, name, attempts) from None
            version = None
            if there is not None and callable(replace):
                was_admitted = True
                version = self._admitted(there, replace)

    def _explained(self, error: Exception, name: str, attempts: Attempts) -> Exception:
        return as_os_error(error, "saving", self.location(name), attempts.text())

    def _admitted(self, there: ObjectSource, replace: Callable[[Source], object]) -> dict[str, str] | None:
        """Return the version of *there*, which *replace* admits; None where it was replaced while it was looked at."""
        self._bucket.require("replace")
        if there.version is None:
            raise UnconditionalStoreError(self.url, "it gives no ETag, by which a put names what it replaces")
        try:
            replace(there)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            return None
        return there.version

    def _found(self, name: str, *, whole: bool) -> ObjectSource | None:
        """Return what is under *name*, or None. Unless *whole*, its content is not read."""
        try:
            if whole:
                return self.open(name)
            client = self._bucket.client_for(0)
            found = self._request("saving", name, lambda: client.get(name, options={"head": True}))
        except FileNotFoundError:
            return None
        meta = found.meta
        return ObjectSource(meta["size"], b"", 0, _no_fetch, _version_of(meta), found.attributes.get(_WRITER))

    def put_many(
        self, puts: Sequence[Put], outcomes: list[Exception | None] | None = None, /, *, durable: bool = False
    ) -> list[Exception | None]:
        """Store several contents, many at a time; those of one name in order.

        After an error, or Ctrl-C, those that are under way are waited for, and no others begin.
        """
        outcomes = [] if outcomes is None else outcomes
        failures: list[Exception] = []
        found: dict[str, Exception | None] = {}  # the outcomes of one part, by name

        def put_one(put: Put) -> None:
            if failures:
                return
            try:
                self.put(put.name, put.content, replace=put.replace)
                found[put.name] = None
            except Exception as error:
                found[put.name] = error
                if put.replace or not isinstance(error, FileExistsError):
                    failures.append(error)

        for part in _without_repeated_names(puts):
            found.clear()
            try:
                for put, wait_for in read_ahead(self.in_flight, put_one, part):
                    wait_for(put)
            finally:  # by now, no thread is at work: the iterator has ended
                not_tried = InterruptedError("not tried, since another put failed")
                outcomes.extend(found.get(put.name, not_tried) for put in part)
            if failures:
                raise failures[0]
        return outcomes

    def delete(self, name: str, /) -> None:
        """Remove *name*. Of several that do so at once, more than one may succeed."""
        self.stat(name)  # S3 says yes to a name that is not there
        client = self._bucket.client_for(0)
        with suppress(FileNotFoundError):  # of this request perhaps, if it was sent again: it was there
            self._request("deleting", name, lambda: client.delete(name))

    def delete_many(self, versions: Mapping[str, object], /) -> list[str]:
        """Remove names whose content was not replaced since it was looked at, many at a time; return those removed."""
        removing = read_ahead(self.in_flight, lambda name: is_deleted(self, name, versions[name]), versions)
        return [name for name, is_gone in removing if is_gone(name)]

    # ------------------------------------------------------------------------------------------ reading

    def open(self, name: str, /) -> ObjectSource:
        """Return the content of *name*: read by one request where it is small; of what is large, the end."""
        self._refuse_absent(name)
        client = self._bucket.client_for(0)
        wanted = (0, _FIRST_READ_BYTES) if self._bucket.is_azure else {"suffix": _FIRST_READ_BYTES}

        def first() -> tuple[Any, bytes]:
            try:
                found = client.get(name, options={"range": wanted})
            except Exception as error:
                if not is_range_refusal(error):
                    raise
                found = client.get(name)  # of nothing, there is no range
            return found, _body(found, _FIRST_READ_BYTES)

        found, data = self._request("reading", name, first)
        meta = found.meta
        size: int = meta["size"]
        tag: str | None = meta["e_tag"]

        def fetch(begin: int, end: int) -> bytes:
            options: dict[str, Any] = {"range": (begin, end)}
            if tag is not None:
                options["if_match"] = tag

            def part() -> tuple[Any, bytes]:
                found = client.get(name, options=options)
                return found.meta, _body(found, end - begin)

            now, data = self._request("reading", name, part)
            if now["e_tag"] != tag or now["size"] != size:  # a server may not know If-Match, or have no ETags
                raise OSError(errno.ESTALE, "it was replaced meanwhile, while reading", self.location(name))
            if len(data) != end - begin:
                raise EOFError("it ends too early")
            return data

        return ObjectSource(size, data, found.range[0], fetch, _version_of(meta), found.attributes.get(_WRITER))

    def _refuse_absent(self, name: str) -> None:
        """Raise an error where nothing can have *name*: obstore would take a path for an object of others."""
        problem = problem_of_name(name)
        if problem is not None:
            raise FileNotFoundError(errno.ENOENT, f"an object can't have such a name: {problem}", self.location(name))

    def names(self, prefix: str = "", /) -> list[str]:
        """Return the names that begin with *prefix*, by one request for 1,000; hidden ones only if that begins with a dot."""
        return [name for name, _ in self.stats(prefix)]

    def stats(self, prefix: str = "", /) -> Iterator[tuple[str, Stat]]:
        """Yield the :meth:`names` that begin with *prefix*, each once, and what is known of each.

        :raises OSError: the server fails, lists the same names again and again, or more than can be kept in memory
        """
        if "/" in prefix:
            return
        seen = listed_bytes = 0
        pages_seen: set[tuple[str, str]] = set()  # the first and last name of each
        names_seen: set[str] = set()
        # The server can tell names from a place on, but knows no prefixes that end within a part of a path.
        # It is not asked for ".", which obstore takes for no name.
        start = prefix[:-1].rstrip(".") if self._bucket.is_sorted and prefix.isprintable() else ""
        pages = self._bucket.client.list(offset=start or None, chunk_size=_PAGE_NAMES)
        large: dict[str, int] = {}
        while True:
            page = self._next_page(pages, seen)
            if not page:
                break
            seen += len(page)
            first, last = page[0]["path"], page[-1]["path"]
            listed_bytes += sum([len(meta["path"]) for meta in page]) + _NAME_BYTES * len(page)
            if (first, last) in pages_seen or listed_bytes > _MOST_LISTED_BYTES:
                raise self._endless(seen, circle=(first, last) in pages_seen)
            pages_seen.add((first, last))
            for meta in page:
                name: str = meta["path"]
                # A name that is empty is that of the prefix, for which some tools make an object.
                if (
                    len(name) <= _LONGEST_NAME
                    and name.startswith(prefix)
                    and "/" not in name
                    and (name[:1] not in {"", "."} or prefix)
                ):
                    if name in names_seen:
                        continue
                    names_seen.add(name)
                    if meta["size"] >= _LARGE_BYTES and len(large) < _MOST_LARGE:
                        large[name] = meta["size"]
                    yield name, _stat_of(meta)
            if self._bucket.is_sorted and last > prefix and not last.startswith(prefix):
                break
        # Those of other names may be read just now.
        others = {name: size for name, size in self._large.items() if not name.startswith(prefix)}
        self._large = large if len(others) + len(large) > _MOST_LARGE else {**others, **large}

    def _next_page(self, pages: Any, seen: int) -> Any:
        self._bucket.refuse_fork()
        try:
            return next(pages, None)
        except (
            Exception
        ) as error:  # obstore has tried it several times; asked again, it would say that the list has ended
            problem = as_os_error(error, f"listing the names, after {seen:,}", self.url)
        raise problem from None

    def _endless(self, seen: int, *, circle: bool) -> OSError:
        problem = (
            "the server lists the same names again and again" if circle else "there are more names than can be listed"
        )
        return OSError(errno.EIO, f"{problem}, while listing the names, after {seen:,}", self.url)

    def weight(self, name: str, /) -> int:
        """Return how much memory reading *name* takes where it was large when it was listed last, else 0."""
        size_bytes = self._large.get(name, 0)
        return size_bytes + 3 * min(size_bytes, MOST_AHEAD)  # parts that arrive, and what they are put together to

    def which(self, names: Iterable[str], /) -> list[str]:
        """Return those of *names* that are there, by a request for each, many at a time."""
        return [name for name, is_there in read_ahead(self.in_flight, self.has, names) if is_there(name)]

    def stat(self, name: str, /) -> Stat:
        """Return the size, time and ETag of *name*."""
        self._refuse_absent(name)
        client = self._bucket.client_for(0)
        return _stat_of(self._request("looking at a result", name, lambda: client.head(name)))


def _version_of(meta: Any) -> dict[str, str] | None:
    """Return what a put names that is to replace just this content; None where the server gives no ETag.

    Google compares the generation, which obstore calls the version; the other servers compare the ETag.
    """
    if meta["e_tag"] is None:
        return None
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}


def _stat_of(meta: Any) -> Stat:
    """Return what is known of an object. The version is the same from a listing and from a request for this object.

    Listings may have fractions of a second that the other answers lack, and ETags without quotation marks.
    """
    changed_s: float = meta["last_modified"].timestamp()
    return Stat(meta["size"], changed_s, ((meta["e_tag"] or "").strip('"'), changed_s // 1))


def _body(found: Any, most: int) -> bytes:
    """Return what comes in answer to a request for a range, up to *most* bytes: a server may send more than it says."""
    begin, end = found.range
    most = min(most, end - begin)
    parts: list[bytes] = []
    for part in found.stream(min_chunk_size=max(most, 1)):
        parts.append(bytes(part))
        most -= len(part)
        if most <= 0:
            break
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    return data if most >= 0 else data[:most]


def _no_fetch(_begin: int, _end: int) -> bytes:
    raise EOFError("it ends too early")


def _without_repeated_names(puts: Sequence[Put]) -> Iterator[list[Put]]:
    """Yield *puts* in order, in parts in which each name is once."""
    part: list[Put] = []
    names: set[str] = set()
    for put in puts:
        if put.name in names:
            yield part
            part, names = [], set()
        part.append(put)
        names.add(put.name)
    if part:
        yield part
