"""What a store holds, read in every way that it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuralib.persistence._bytes.sources import Source
from neuralib.persistence._contracts.subject import Subject

if TYPE_CHECKING:
    from neuralib.persistence._stores.base import Store


def content(subject: Subject, store: Store, name: str) -> bytes:
    """Return the content of *name*, read in every way that a source has."""
    source = subject.made(Source, "open", "a Source", lambda: store.open(name))
    reader = Subject(source)
    with source:
        size = subject.call("open", "a Source with a size", lambda: source.size)
        data = reader.made(bytes, "read", "the whole content, as bytes", source.read)
        reader.expect(size == len(data), "size", f"the number of bytes, {len(data)}", size)
        reader.expect(bytes(source.view()) == data, "view", "the whole content", source.view())
        reader.gives(data[1:4], "read_at", f"{data[1:4]!r} for read_at(3, 1)", lambda: source.read_at(3, 1))
        end = max(len(data) - 2, 0)
        reader.gives(
            data[-2:], "read_at", "the bytes up to the end, if there are fewer", lambda: source.read_at(8, end)
        )
        target = bytearray(len(data))
        reader.call("read_into", "a filled target", lambda: source.read_into([memoryview(target)], 0))
        reader.expect(bytes(target) == data, "read_into", "the content in the target", bytes(target))
        with reader.call("file", "the content as an open file", source.file) as file:
            reader.expect(file.read() == data, "file", "a file of the whole content", "other bytes")
    return data


def listed(subject: Subject, store: Store, prefix: str = "") -> list[str]:
    """Return the names that begin with *prefix*."""
    found = subject.call("names", "an iterable of names", lambda: list(store.names(prefix)))
    for name in found:
        subject.expect(isinstance(name, str), "names", "texts", name)
        subject.expect(name.startswith(prefix), "names", f"only names that begin with {prefix!r}", name)
    subject.expect(len(set(found)) == len(found), "names", "each name once", found)
    return found  # type: ignore[no-any-return]


def expect_content(subject: Subject, store: Store, name: str, wanted: bytes, verb: str) -> None:
    """Raise an error, which blames *verb*, unless *name* holds the bytes *wanted*."""
    if name not in listed(subject, store):
        raise subject.broken(verb, f"{name!r} to be stored", "no such name from names()")
    found = content(subject, store, name)
    if found != wanted:
        # Which verb is at fault can't be told from outside: the one that stored, or the one that read.
        raise subject.broken(
            verb, f"{len(wanted)} bytes stored as they were, for open to return", f"{len(found)} other bytes"
        )
