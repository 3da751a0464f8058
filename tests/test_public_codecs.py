"""Our codecs, and a short one of a user, keep the contract; the contract suite finds mistakes of a codec."""

from __future__ import annotations

import json
import pickle
import re
import zlib

import numpy as np
import pytest
from checks import Pair, check_round_trip, filled, needs_zstd

from neuralib.persistence import (
    FileHandler,
    NotAResultError,
    PersistenceHandler,
    PickleHandler,
    field,
    load,
    persistence_class,
    read_head,
)
from neuralib.persistence.codecs import BytesSource, Codec, GzipCodec, Head, PickleCodec, ZstdCodec
from neuralib.persistence.stores import MemoryStore
from neuralib.persistence.testing import ContractError, check_codec

JSON_FIELDS = {"none": None, "number": 3, "real": 0.1, "text": "ümläut", "items": [1, [2.5], {"a": None}]}


class JsonCodec(Codec):
    """A codec for values that JSON has."""

    suffix = ".json"

    def encode(self, fields, target, /):
        target.write(json.dumps(dict(fields)).encode())

    def decode(self, source, /, *, trust=None, mmap_mode=None):
        return json.loads(source.read())


class ChecksummedCodec(Codec):
    """Compressed pickles; zlib's checksum finds damage."""

    suffix = ".pz"

    def __repr__(self):
        return "ChecksummedCodec()"

    def encode(self, fields, target, /):
        target.write(zlib.compress(pickle.dumps(dict(fields))))

    def decode(self, source, /, *, trust=None, mmap_mode=None):
        return pickle.loads(self._content(source))

    def check(self, source, /):
        self._content(source)
        return True

    def _content(self, source):
        try:
            reader = zlib.decompressobj()
            data = reader.decompress(source.read())
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if not reader.eof or reader.unused_data:
            raise ValueError("cut short, or something follows")
        return data


@pytest.mark.parametrize(
    "codec",
    [
        PickleCodec(),
        GzipCodec(),
        pytest.param(ZstdCodec(), marks=needs_zstd),
    ],
    ids=lambda codec: codec.suffix,
)
def test_codecs_of_all_python_objects_keep_the_contract(codec):
    """For any values."""
    check_codec(codec)


def test_a_codec_of_some_types_keeps_the_contract_for_them():
    """Values of other types can't be written, which is an error."""
    check_codec(JsonCodec(), fields=JSON_FIELDS)
    with pytest.raises(ContractError, match=r"JsonCodec.encode breaks its contract: .* not JSON serializable"):
        check_codec(JsonCodec())


def test_a_codec_of_arrays_alone_keeps_the_contract():
    """A format may have one type of value only."""
    check_codec(PickleCodec(), fields={"x": np.arange(100_000.0)})
    check_codec(GzipCodec(), fields={})


@pytest.mark.parametrize("codec", [PickleCodec, GzipCodec, pytest.param(ZstdCodec, marks=needs_zstd)])
def test_a_handler_of_a_codec_is_one_of_ours(codec, tmp_path):
    """FileHandler with our codec writes the same files as the handler of that format, card included."""
    handler = FileHandler(Pair, tmp_path, codec=codec())
    loaded = check_round_trip(handler, filled(Pair("A", 1), data=np.arange(10)))
    assert loaded.data.tolist() == list(range(10))
    path = handler.filepath(Pair("A", 1))
    assert path.name == "cache-Pair-A-1" + codec.suffix
    assert load(Pair, path).data.tolist() == list(range(10))
    assert read_head(path).card.qualname == "Pair"


def test_a_handler_of_a_users_codec(tmp_path):
    """The suffix is the codec's, or the one that is passed."""
    handler = FileHandler(Pair, tmp_path, codec=JsonCodec())
    check_round_trip(handler, filled(Pair("A", 1), data=[1, 2]))
    assert handler.filename(Pair("A", 1)) == "cache-Pair-A-1.json"
    assert FileHandler(Pair, tmp_path, ".txt", codec=JsonCodec()).filename(Pair("A", 1)) == "cache-Pair-A-1.txt"
    assert isinstance(pickle.loads(pickle.dumps(handler)), PersistenceHandler)
    with pytest.raises(TypeError, match="define _write and _read, or give a codec"):
        FileHandler(Pair, tmp_path)


def test_codecs_have_a_level():
    """Invalid levels are refused."""
    assert repr(ZstdCodec(3)) == "ZstdCodec(compression=3)"
    assert repr(PickleCodec()) == "PickleCodec()"
    for codec, level in ((GzipCodec, 10), (GzipCodec, -1), (ZstdCodec, 0), (ZstdCodec, 23), (ZstdCodec, "fast")):
        with pytest.raises(ValueError, match=f"{codec.__name__}: compression must be an int from"):
            codec(level)


@needs_zstd
def test_every_codec_of_pickles_reads_every_compression():
    """Whatever the suffix is."""
    store = MemoryStore()
    for writer in (PickleCodec(), GzipCodec(), ZstdCodec()):
        store.put("x", writer.content({"a": np.arange(100_000)}, store.draft), replace=True)
        for reader in (PickleCodec(), GzipCodec(), ZstdCodec()):
            with store.open("x") as source:
                assert reader.decode(source)["a"].tolist() == list(range(100_000))
            with store.open("x") as source:
                assert reader.check(source) is True


# ---------------------------------------------------------------------------------------------- codecs that are broken


def encode_twice(self, fields, target, /):
    ChecksummedCodec.encode(self, fields, target)
    ChecksummedCodec.encode(self, fields, target)


def encode_text(self, fields, target, /):
    target.write(repr(dict(fields)))


def encode_nothing(self, fields, target, /):
    pass


def encode_and_return(self, fields, target, /):
    ChecksummedCodec.encode(self, fields, target)
    return 3


def encode_and_change(self, fields, target, /):
    ChecksummedCodec.encode(self, fields, target)
    fields.clear()


def decode(change):
    def changed(self, source, /, *, trust=None, mmap_mode=None):
        return change(ChecksummedCodec.decode(self, source))

    return changed


def decode_or_die(self, source, /, *, trust=None, mmap_mode=None):
    try:
        return ChecksummedCodec.decode(self, source)
    except ValueError as error:
        raise RuntimeError("damaged") from error


def as_lists(fields):
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


BROKEN = [
    ("suffix", dict(suffix="")),
    ("suffix", dict(suffix=None)),
    ("encode", dict(encode=encode_text)),
    ("encode", dict(encode=encode_and_return)),
    ("encode", dict(encode=encode_and_change)),
    ("decode", dict(encode=encode_twice)),
    ("decode", dict(encode=encode_nothing)),
    ("decode", dict(decode=decode(lambda fields: list(fields.items())))),
    ("decode", dict(decode=decode(lambda fields: None))),
    ("decode", dict(decode=decode(lambda fields: dict(sorted(fields.items(), reverse=True))))),
    ("decode", dict(decode=decode(lambda fields: {**fields, "more": 1}))),
    ("decode", dict(decode=decode(as_lists))),
    ("decode", dict(decode=lambda self, source, /: ChecksummedCodec.decode(self, source))),
    ("decode", dict(decode=decode_or_die)),
    ("load", dict(load=lambda self, source, trust, mmap_mode: Codec.load(self, source, trust, mmap_mode)._replace(root={}))),
    ("content", dict(content=lambda self, fields, new_draft: None)),
    ("content", dict(content=lambda self, fields, new_draft: b"")),
    ("head", dict(head=lambda self, source, names=None, /: self.decode(source))),
    ("head", dict(head=lambda self, source, names=None, /: Head({}))),
    ("head", dict(head=lambda self, source, names=None, /: Head({"other": 1}))),
    ("head", dict(head=lambda self, source, names=None, /: Head({name: 0 for name in self.decode(source)}))),
    ("check", dict(check=lambda self, source, /: None)),
    ("check", dict(check=lambda self, source, /: True)),
    ("has_same_keys", dict(has_same_keys=lambda self, source, content: True)),
    ("for_class", dict(for_class=lambda self, card: None)),
    ("decode", dict(maps_arrays=True, decode=lambda self, source, /, *, trust=None, mmap_mode=None: None if mmap_mode else ChecksummedCodec.decode(self, source))),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "changes"), BROKEN, ids=[f"{i}-{verb}" for i, (verb, _) in enumerate(BROKEN)])
def test_a_broken_codec_is_found(verb, changes):
    """The error names the class, the method, what was expected, and what came."""
    broken = type("TapeCodec", (ChecksummedCodec,), changes)
    with pytest.raises(ContractError, match=rf"TapeCodec\.{verb} breaks its contract: expected .*; got ") as caught:
        check_codec(broken(), fields={"pair": (1, "two"), "vector": np.arange(10)})
    assert caught.value.verb == verb


def test_what_is_no_codec_is_found():
    """For example a class in place of an instance."""
    with pytest.raises(ContractError, match=re.escape("expected a subclass of Codec; got")):
        check_codec(PickleCodec)
    with pytest.raises(TypeError, match="abstract method"):
        Codec()


def test_a_codec_that_breaks_its_contract_in_use_is_an_error():
    """It does not count as damage of the file, which might then be replaced."""

    class ListCodec(JsonCodec):
        def decode(self, source, /, *, trust=None, mmap_mode=None):
            return list(super().decode(source))

    class DictHead(JsonCodec):
        def head(self, source, names=None, /):
            return self.decode(source)

    store = MemoryStore()
    FileHandler(Pair, store, codec=JsonCodec()).save_persistence(filled(Pair("A", 1), data=1))
    broken = FileHandler(Pair, store, codec=ListCodec())
    with pytest.raises(ContractError, match="ListCodec.decode breaks its contract: expected the dict of fields"):
        broken.load_persistence(Pair("A", 1))
    broken = FileHandler(Pair, store, codec=DictHead())
    with pytest.raises(ContractError, match="DictHead.head breaks its contract: expected a Head"):
        broken.save_persistence(filled(Pair("A", 1), data=2))
    with pytest.raises(ContractError, match=r"DictHead.head breaks its contract"):
        list(broken.verify())
    assert FileHandler(Pair, store, codec=JsonCodec()).load_persistence(Pair("A", 1)).data == 1


def test_a_pickle_of_something_else_is_no_breach():
    """The file is wrong, and not the codec."""
    store = MemoryStore()
    store.put("cache-Pair-A-1.pkl", pickle.dumps([1, 2]))
    with pytest.raises(NotAResultError, match="holds a list"):
        PickleHandler(Pair, store).load_persistence(Pair("A", 1))


def test_a_source_of_bytes():
    """It serves to try a codec by hand."""
    source = BytesSource(b"0123456789")
    assert (source.size, source.read(), source.read_at(3, 8)) == (10, b"0123456789", b"89")
    with pytest.raises(TypeError, match="mmap_mode='r' needs a local file"):
        source.map("r")


@persistence_class
class Mean:
    animal: str = field(filename=True)
    value: float


@pytest.mark.parametrize("codec", [PickleCodec(), GzipCodec(), pytest.param(ZstdCodec(), marks=needs_zstd)], ids=repr)
def test_one_codec_serves_handlers_of_several_classes(codec):
    """Each file says its own class, in whatever order the handlers are made; what is pickled knows no class."""
    store = MemoryStore()
    untouched = pickle.dumps(codec)
    for number in range(2):
        for result in (filled(Pair(f"p{number}", 1), data=0.5), filled(Mean(f"m{number}"), value=0.5)):
            FileHandler(type(result), store, codec=codec).save_persistence(result)
    cards = {name: codec.head(store.open(name)).card for name in store.names()}
    assert len(cards) == 4
    assert all(card.name in name for name, card in cards.items())
    assert pickle.dumps(codec) == untouched


def test_a_codec_may_be_changed_between_handlers():
    """A handler that is made later has what was changed. A codec of one's own needs no __init__ of ours."""

    class Own(PickleCodec):
        def __init__(self):
            self.calls = []

    codec, sizes = GzipCodec(), []
    for level in (9, 0):
        codec.level = level
        handler = FileHandler(Pair, MemoryStore(), codec=codec)
        handler.save_persistence(filled(Pair("a", 1), data=list(range(20_000))))
        (name,) = handler.store.names()
        sizes.append(handler.store.open(name).size)
    assert sizes[0] < sizes[1]
    handler = FileHandler(Pair, MemoryStore(), codec=Own())
    handler.save_persistence(filled(Pair("a", 1), data=2))
    assert handler.load_persistence(Pair("a", 1)).data == 2
