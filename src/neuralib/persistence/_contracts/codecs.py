"""The contract of a codec."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._codecs.base import Codec, Head
from neuralib.persistence._codecs.card import card_of
from neuralib.persistence._codecs.pickles import NoFieldsError, PickleCodec
from neuralib.persistence._codecs.unloadable import DAMAGE
from neuralib.persistence._contracts.handling import Pair, Run, check_pairs, check_runs
from neuralib.persistence._contracts.subject import Subject
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import ContractError
from neuralib.persistence._handlers.files import FileHandler
from neuralib.persistence._messages import shown
from neuralib.persistence._stores.base import MemoryDraft, Store
from neuralib.persistence._stores.files import open_unread
from neuralib.persistence._stores.folder import FolderStore
from neuralib.persistence._stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping

_MANY_BYTES = 1_000_000  # from here on, fewer changes of one byte are tried


def check_codec(codec: Codec, /, *, fields: Mapping[str, object] | None = None) -> None:
    """Try a codec: values to bytes and back, heads, damage, and handlers that use it, in memory and in a folder.

    :param fields: values that it has to take, by any names, each of which has to come back equal and of the same type;
        by default numbers, texts, collections, arrays and other Python objects. Give your own for a format of less
    :raises ContractError: the codec breaks its contract; the error names the verb, what was expected, and what came
    """
    if not isinstance(codec, Codec):
        raise ContractError(type(codec).__qualname__, "__class__", "a subclass of Codec", shown(codec))
    subject = Subject(codec)
    values = dict(_any_fields() if fields is None else fields)
    subject.expect(isinstance(codec.suffix, str) and codec.suffix, "suffix", "a text such as '.json'", codec.suffix)
    for name, value in values.items():
        _check_fields(codec, subject, {"animal": "A", name: value})
    _check_fields(codec, subject, {"animal": "A", **values})
    _check_damage(codec, subject, {"animal": "A", **values})
    _check_codec_in_handlers(codec, subject, list(values.values()))


def _any_fields() -> dict[str, object]:
    import datetime
    import decimal

    import numpy as np

    return {
        "none": None,
        "truth": True,
        "number": -(10**30),
        "real": 0.1,
        "text": "ümläut ☃",
        "raw": b"\x00\xff",
        "items": [1, "two", None, [3.0]],
        "pair": (1, "two"),
        "unique": {1, 2},
        "table": {"a": {"b": 1}, 2: 3},
        "day": datetime.date(2023, 1, 2),
        "amount": decimal.Decimal("1.10"),
        "vector": np.arange(10),
        "matrix": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "scalar": np.float32(1.5),
        "empty": np.zeros((0, 3)),
        "large": np.arange(150_000),
    }


def _encoded(codec: Codec, subject: Subject, fields: Mapping[str, object]) -> bytes:
    draft = MemoryDraft()
    before = dict(fields)
    subject.gives(
        None, "encode", f"None: {_short(fields)} are written to the target", lambda: codec.encode(fields, draft)
    )
    subject.expect(fields.keys() == before.keys(), "encode", "fields that are left as they are", _short(fields))
    return draft.content()


def _short(fields: Mapping[str, object]) -> str:
    return f"the fields {', '.join(fields)}"


def _check_fields(codec: Codec, subject: Subject, fields: dict[str, object]) -> None:
    data = _encoded(codec, subject, fields)
    root = subject.call(
        "decode", f"{_short(fields)} again", lambda: codec.decode(BytesSource(data), trust=None, mmap_mode=None)
    )
    _expect_fields(subject, "decode", root, fields)
    loaded = subject.call("load", "what decode returns", lambda: codec.load(BytesSource(data), None, None))
    _expect_fields(subject, "load", loaded[0], fields)
    content = subject.call("content", "bytes or a draft", lambda: codec.content(dict(fields), MemoryDraft))
    subject.expect(
        isinstance(content, (bytes, MemoryDraft)), "content", "bytes, or the draft that it was given", content
    )
    written = content if isinstance(content, bytes) else content.content()
    with subject.stage("content", "what decode can read"):
        _expect_fields(subject, "content", codec.decode(BytesSource(written)), fields)
    _check_head(codec, subject, data, fields)
    subject.made(bool, "check", "True or False for whole content", lambda: codec.check(BytesSource(data)))
    quick = "False for other content"
    subject.gives(False, "has_same_keys", quick, lambda: codec.has_same_keys(BytesSource(data), b""))


def _expect_fields(subject: Subject, verb: str, found: Any, wanted: Mapping[str, object]) -> None:
    subject.expect(isinstance(found, dict), verb, "the dict of fields", found)
    subject.expect(list(found) == list(wanted), verb, f"the fields {list(wanted)}, in their order", list(found))
    for name, value in wanted.items():
        same = type(found[name]) is type(value) and same_value(found[name], value)
        subject.expect(same, verb, f"{name} to come back as the {type(value).__name__} {shown(value)}", found[name])


def _check_head(codec: Codec, subject: Subject, data: bytes, fields: dict[str, object]) -> None:
    for names in (None, list(fields), ["animal"], ["animal", "no such field"], []):
        found = subject.made(Head, "head", f"a Head of {names}", lambda: codec.head(BytesSource(data), names))  # noqa: B023
        wanted = {name for name in fields if names is None or name in names}
        subject.expect(found.fields.keys() <= fields.keys(), "head", "no other fields than there are", found)
        subject.expect(wanted <= found.fields.keys() or not found.complete, "head", f"the fields {wanted}", found)
        if "animal" in found.fields:
            subject.expect(found.fields["animal"] == "A", "head", "plain data as values", found.fields["animal"])


def _check_damage(codec: Codec, subject: Subject, fields: dict[str, object]) -> None:
    data = _encoded(codec, subject, fields)
    checksummed = codec.check(BytesSource(data))
    count = 16 if len(data) < _MANY_BYTES else 4
    places = sorted({0, len(data) - 1, *(len(data) * part // count for part in range(count))})
    changed = [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in places if place < len(data)]
    for damaged in (b"", data[: len(data) // 2], data[:-1], data + b"x", *changed):
        for verb, read in (("check", codec.check), ("decode", codec.decode)):
            try:
                found: Any = read(BytesSource(damaged))
            except DAMAGE:
                continue
            except Exception as error:
                if isinstance(error, (ImportError, AttributeError, NoFieldsError)) and isinstance(codec, PickleCodec):
                    continue  # a damaged pickle may ask for anything
                raise subject.broken(
                    verb, "ValueError where the content is damaged", f"{type(error).__name__}: {error}"
                ) from error
            if verb == "check" and checksummed and found is True and not _is_same(codec, damaged, fields):
                raise subject.broken(verb, "ValueError where a checksum tells of damage", "True")


def _is_same(codec: Codec, data: bytes, fields: dict[str, object]) -> bool:
    """Return whether changed *data* holds the same fields: not every byte of a format counts."""
    try:
        return same_value(codec.decode(BytesSource(data)), fields)
    except Exception:
        return False


def _check_codec_in_handlers(codec: Codec, subject: Subject, values: list[object]) -> None:
    """Do all that a handler does, in memory and in a folder."""
    card = card_of(ensure_persistence_class(Pair))
    subject.made(Codec, "for_class", "a Codec", lambda: codec.for_class(card))
    with tempfile.TemporaryDirectory() as folder:
        for store in (MemoryStore(), FolderStore(folder)):
            with subject.stage("(in a handler)", "a handler to save, find, load, verify and delete results"):
                check_runs(FileHandler(Run, store, codec=codec), subject, values[0] if values else "text")
                check_pairs(FileHandler(Pair, store, codec=codec), subject, values)
        if codec.maps_arrays:
            _check_mapping(codec, subject, FolderStore(folder), values)


def _check_mapping(codec: Codec, subject: Subject, store: Store, values: list[object]) -> None:
    for value in values:
        store.put("mapped", _encoded(codec, subject, {"value": value}), replace=True)
        for mode in ("r", "c"):
            with open_unread(store.location("mapped")) as source:
                found = subject.call(
                    "decode",
                    "mapped arrays",
                    lambda: codec.decode(source, trust=None, mmap_mode=mode),  # noqa: B023
                )
                _expect_fields(subject, "decode", found, {"value": value})
            del found  # before the file is replaced
