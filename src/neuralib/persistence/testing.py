"""Contract suites for stores and codecs of your own. They need no test framework.

>>> from neuralib.persistence.stores import MemoryStore
>>> from neuralib.persistence.testing import check_store
>>> check_store(MemoryStore)
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from neuralib.persistence._bytes.sources import BytesSource, Source
from neuralib.persistence._classes.convert import results_equal
from neuralib.persistence._classes.decorator import persistence_class
from neuralib.persistence._classes.field import autoinc_field, field, missing
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._codecs.base import Codec, Head
from neuralib.persistence._codecs.card import card_of
from neuralib.persistence._codecs.pickles import NoFieldsError, PickleCodec
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import ContractError, NameTakenError, shown
from neuralib.persistence._handlers.files import FileHandler
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._keeping.reading import DAMAGE
from neuralib.persistence._stores.base import CHANGED, MemoryDraft, Put, Stat, Store
from neuralib.persistence._stores.folder import FolderStore, open_to_map
from neuralib.persistence._stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Generator

    from neuralib.persistence._handlers.base import PersistenceHandler

__all__ = ["ContractError", "check_codec", "check_store"]

_WRITERS = 8
_ROUNDS = 20  # of the race for one name
_LARGE_BYTES = 5_000_000
_MANY_BYTES = 1_000_000  # from here on, fewer changes of one byte are tried
_NAMES = (
    "cache-Run-A00-#0.pkl",
    "with space",
    "ümläut-日本",
    "percent%2Fquestion?star*",
    "[brackets]{braces}",
    "quote'and\"double",
    "#&=+,;@!~^$",
    "back.slash.dots..",
    "UPPER-x" + "y" * 120,
)


@persistence_class(name="ContractRun")
class _Run:
    animal: str = field(validator=True, filename=True)
    number: int = autoinc_field("#")
    value: Any


@persistence_class(name="ContractPair")
class _Pair:
    animal: str = field(validator=True, filename=True)
    plane: str = field(validator=True, filename=True)
    value: Any


_new_run: Any = _Run  # type checkers take the data for an argument
_new_pair: Any = _Pair


class _Subject:
    """What is tried: raises errors that name its class and the verb that is at fault."""

    def __init__(self, tried: object) -> None:
        self.owner = type(tried).__qualname__

    def broken(self, verb: str, expected: str, found: str) -> ContractError:
        return ContractError(self.owner, verb, expected, found)

    def expect(self, condition: object, verb: str, expected: str, found: object) -> None:
        """Raise an error unless *condition* is true."""
        if not condition:
            raise self.broken(verb, expected, shown(found))

    def call(self, verb: str, expected: str, act: Callable[[], Any]) -> Any:
        """Return what *act* returns; it is not expected to raise an error."""
        try:
            return act()
        except ContractError:
            raise
        except Exception as error:
            raise self.broken(verb, expected, f"{type(error).__name__}: {error}") from error

    def raises(self, kind: type[Exception], verb: str, case: str, act: Callable[[], Any]) -> None:
        """Raise an error unless *act* raises *kind*."""
        expected = f"{kind.__name__} {case}"
        try:
            found = act()
        except kind:
            return
        except Exception as error:
            raise self.broken(verb, expected, f"{type(error).__name__}: {error}") from error
        raise self.broken(verb, expected, shown(found))

    @contextmanager
    def stage(self, verb: str, expected: str) -> Generator[None]:
        """Name *verb* in the error of a longer passage."""
        try:
            yield
        except ContractError:
            raise
        except Exception as error:
            raise self.broken(verb, expected, f"{type(error).__name__}: {error}") from error


# ---------------------------------------------------------------------------------------------- stores


def check_store(make: Callable[[], Store], /) -> None:
    """Try a store: every verb, races of threads, and a handler's whole work on it.

    It takes some seconds at most where a put takes a millisecond. What is saved is left in the stores.

    :param make: returns a new, empty store at each call
    :raises ContractError: the store breaks its contract; the error names the verb, what was expected, and what came
    """
    for check in (
        _check_empty,
        _check_put,
        _check_names,
        _check_replace,
        _check_delete,
        _check_drafts,
        _check_put_many,
        _check_state,
        _check_highest,
        _check_race,
        _check_handler,
    ):
        store = make()
        if not isinstance(store, Store):
            raise ContractError(getattr(make, "__qualname__", "make"), "__call__", "a Store", shown(store))
        check(store, _Subject(store))


def _content(subject: _Subject, store: Store, name: str) -> bytes:
    """Return the content of *name*, read in every way that a source has."""
    source: Any = subject.call("open", f"the content of {name!r}", lambda: store.open(name))
    subject.expect(isinstance(source, Source), "open", "a Source", source)
    reader = _Subject(source)
    with source:
        size = subject.call("open", "a Source with a size", lambda: source.size)
        data = reader.call("read", "the whole content", source.read)
        reader.expect(isinstance(data, bytes), "read", "bytes", data)
        reader.expect(size == len(data), "size", f"the number of bytes, {len(data)}", size)
        reader.expect(bytes(source.view()) == data, "view", "the whole content", source.view())
        middle = reader.call("read_at", "the bytes from a place on", lambda: source.read_at(3, 1))
        reader.expect(middle == data[1:4], "read_at", f"{data[1:4]!r} for read_at(3, 1)", middle)
        beyond = reader.call("read_at", "no error beyond the end", lambda: source.read_at(8, max(len(data) - 2, 0)))
        reader.expect(beyond == data[-2:], "read_at", "the bytes up to the end where there are fewer", beyond)
        target = bytearray(len(data))
        reader.call("read_into", "a filled target", lambda: source.read_into([memoryview(target)], 0))
        reader.expect(bytes(target) == data, "read_into", "the content in the target", bytes(target))
        with reader.call("file", "the content as an open file", source.file) as file:
            reader.expect(file.read() == data, "file", "a file of the whole content", "other bytes")
    return data  # type: ignore[no-any-return]


def _listed(subject: _Subject, store: Store, prefix: str = "") -> list[str]:
    found = subject.call("names", "an iterable of names", lambda: list(store.names(prefix)))
    for name in found:
        subject.expect(isinstance(name, str), "names", "texts", name)
        subject.expect(name.startswith(prefix), "names", f"only names that begin with {prefix!r}", name)
    subject.expect(len(set(found)) == len(found), "names", "each name once", found)
    return found  # type: ignore[no-any-return]


def _expect_content(subject: _Subject, store: Store, name: str, wanted: bytes, verb: str) -> None:
    if name not in _listed(subject, store):
        raise subject.broken(verb, f"{name!r} to be stored", "no such name from names()")
    found = _content(subject, store, name)
    if found != wanted:
        # Which verb is at fault can't be told from outside: the one that stored, or the one that read.
        raise subject.broken(
            verb, f"{len(wanted)} bytes stored as they were, for open to return", f"{len(found)} other bytes"
        )


def _check_empty(store: Store, subject: _Subject) -> None:
    subject.expect(isinstance(getattr(store, "url", None), str), "url", "a text", getattr(store, "url", None))
    subject.expect(_listed(subject, store) == [], "names", "no names in a new store", _listed(subject, store))
    subject.raises(FileNotFoundError, "open", "for a name that is not there", lambda: store.open("none"))
    subject.raises(FileNotFoundError, "stat", "for a name that is not there", lambda: store.stat("none"))
    subject.raises(FileNotFoundError, "delete", "for a name that is not there", lambda: store.delete("none"))
    has = subject.call("has", "False in an empty store", lambda: store.has("none"))
    subject.expect(has is False, "has", "False for a name that is not there", has)
    highest = subject.call("highest", "-1 in an empty store", lambda: store.highest("a-", ".x"))
    subject.expect(highest == -1, "highest", "-1 where there is no number", highest)
    location = subject.call("location", "a text", lambda: store.location("none"))
    subject.expect(isinstance(location, str) and "none" in location, "location", "a text with the name", location)
    path = subject.call("path", "a path", lambda: store.path("none"))
    subject.expect(getattr(path, "name", None) == "none", "path", "a path whose last part is the name", path)
    swept = subject.call("sweep", "a list of names", lambda: store.sweep(0.0))
    subject.expect(isinstance(swept, list), "sweep", "a list of names", swept)


def _check_put(store: Store, subject: _Subject) -> None:
    for name, data in (("small", b"content"), ("empty", b""), ("zeros", bytes(1000)), ("long", b"0123456789" * 30_000)):
        found = subject.call("put", f"{len(data)} bytes to be stored", lambda: store.put(name, data))  # noqa: B023
        subject.expect(found is None, "put", "None", found)
        _expect_content(subject, store, name, data, "put")
        subject.raises(
            FileExistsError,
            "put",
            "for a name that is taken, with replace=False",
            lambda: store.put(name, b"second"),  # noqa: B023
        )
        _expect_content(subject, store, name, data, "put")
        stat = subject.call("stat", "a Stat", lambda: store.stat(name))  # noqa: B023
        subject.expect(isinstance(stat, Stat), "stat", "a Stat", stat)
        subject.expect(stat.size_bytes == len(data), "stat", f"size_bytes {len(data)}", stat)
        subject.expect(isinstance(stat.time_modified_s, (int, float)), "stat", "time_modified_s in seconds", stat)
        subject.expect(stat.regular is True, "stat", "regular=True for what was put", stat)
        has = subject.call("has", "True", lambda: store.has(name))  # noqa: B023
        subject.expect(has is True, "has", "True for a name that is there", has)
    subject.call("put", "durable=True to store the content", lambda: store.put("durable", b"kept", durable=True))
    _expect_content(subject, store, "durable", b"kept", "put")
    subject.call("sync", "None", lambda: store.sync(["small", "durable"]))
    with store.open("small") as first, store.open("small") as second:  # two readers at a time
        subject.expect(first.read() == second.read() == b"content", "open", "sources that don't disturb each other", "")


def _check_names(store: Store, subject: _Subject) -> None:
    for number, name in enumerate(_NAMES):
        subject.call("put", f"the name {name!r} to be taken", lambda: store.put(name, b"%d" % number))  # noqa: B023
    found = _listed(subject, store)
    subject.expect(
        sorted(found) == sorted(_NAMES), "names", f"the names that were put, {sorted(_NAMES)}", sorted(found)
    )
    for number, name in enumerate(_NAMES):
        _expect_content(subject, store, name, b"%d" % number, "put")
    for prefix in ("cache-", "ü", "percent%2F", "[", "nothing-", _NAMES[0]):
        wanted = sorted(name for name in _NAMES if name.startswith(prefix))
        found = sorted(_listed(subject, store, prefix))
        subject.expect(found == wanted, "names", f"{wanted} for the prefix {prefix!r}", found)


def _check_replace(store: Store, subject: _Subject) -> None:
    store.put("a", b"first")
    before = store.stat("a")
    subject.call("put", "replace=True to replace the content", lambda: store.put("a", b"second", replace=True))
    _expect_content(subject, store, "a", b"second", "put")
    after = store.stat("a")
    if before.version is not None or after.version is not None:
        subject.expect(before.version != after.version, "stat", "another version after the content was replaced", after)
    subject.call("put", "replace=True to store a new name", lambda: store.put("b", b"new", replace=True))
    _expect_content(subject, store, "b", b"new", "put")
    seen: list[Any] = []

    def look(there: Any) -> None:
        subject.expect(isinstance(there, Source), "put", "replace to be called with a Source", there)
        seen.append(there.read())

    def refuse(_: Source) -> None:
        raise NameTakenError("Run", "a", {}, {})

    subject.call("put", "a function as replace to be called", lambda: store.put("a", b"third", replace=look))
    subject.expect(seen == [b"second"], "put", "replace to be called once, with the former content", seen)
    _expect_content(subject, store, "a", b"third", "put")
    subject.raises(
        NameTakenError, "put", "from replace to reach the caller", lambda: store.put("a", b"no", replace=refuse)
    )
    _expect_content(subject, store, "a", b"third", "put")
    seen.clear()
    subject.call("put", "replace not to be needed for a new name", lambda: store.put("c", b"new", replace=look))
    subject.expect(not seen, "put", "replace not to be called for a new name", seen)
    subject.expect(
        sorted(_listed(subject, store)) == ["a", "b", "c"], "put", "nothing but the names put", "other names"
    )


def _check_delete(store: Store, subject: _Subject) -> None:
    store.put("a", b"1")
    store.put("ab", b"2")
    subject.call("delete", "the name to be removed", lambda: store.delete("a"))
    subject.expect(_listed(subject, store) == ["ab"], "delete", "only that name to go", _listed(subject, store))
    subject.raises(FileNotFoundError, "open", "for a name that was deleted", lambda: store.open("a"))
    subject.raises(FileNotFoundError, "delete", "for a name that was deleted", lambda: store.delete("a"))
    subject.call("put", "a deleted name to be free", lambda: store.put("a", b"again"))
    _expect_content(subject, store, "a", b"again", "put")


def _check_drafts(store: Store, subject: _Subject) -> None:
    for name, parts in (
        ("none", []),
        ("small", [b"ab", bytearray(b"cd"), memoryview(b"ef")]),
        ("large", [b"x" * 1_000_000] * (_LARGE_BYTES // 1_000_000)),
    ):
        draft = subject.call("draft", "a draft", store.draft)
        for part in parts:
            subject.call("draft", "a draft with write(data)", lambda: draft.write(part))  # noqa: B023
        data = b"".join(bytes(part) for part in parts)
        size = subject.call("draft", "a draft with a size", lambda: draft.size)  # noqa: B023
        subject.expect(size == len(data), "draft", f"a draft whose size is {len(data)}", size)
        subject.expect(name not in _listed(subject, store), "draft", "no name before the draft is put", name)
        subject.call("put", "a draft to be stored", lambda: store.put(name, draft))  # noqa: B023
        draft.discard()
        draft.discard()
        _expect_content(subject, store, name, data, "put")
    again = store.draft()
    again.write(b"second")
    subject.raises(FileExistsError, "put", "for a draft where the name is taken", lambda: store.put("small", again))
    again.discard()
    replacing = store.draft()
    replacing.reserve(6)
    replacing.write(b"second")
    subject.call("put", "a draft to replace", lambda: store.put("small", replacing, replace=True))
    replacing.discard()
    _expect_content(subject, store, "small", b"second", "put")
    forgotten = store.draft()
    forgotten.write(b"x" * 2_000_000)
    forgotten.discard()
    found = sorted(_listed(subject, store))
    subject.expect(found == ["large", "none", "small"], "draft", "nothing left of a draft that is discarded", found)


def _check_put_many(store: Store, subject: _Subject) -> None:
    store.put("b", b"theirs")
    for durable in (False, True):
        end = "-durable" if durable else ""
        draft = store.draft()
        draft.write(b"draft")
        puts = [Put("a" + end, b"1"), Put("b", b"2"), Put("c" + end, draft), Put("b", b"3" + end.encode(), True)]
        subject.call("hold", "None", store.hold)
        given: list[OSError | None] = []
        found = subject.call(
            "put_many",
            "a list of outcomes",
            lambda: store.put_many(puts, given, durable=durable),  # noqa: B023
        )
        subject.call("release", "None", store.release)
        subject.expect(isinstance(found, list) and len(found) == 4, "put_many", "an outcome for each put", found)
        subject.expect(given == found, "put_many", "the list outcomes to be filled", given)
        subject.expect(
            [found[place] for place in (0, 2, 3)] == [None] * 3, "put_many", "None for each that was stored", found
        )
        subject.expect(isinstance(found[1], FileExistsError), "put_many", "FileExistsError for a taken name", found[1])
        for name, data in (("a" + end, b"1"), ("b", b"3" + end.encode()), ("c" + end, b"draft")):
            _expect_content(subject, store, name, data, "put_many")
    size = subject.call("group_size", "an int", store.group_size)
    subject.expect(type(size) is int and size > 0, "group_size", "a positive int", size)


def _check_state(store: Store, subject: _Subject) -> None:
    after = subject.call("put_if", "None or a state", lambda: store.put_if("a", b"1", None))
    subject.expect(after is not CHANGED, "put_if", "content to be stored where any state is expected", after)
    _expect_content(subject, store, "a", b"1", "put_if")
    subject.raises(FileExistsError, "put_if", "for a taken name", lambda: store.put_if("a", b"2", None))
    state = subject.call("state", "None or a state", store.state)
    if state is None:
        return
    unchanged = subject.call("state", "a state with is_unchanged", lambda: state.is_unchanged(store.state()))
    subject.expect(unchanged is True, "state", "an unchanged state while nothing changes", unchanged)
    after = subject.call("put_if", "content to be stored in the expected state", lambda: store.put_if("b", b"2", state))
    subject.expect(after is not CHANGED, "put_if", "content to be stored in the expected state", after)
    _expect_content(subject, store, "b", b"2", "put_if")
    again = subject.call("put_if", "the next to be stored too", lambda: store.put_if("c", b"3", after))
    subject.expect(again is not CHANGED, "put_if", "content to be stored in the state that it returned", again)
    store.put("theirs", b"4")
    if again is not None and store.state() is not None:
        changed = not again.is_unchanged(store.state())
        subject.expect(changed, "state", "a changed state after others have saved", again)
        refused = subject.call("put_if", "CHANGED", lambda: store.put_if("d", b"5", again))
        subject.expect(refused is CHANGED, "put_if", "CHANGED where others have saved", refused)
        subject.expect(
            "d" not in _listed(subject, store), "put_if", "nothing to be stored where CHANGED", "it is there"
        )


def _check_highest(store: Store, subject: _Subject) -> None:
    for name in ("a-#0.x", "a-#9.x", "a-#10.x", "a-#11.y", "b-#12.x", "a-#.x", "a-#013.x", "a-#1e3.x", "a-#-14.x"):
        store.put(name, b"")
    highest = subject.call("highest", "an int", lambda: store.highest("a-#", ".x"))
    subject.expect(
        type(highest) is int and highest == 10, "highest", "10: by size, of names with that head and tail", highest
    )
    other = store.highest("c-#", ".x")
    subject.expect(other == -1, "highest", "-1 where no name has that head", other)


def _check_race(store: Store, subject: _Subject) -> None:
    """Of threads that put the same new name, exactly one wins; readers see whole content only."""
    for each in range(_ROUNDS):
        name = f"race-{each}"
        barrier = threading.Barrier(_WRITERS)
        won: list[int] = []
        lost: list[BaseException] = []

        def put(writer: int, name: str = name, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                store.put(name, b"%d" % writer * 1000)
            except BaseException as error:
                lost.append(error)  # noqa: B023 - the threads end before the next round
            else:
                won.append(writer)  # noqa: B023

        _run_threads(put)
        subject.expect(len(won) == 1, "put", f"one of {_WRITERS} threads to win a new name", f"{len(won)} winners")
        others = [error for error in lost if not isinstance(error, FileExistsError)]
        subject.expect(not others, "put", "FileExistsError for the threads that lose a race", others[:1])
        _expect_content(subject, store, name, b"%d" % won[0] * 1000, "put")


def _run_threads(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(_WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _check_handler(store: Store, subject: _Subject) -> None:
    """Do all that a handler does, with pickles."""
    with subject.stage("(in a handler)", "a handler to save, find, load, verify and delete results"):
        _check_runs(PickleHandler(_Run, store), subject, 1.5)
        _check_pairs(PickleHandler(_Pair, store), subject, [1.5, "text"])
        _check_numbers(store, subject)


def _expect_equal(subject: _Subject, what: str, found: object, wanted: object) -> None:
    subject.expect(same_value(found, wanted), "(in a handler)", f"{what} to give {shown(wanted)}", found)


def _check_runs(handler: PersistenceHandler[Any], subject: _Subject, value: object) -> None:
    """Try numbered results: saving, finding, loading, verifying, deleting."""
    for number in range(3):
        saved = handler.save_persistence(_filled(_new_run("A"), value))
        _expect_equal(subject, "save_persistence", saved.number, number)
    handler.save_all(_filled(_new_run("B"), value) for _ in range(3))
    handler.save_all((_filled(_new_run("A"), value) for _ in range(2)), durable=True)
    _expect_equal(subject, "find", [hit.keys["number"] for hit in handler.find(animal="A")], [0, 1, 2, 3, 4])
    _expect_equal(subject, "latest", [hit.keys["number"] for hit in handler.find().latest()], [4, 2])
    loaded = [result for _, result in handler.load_all(animal=missing)]
    _expect_equal(subject, "load_all", [result.number for result in loaded], [0, 1, 2, 3, 4, 0, 1, 2])
    for result in loaded:
        _expect_equal(subject, "load_all", result.value, value)
    problems = [found.problem for found in handler.verify() if found.problem is not None]
    _expect_equal(subject, "verify", problems, [])
    wanted = [template.animal for template in handler.todo([_new_run("A"), _new_run("C")], repeat=5)]
    _expect_equal(subject, "todo", wanted, ["C"] * 5)
    _expect_equal(subject, "to_columns", handler.find(animal="B").to_columns()["number"], [0, 1, 2])
    _expect_equal(subject, "delete", len(handler.find(animal="A").delete(dry_run=False)), 5)
    _expect_equal(subject, "find", len(handler.find(animal="A")), 0)
    handler.sweep()


def _check_pairs(handler: PersistenceHandler[Any], subject: _Subject, values: Iterable[object]) -> None:
    """Try results without numbers, which are replaced."""
    for number, value in enumerate(values):
        result = _filled(_new_pair("A", str(number)), value)
        for _ in range(2):
            handler.save_persistence(result)
        for loaded in (
            handler.load_persistence(_new_pair("A", str(number))),
            handler.load_persistence({"animal": "A", "plane": str(number)}),
            handler.find(plane=str(number))[0].load(),
        ):
            subject.expect(
                results_equal(loaded, result),
                "(in a handler)",
                f"the result that was saved, with the value {shown(value)}",
                getattr(loaded, "value", None),
            )
    # Two results of one name: the second must not take the place of the first.
    handler.save_persistence(_filled(_new_pair("X-Y", "Z"), 1))
    taken = _filled(_new_pair("X", "Y-Z"), 2)
    subject.raises(
        NameTakenError, "(in a handler)", "for other keys of one name", lambda: handler.save_persistence(taken)
    )


def _check_numbers(store: Store, subject: _Subject) -> None:
    """Let threads save numbered results, each with a handler of its own: no two get one number."""
    numbers: list[int] = []
    errors: list[BaseException] = []

    def save(writer: int) -> None:
        try:
            handler = PickleHandler(_Run, store)
            numbers.extend(handler.save_persistence(_filled(_new_run("race"), writer)).number for _ in range(10))
        except BaseException as error:
            errors.append(error)

    _run_threads(save)
    if errors:
        raise errors[0]
    _expect_equal(subject, "numbered saves of 8 threads", sorted(numbers), list(range(10 * _WRITERS)))


def _filled(result: Any, value: object) -> Any:
    result.value = value
    return result


# ---------------------------------------------------------------------------------------------- codecs


def check_codec(codec: Codec, /, *, fields: Mapping[str, object] | None = None) -> None:
    """Try a codec: values to bytes and back, heads, damage, and handlers that use it, in memory and in a folder.

    :param fields: values that it has to take, by any names, each of which has to come back equal and of the same type;
        by default numbers, texts, collections, arrays and other Python objects. Give your own for a format of less
    :raises ContractError: the codec breaks its contract; the error names the verb, what was expected, and what came
    """
    if not isinstance(codec, Codec):
        raise ContractError(type(codec).__qualname__, "__class__", "a subclass of Codec", shown(codec))
    subject = _Subject(codec)
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
        "large": np.arange(300_000),
    }


def _encoded(codec: Codec, subject: _Subject, fields: Mapping[str, object]) -> bytes:
    draft = MemoryDraft()
    before = dict(fields)
    found = subject.call("encode", f"{_short(fields)} to be written", lambda: codec.encode(fields, draft))
    subject.expect(found is None, "encode", "None: the bytes are written to the target", found)
    subject.expect(fields.keys() == before.keys(), "encode", "fields that are left as they are", _short(fields))
    return draft.content()


def _short(fields: Mapping[str, object]) -> str:
    return f"the fields {', '.join(fields)}"


def _check_fields(codec: Codec, subject: _Subject, fields: dict[str, object]) -> None:
    data = _encoded(codec, subject, fields)
    root = subject.call(
        "decode", f"{_short(fields)} again", lambda: codec.decode(BytesSource(data), trust=None, mmap_mode=None)
    )
    _expect_fields(subject, "decode", root, fields)
    loaded = subject.call("load", "what decode returns", lambda: codec.load(BytesSource(data), None, None))
    _expect_fields(subject, "load", loaded.root, fields)
    content = subject.call("content", "bytes or a draft", lambda: codec.content(dict(fields), MemoryDraft))
    subject.expect(
        isinstance(content, (bytes, MemoryDraft)), "content", "bytes, or the draft that it was given", content
    )
    written = content if isinstance(content, bytes) else content.content()
    with subject.stage("content", "what decode can read"):
        _expect_fields(subject, "content", codec.decode(BytesSource(written)), fields)
    _check_head(codec, subject, data, fields)
    checked = subject.call("check", "no error for whole content", lambda: codec.check(BytesSource(data)))
    subject.expect(isinstance(checked, bool), "check", "True or False", checked)
    quick = subject.call("begins_with", "no error", lambda: codec.begins_with(BytesSource(data), {"animal": "another"}))
    subject.expect(quick is False, "begins_with", "False for other keys", quick)


def _expect_fields(subject: _Subject, verb: str, found: Any, wanted: Mapping[str, object]) -> None:
    subject.expect(isinstance(found, dict), verb, "the dict of fields", found)
    subject.expect(list(found) == list(wanted), verb, f"the fields {list(wanted)}, in their order", list(found))
    for name, value in wanted.items():
        same = type(found[name]) is type(value) and same_value(found[name], value)
        subject.expect(same, verb, f"{name} to come back as the {type(value).__name__} {shown(value)}", found[name])


def _check_head(codec: Codec, subject: _Subject, data: bytes, fields: dict[str, object]) -> None:
    for names in (None, list(fields), ["animal"], ["animal", "no such field"], []):
        found = subject.call("head", f"the fields {names}", lambda: codec.head(BytesSource(data), names))  # noqa: B023
        subject.expect(isinstance(found, Head), "head", "a Head", found)
        wanted = {name for name in fields if names is None or name in names}
        subject.expect(found.fields.keys() <= fields.keys(), "head", "no other fields than there are", found)
        subject.expect(wanted <= found.fields.keys() or not found.complete, "head", f"the fields {wanted}", found)
        if "animal" in found.fields:
            subject.expect(found.fields["animal"] == "A", "head", "plain data as values", found.fields["animal"])


def _check_damage(codec: Codec, subject: _Subject, fields: dict[str, object]) -> None:
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


def _check_codec_in_handlers(codec: Codec, subject: _Subject, values: list[object]) -> None:
    """Do all that a handler does, in memory and in a folder."""
    card = card_of(ensure_persistence_class(_Pair))
    own = subject.call("for_class", "a codec for a class", lambda: codec.for_class(card))
    subject.expect(isinstance(own, Codec), "for_class", "a Codec", own)
    with tempfile.TemporaryDirectory() as folder:
        for store in (MemoryStore(), FolderStore(folder)):
            with subject.stage("(in a handler)", "a handler to save, find, load, verify and delete results"):
                _check_runs(FileHandler(_Run, store, codec=codec), subject, values[0] if values else "text")
                _check_pairs(FileHandler(_Pair, store, codec=codec), subject, values)
        if codec.maps_arrays:
            _check_mapping(codec, subject, FolderStore(folder), values)


def _check_mapping(codec: Codec, subject: _Subject, store: Store, values: list[object]) -> None:
    for value in values:
        store.put("mapped", _encoded(codec, subject, {"value": value}), replace=True)
        for mode in ("r", "c"):
            with open_to_map(store.location("mapped")) as source:
                found = subject.call(
                    "decode",
                    "mapped arrays",
                    lambda: codec.decode(source, trust=None, mmap_mode=mode),  # noqa: B023
                )
                _expect_fields(subject, "decode", found, {"value": value})
            del found  # before the file is replaced
