"""The documented use, as type checkers see it: mypy strict and pyright must accept every line.

Run by ``tests/tools/test_typing.py``. An ``ignore`` marks a mistake that checkers must find: where they don't, it is reported
as unused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Generic, TypeVar

from typing_extensions import assert_type

from neuralib import persistence
from neuralib.persistence import (
    AutoIncFieldNotResolvedError,
    FileCheck,
    FileHandler,
    Found,
    GzipHandler,
    Hit,
    PersistenceHandler,
    PersistentClass,
    PickleHandler,
    as_dict,
    auto_generated_content,
    autoinc_field,
    ensure_persistence_class,
    field,
    filename,
    from_dict,
    load,
    load_by,
    missing,
    persistence_class,
    results_equal,
    save,
    unknown_fields,
)
from neuralib.persistence.cli_persistence import BatchReport, Failure, PersistenceOptions, get_options_and_cache
from neuralib.persistence.codecs import Codec, PickleCodec, Sink, ZstdCodec
from neuralib.persistence.stores import BytesSource, Content, FolderStore, MemoryStore, Replace, Source, Stat, Store
from neuralib.persistence.testing import check_codec, check_store
from neuralib.persistence.validator import ETLConcatable, attributes_validate

T = TypeVar("T")


@persistence_class
class Shuffle:
    """Keys are arguments; the number and the data are not."""

    animal: str = field(validator=True, filename=True)
    run: int = autoinc_field(filename_prefix="#")
    bins: int = field(filename=True, default=20)
    scores: list[float] = field(init=False)
    notes: list[str] = field(init=False, default_factory=list)
    unit: ClassVar[str] = "au"

    def _replace(self, *, animal: Any = missing, scores: Any = missing) -> Shuffle:
        auto_generated_content(animal=animal, scores=scores)


@persistence.persistence_class(name="shuf", filename_field_splitter="_")
class Named:
    """With arguments of the decorator, and through the module."""

    area: str = persistence.field(filename=True)


@persistence_class(portable=True, strict=True, version=2)
class Changed:
    """A class that says what it was, and what its fields are."""

    subject: str = field(filename=True, renamed_from="animal", description="who")
    rate: float = field(filename=True, default=30.0, unit="Hz", renamed_from=("fps", "speed"))
    run: int = autoinc_field("#", renamed_from="number", description="repetition")
    accuracy: float = field(init=False, renamed_from="score", unit="%")
    wrong: float = field(init=False, unit=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @classmethod
    def upgrade(cls, fields: dict[str, Any], version: int) -> dict[str, Any]:
        return fields


@persistence_class
class Bare:
    """What checkers can't know: they take a bare annotation for an argument, so a data field is written with init=False."""

    animal: str = field(filename=True)
    scores: list[float]


@persistence_class
class Disordered:
    """What checkers want though it works: keys with a default come after those without."""

    bins: int = field(filename=True, default=20)
    animal: str = field(filename=True)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


def uses_results(folder: Path) -> None:
    """Construct, save, load."""
    shuffle = Shuffle("A00")
    assert_type(shuffle, Shuffle)
    Shuffle(animal="A00", bins=5)
    Shuffle()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Shuffle(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Shuffle("A00", colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    shuffle.scores = [0.5]
    shuffle.scores = "many"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(shuffle.run, int)
    assert_type(shuffle._replace(animal="B"), Shuffle)
    assert_type(Named("RSC").area, str)
    Changed("A00", rate=20.0).accuracy = 0.5
    Changed(animal="A00")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(ensure_persistence_class(Changed).former_names, dict[str, str])
    assert_type(as_dict(data=shuffle), dict[str, Any])
    assert_type(from_dict(data_cls=Shuffle, d={"animal": "A00"}), Shuffle)
    assert_type(load_by(data_cls=Shuffle, path=folder, animal="A00", run=0), Shuffle)
    Bare("A00")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(load(Bare, "b.pkl").scores, list[float])

    assert_type(as_dict(shuffle), dict[str, Any])
    assert_type(from_dict(Shuffle, {"animal": "A00"}), Shuffle)
    assert_type(filename(shuffle, run=3), str)
    assert_type(results_equal(shuffle, shuffle), bool)
    assert_type(unknown_fields(shuffle), dict[str, Any])
    assert_type(ensure_persistence_class(Shuffle), PersistentClass[Shuffle])
    save(shuffle, folder / "a.pkl")
    assert_type(load(Shuffle, "a.pkl"), Shuffle)
    assert_type(load(Shuffle, folder / "a.pkl", mmap_mode="r", trusted=[Named]), Shuffle)
    assert_type(load_by(Shuffle, folder, animal="A00", run=0), Shuffle)
    assert_type(attributes_validate(shuffle, "notes"), bool)


def uses_handlers(folder: Path) -> None:
    """Handlers are generic in the result."""
    handler = PickleHandler(Shuffle, folder)
    assert_type(handler, PickleHandler[Shuffle])
    assert_type(handler.save_persistence(Shuffle("A00")), Shuffle)
    handler.save_persistence(Named("RSC"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(handler.load_persistence("a.pkl"), Shuffle)
    assert_type(handler.load_persistence({"animal": "A00", "run": 0}), Shuffle)
    assert_type(handler.load_all(animal=missing), Iterator[tuple[Path, Shuffle]])
    assert_type(handler.load_all(shuffle := Shuffle("A00"), run=missing), Iterator[tuple[Path, Shuffle]])
    handler.load_persistence(Named("RSC"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(handler.save_all(iter([shuffle])), int)
    handler.save_all([Named("RSC")])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    assert_type(handler.persistence_class, type[Shuffle])
    assert_type(handler.persistence_info, PersistentClass[Shuffle])
    assert_type(handler.validate(shuffle, {"animal": "A00"}), bool)
    assert_type(list(handler.verify()), list[FileCheck])
    assert_type(handler.sweep(), list[Path])
    assert_type(GzipHandler(Shuffle, folder, threads=4).load_persistence(shuffle), Shuffle)
    assert_type(JsonHandler(Shuffle, folder).load_persistence(shuffle), Shuffle)
    assert_type(OwnHandler().load_all(), Iterator[tuple[Path, Shuffle]])
    assert_type(handler.filepath(None, animal="A00", run=0), Path)
    for template in handler.todo({"animal": ["A00"], "bins": range(3)}, repeat=2):
        assert_type(template, Shuffle)
    handler.todo([Named("RSC")])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    compressed: PersistenceHandler[Shuffle] = GzipHandler(Shuffle, str(folder), compression=6, durable=True)
    try:
        compressed.filepath(Shuffle("A00"))
    except AutoIncFieldNotResolvedError as error:
        assert_type(error.owner, str)


def uses_found_results(handler: PickleHandler[Shuffle]) -> None:
    """What is found knows what it loads."""
    found = handler.find(Shuffle("A00"), bins={10, 20}, run=lambda number: number > 3)
    assert_type(found, Found[Shuffle])
    assert_type(found[0], Hit[Shuffle])
    assert_type(found[1:], Found[Shuffle])
    assert_type(found.latest().filter(lambda hit: hit.size_bytes > 3, animal="A00").first().load(), Shuffle)
    for hit in found:
        assert_type(hit.load(), Shuffle)
        assert_type(hit.keys, dict[str, Any])
    assert_type(found.paths, list[Path])
    assert_type(found.keys(), list[dict[str, Any]])
    assert_type(found.to_columns("scores", path=True), dict[str, list[Any]])
    assert_type(found.delete(dry_run=False), list[Path])
    handler.find(Named("RSC"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class JsonHandler(FileHandler[T]):
    """A format of one's own."""

    suffix = ".json"

    def _write(self, fields: dict[str, Any], file: Any) -> None:
        file.write(repr(fields).encode())

    def _read(self, file: BinaryIO) -> Any:
        return file.read()


class OneResultStore(Store):
    """A store of one's own, with what it must have."""

    url = "one://"

    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        if callable(replace):
            replace(BytesSource(b""))

    def open(self, name: str, /) -> Source:
        return BytesSource(b"")

    def names(self, prefix: str = "", /) -> list[str]:
        return []

    def stat(self, name: str, /) -> Stat:
        return Stat(0, 0.0)

    def delete(self, name: str, /) -> None:
        raise FileNotFoundError(name)


class TextCodec(Codec):
    """A codec of one's own, with what it must have."""

    suffix = ".txt"

    def encode(self, fields: Mapping[str, Any], target: Sink, /) -> None:
        target.write(repr(dict(fields)).encode())

    def decode(self, source: Source, /, *, trust: Any = None, mmap_mode: str | None = None) -> dict[str, Any]:
        return {"text": source.read()}


def uses_stores() -> None:
    """A handler takes a folder or a store, and a format."""
    for place in ("results", Path("results"), FolderStore("results"), MemoryStore(), OneResultStore()):
        assert_type(PickleHandler(Shuffle, place).load_persistence(Shuffle("A00")), Shuffle)
    handler = FileHandler(Shuffle, MemoryStore(), codec=TextCodec())
    assert_type(handler.store, Store)
    FileHandler(Shuffle, "results", codec=ZstdCodec(compression=3))
    PickleHandler(Shuffle, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    check_store(MemoryStore)
    check_store(lambda: FolderStore("results"))
    check_store(MemoryStore())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    check_codec(PickleCodec())
    check_codec(TextCodec(), fields={"text": "x"})


class OwnHandler(PersistenceHandler[Shuffle]):
    """The hooks as labs subclass them today."""

    @property
    def persistence_class(self) -> type[Shuffle]:
        return Shuffle

    @property
    def save_root(self) -> Path:
        return Path()

    def _save_persistence(self, result: Shuffle, path: Path) -> None:
        path.write_text(str(result))

    def _load_persistence(self, path: Path) -> Shuffle:
        return Shuffle(path.read_text())


class ShuffleOptions(PersistenceOptions[Shuffle]):
    """The mix-in knows what it loads."""

    def empty_cache(self) -> Shuffle:
        return Shuffle("A00")

    def compute_cache(self, result: Shuffle) -> Shuffle:
        result.scores = [1.0]
        return result


class Base(PersistenceOptions[T], Generic[T]):
    """A client's own base."""

    def persistence_handler(self, dest: Path | None = None) -> PersistenceHandler[T]:
        return JsonHandler(self.persistence_class, dest or Path("cache"))


class NamedOptions(Base[Named]):
    """The parameter goes through a base."""

    def empty_cache(self) -> Named:
        return Named("RSC")

    def compute_cache(self, result: Named) -> Named:
        return result


def uses_options() -> None:
    """Options load what their parameter says."""
    options = ShuffleOptions()
    assert_type(options.load_cache(), Shuffle)
    assert_type(options.load_cache(dest="results", error_when_missing=True, animal="B"), Shuffle)
    assert_type(options.persistence_class, type[Shuffle])
    assert_type(options.persistence_handler(Path("results")), PersistenceHandler[Shuffle])
    options.save_cache(Shuffle("A00"))
    options.save_cache(Named("RSC"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(NamedOptions().load_cache(), Named)
    assert_type(options.find_cache(Shuffle("A00")), list[Shuffle])
    with ThreadPoolExecutor() as pool:
        report = options.compute_missing({"animal": ["A00"]}, pool, progress=False)
    assert_type(report, BatchReport)
    assert_type(report[0], Failure)
    assert_type(get_options_and_cache(ShuffleOptions, options, True, animal="B"), Shuffle)


class Concatable(ETLConcatable[Named]):
    """The protocol of results that can be put together."""
