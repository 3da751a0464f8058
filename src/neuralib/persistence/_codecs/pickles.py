"""Results as pickles, plain and compressed. Each of these codecs reads the files of all."""

from __future__ import annotations

import copy
import io
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from neuralib.persistence import _pickling
from neuralib.persistence._bytes import holes
from neuralib.persistence._bytes.checksums import checksum
from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._codecs import framed_content, framed_reader, frames
from neuralib.persistence._codecs.arrays import numpy_is_known, reducers
from neuralib.persistence._codecs.base import Codec, Decoded, Head
from neuralib.persistence._codecs.card import Card, parse_card, with_packages
from neuralib.persistence._codecs.compression import (
    CompressingSink,
    Compression,
    ContentFile,
    content_parts,
    decompressed,
    last_part,
    pieces_of,
)
from neuralib.persistence._codecs.gzipped import GZIP
from neuralib.persistence._codecs.unloadable import ARRAY_IN_VALUE, DAMAGE, refuse_missing
from neuralib.persistence._codecs.zstd import ZSTD
from neuralib.persistence._trust.allowance import largest_content
from neuralib.persistence._trust.outline import outline
from neuralib.persistence._trust.stand_ins import ObjectHead

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import Self

    from typing_extensions import Buffer

    from neuralib.persistence._bytes.sources import Sink, Source
    from neuralib.persistence._codecs.base import Unpickle

_NO_CARD = framed_content.OwnCard.of(Card("", "", "", "-", (), {}))
_SMALL_BYTES = 1 << 20  # a smaller content is read at once
_MOST_AT_ONCE = 1 << 19  # bytes of a compressed content that are looked at as a whole
_COMPRESSIONS: tuple[Compression, ...] = (GZIP, ZSTD)
_COMPRESSED_STARTS = b"".join(known.magic[:1] for known in _COMPRESSIONS)


def compression_of(start: bytes) -> Compression | None:
    """Return the compression of a file that begins with *start*; None where it has none that is known."""
    return next((known for known in _COMPRESSIONS if start.startswith(known.magic)), None)


class PickleCodec(Codec):
    """Plain pickles of the dict of fields, with a card and checksums after them.

    Field types: all Python objects.
    """

    suffix = ".pkl"
    read_suffixes: ClassVar[tuple[str, ...]] = (".pkl", ".pkl.gz", ".pkl.zst")
    maps_arrays: ClassVar[bool] = True

    def __init__(self) -> None:
        self._own = _NO_CARD

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def for_class(self, card: Card) -> Self:
        """Return a copy that writes *card* into each file."""
        cls = type(self)
        # To copy takes longer, and a plain one has nothing else to copy.
        twin = cls() if cls is PickleCodec else copy.copy(self)
        twin._own = framed_content.own_card(card)
        return twin

    # ------------------------------------------------------------------------------------------ writing

    def encode(self, fields: Mapping[str, Any], target: Sink, /) -> None:
        """Write *fields* to *target*."""
        writer = self._writer(target)
        chunks = _pickling.FirstChunk(0, lambda: writer, reducers)  # which passes on all
        _dump(fields, chunks)
        self._finish(writer, self._card_with(chunks.packages))

    def content(self, fields: dict[str, Any], new_draft: Callable[[], Any]) -> Any:
        """Return *fields* as ``bytes`` where they are few, else as a draft."""
        target = _pickling.FirstChunk(frames.AT_ONCE, partial(self._begun, new_draft), reducers)
        try:
            _dump(fields, target)
            if target.first is not None:
                return self._small_file(target.first, self._own.data)
            card = self._card_with(target.packages)
            if target.noted is not None:
                return self._small_file(target.noted, card)
            self._finish(target.rest, card)
        except BaseException:
            if target.rest is not None:
                target.rest.draft.discard()
            raise
        return target.rest.draft

    def _begun(self, new_draft: Callable[[], Any]) -> _pickling.PickleWriter:
        """Return what writes to a new draft, which is its attribute."""
        draft = new_draft()
        writer = self._writer(draft)
        writer.draft = draft
        return writer

    def _writer(self, target: Sink) -> _pickling.PickleWriter:
        return frames.writer_to(target)

    def _finish(self, writer: _pickling.PickleWriter, card: bytes) -> None:
        frames.finish(writer, card)

    def _small_file(self, pickled: bytes, card: bytes) -> bytes:
        return frames.small_file(pickled, card)

    def _card_with(self, packages: dict[str, str] | None) -> bytes:
        """Return the card with the versions of *packages*, if there are some."""
        return with_packages(self._own.data, tuple(sorted(packages.items()))) if packages else self._own.data

    # ------------------------------------------------------------------------------------------ reading

    def decode(self, source: Source, /, *, trust: Unpickle | None = None, mmap_mode: str | None = None) -> Any:
        """Return the dict of fields in *source*."""
        return self.load(source, trust, mmap_mode)[0]

    def load(self, source: Source, trust: Unpickle | None = None, mmap_mode: str | None = None) -> Decoded:
        """Return what *source* holds, and its card."""
        size = source.size
        if size < _SMALL_BYTES:
            data: Any = source.view()
            if trust is None and (found := framed_content.load_sealed(data, self._own)) is not None:
                return found
            if data[:1] in _COMPRESSED_STARTS and (compression := compression_of(bytes(data[:4]))) is not None:
                return self._load_compressed(compression, source, trust)
            if mmap_mode is None or size < frames.AT_ONCE:
                return framed_content.load_bytes(data, self._own, trust)
        elif (compression := compression_of(source.read_at(4, 0))) is not None:
            return self._load_compressed(compression, source, trust)
        if trust is not None and size > holes.MOST_BYTES:
            holes.refuse(source)
        unpickle = framed_content.unpickled if trust is None else trust
        if mmap_mode is not None:
            return framed_reader.map_source(source, mmap_mode, unpickle)
        return framed_reader.read_source(source, unpickle)

    def _load_compressed(self, compression: Compression, source: Source, trust: Unpickle | None) -> Decoded:
        size = source.size
        content = decompressed(compression, source, None if trust is None else largest_content(size))
        # A pickle in gzip without a card has a checksum too.
        whole = trust is None and compression is GZIP and content[:1] == b"\x80" and content[-1:] == b"."
        unpickle = None if trust is None else partial(trust, compressed_bytes=size)
        return framed_content.load_bytes(content, self._own, unpickle, whole=whole)

    def has_same_keys(self, source: Source, content: bytes) -> bool:
        """Return whether *source*, a small file, has the card of *content*, and holds the same up to the last key in the name.

        Their bytes are compared. So nothing is unpickled, and what looks different may still be the same: data fields before
        a key, or equal values of other types.
        """
        if source.size >= frames.AT_ONCE:
            return False
        try:
            data, content = _decompressed_small(source.read()), _decompressed_small(content)
        except (ValueError, EOFError):
            return False  # it is damaged or large: reading its head says so
        return _pickling.begins_alike(data, content, self._own.leading, checksum)

    def check(self, source: Source, /) -> bool:
        """Read *source* to its end; return whether a checksum says that it is what was saved."""
        return self._checked(source, None)

    def verify(self, source: Source, trust: Unpickle | None) -> bool:
        """Check *source*, piece by piece: however large its content is where it is trusted.

        :raises UnloadableResultError: it is whole, and its card names packages that are not installed here
        """
        found = self._checked(source, trust)
        packages = self.packages(source)
        if packages:
            refuse_missing(packages)
        return found

    def packages(self, source: Source) -> dict[str, str]:
        """Return the versions of packages that the card of the whole *source* notes; none where it has no card."""
        if compression_of(source.read_at(4, 0)) is None:
            tail = framed_reader.read_tail(source)
            return {} if tail is None else tail.card.packages
        try:
            card = self.head(source, ()).card
        except (*DAMAGE, NoFieldsError):  # of another program
            return {}
        return {} if card is None else card.packages

    def _checked(self, source: Source, trust: Unpickle | None) -> bool:
        compression = compression_of(source.read_at(4, 0))
        if compression is None:
            return framed_reader.check_source(source)
        most = None if trust is None else largest_content(source.size)
        framed_content.check_content(content_parts(compression, pieces_of(source), most))
        return True

    def head(self, source: Source, names: Collection[str] | None = None, /) -> Head:
        """Return the fields *names*, or all, without trust and without large arrays."""
        wanted = None if names is None else frozenset(names)
        if source.size == 0:
            raise EOFError("it is empty")
        compression = compression_of(source.read_at(4, 0))
        if compression is not None:
            return _compressed_head(compression, source, wanted)
        if source.size < frames.AT_ONCE:
            data = source.read()
            card = framed_content.checked_card(data, self._own)
            return _head_of(data, (), wanted, card)
        framed = framed_reader.outline_of(source)
        if framed is not None:
            structure, sizes, card = framed
            return _head_of(structure, sizes, wanted, card)
        with source.file() as file:
            return _head_of(file, (), wanted, None)


class CompressedCodec(PickleCodec):
    """Pickles that are compressed: the bytes of the plain files.

    :param compression: the way
    :param level: None for a level that suits recordings, and the fastest for small results
    :param levels: those that there are
    :raises ValueError: *level* is none of them
    """

    maps_arrays: ClassVar[bool] = False

    def __init__(self, compression: Compression, level: int | None, levels: range) -> None:
        super().__init__()
        if level is not None and (type(level) is not int or level not in levels):
            raise ValueError(
                f"{type(self).__name__}: compression must be an int from {levels[0]} to {levels[-1]}, or None, "
                f"not {level!r}"
            )
        self._compression = compression
        self.level = level

    def __repr__(self) -> str:
        return f"{type(self).__name__}(compression={self.level!r})"

    def _writer(self, target: Sink) -> _pickling.PickleWriter:
        level = self._compression.level if self.level is None else self.level
        return frames.writer_to(CompressingSink(self._compression, level, target))

    def _finish(self, writer: _pickling.PickleWriter, card: bytes) -> None:
        frames.finish(writer, card, writer.target.finish)  # card and end are a part of their own

    def _small_file(self, pickled: bytes, card: bytes) -> bytes:
        return self._compression.compress_small(frames.small_file(pickled, card), self.level)


class GzipCodec(CompressedCodec):
    """Pickles in gzip, which ``gunzip`` turns into plain pickle files.

    :param compression: level from 0 (none) to 9 (smallest); None is 6, and the fastest for small results
    :raises ValueError: *compression* is no level
    """

    suffix = ".pkl.gz"

    def __init__(self, compression: int | None = None) -> None:
        super().__init__(GZIP, compression, range(10))


class ZstdCodec(CompressedCodec):
    """Pickles in Zstandard, which ``unzstd`` turns into plain pickle files.

    :param compression: level from 1 (fastest) to 22 (smallest); None is 3, and the fastest for small results
    :raises ValueError: *compression* is no level
    """

    suffix = ".pkl.zst"

    def __init__(self, compression: int | None = None) -> None:
        super().__init__(ZSTD, compression, range(1, 23))


def _dump(fields: Mapping[str, Any], target: _pickling.FirstChunk) -> None:
    try:
        if not reducers:
            numpy_is_known()
        target.dump(fields)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        for name, value in fields.items():
            try:
                _pickling.FirstChunk(0, _Nowhere, reducers).dump(value)
            except Exception:
                error.add_note(f"the field {name}, a {type(value).__qualname__}, can't be pickled; nothing was saved")
        raise


class _Nowhere:
    """What a pickler writes to, to see whether it can."""

    def write(self, data: Buffer, /) -> None:
        pass


# ---------------------------------------------------------------------------------------------- heads


def _decompressed_small(data: bytes) -> bytes:
    """Return the small content *data*, decompressed where it is compressed.

    :raises ValueError: it is damaged or large, and so is :class:`EOFError`
    """
    if data[:1] not in _COMPRESSED_STARTS or (compression := compression_of(data[:4])) is None:
        return data
    return decompressed(compression, BytesSource(data), frames.AT_ONCE)


def _compressed_head(compression: Compression, source: Source, wanted: frozenset[str] | None) -> Head:
    parts = content_parts(compression, pieces_of(source), largest_content(source.size))
    if source.size < frames.AT_ONCE:
        begun = list(_first(parts, _MOST_AT_ONCE))
        if sum(map(len, begun)) < _MOST_AT_ONCE:
            content = b"".join(begun)
            return _head_of(content, (), wanted, framed_content.checked_card(content))._replace(compressed=True)
        parts = itertools.chain(begun, parts)  # it is much larger than its file
    card = last_part(compression, source, _card_alone)
    with io.BufferedReader(ContentFile(parts)) as file:
        return _head_of(file, (), wanted, card)._replace(compressed=True)


def _first(parts: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield *parts* until they have *size* bytes."""
    while size > 0 and (part := next(parts, b"")):
        size -= len(part)
        yield part


def _card_alone(content: bytes) -> Card:
    """Return the card that *content*, the last part of a large compressed file, is together with the end.

    :raises ValueError: it is something else
    """
    pickle_bytes, card_bytes = frames.lengths_of(content)
    if card_bytes + frames.END_BYTES != len(content):
        raise ValueError("it is no card alone")
    return parse_card(content[:card_bytes], pickle_bytes)


def _head_of(tape: Any, sizes: Iterable[int], wanted: frozenset[str] | None, card: Card | None) -> Head:
    """Return the fields of the pickle on *tape*.

    :raises NoFieldsError: it holds no dict of fields, and no result
    """
    unused = iter(sizes)
    root, fields, complete = outline(tape, unused, wanted)
    if complete and next(unused, None) is not None:
        raise ValueError(ARRAY_IN_VALUE)
    type_name: str | None = None
    if isinstance(root, ObjectHead) and root.arguments is not None:
        fields, type_name = (root.fields if complete else fields), root.type_name
    elif not isinstance(root, dict):
        raise NoFieldsError(f"a {type(root).__qualname__}" if not isinstance(root, ObjectHead) else repr(root))
    elif complete:
        if not all(type(name) is str for name in root):
            raise NoFieldsError("a dict whose keys are no names of fields")
        fields = root
    if wanted is not None:
        fields = {name: value for name, value in fields.items() if name in wanted}
    return Head(fields, card, type_name, complete=complete)


class NoFieldsError(Exception):
    """A pickle holds something else than fields. Its argument says what."""


def announces_too_much(source: Source) -> bool:
    """Return whether the plain pickle *source* has a length in it that goes beyond its end."""
    if source.read_at(1, 0) != b"\x80":
        return False  # compressed, which has a checksum, or another format
    try:
        return framed_reader.pickle_bytes(source) > source.size
    except (ValueError, EOFError):
        return True
