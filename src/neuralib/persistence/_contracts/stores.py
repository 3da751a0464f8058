"""The contract of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuralib.persistence._contracts.contents import content, expect_content, listed
from neuralib.persistence._contracts.handling import Pair, Run, check_numbers, check_pairs, check_runs
from neuralib.persistence._contracts.puts import (
    check_drafts,
    check_hidden,
    check_put,
    check_put_many,
    check_race,
    check_replace,
    check_state,
)
from neuralib.persistence._contracts.subject import Subject
from neuralib.persistence._errors import ContractError
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._messages import shown
from neuralib.persistence._stores.base import Put, Store

if TYPE_CHECKING:
    from collections.abc import Callable

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

_IMPOSSIBLE_NAMES = (
    "lone-\ud800-surrogate",
    "nul-\0-character",
    "there\0",
    "",
    ".",
    "..",
    "/",
    "../there",
    "/there",
    "./there",
    "there/",
    "there/.",
    "sub/there",
    "sub/../there",
)


def check_store(make: Callable[[], Store], /) -> None:
    """Try a store: every verb, races of threads, and a handler's whole work on it.

    It takes some seconds at most where a put takes a millisecond. What is saved is left in the stores.

    :param make: returns a new, empty store at each call
    :raises ContractError: the store breaks its contract; the error names the verb, what was expected, and what came
    """
    for check in (
        _check_empty,
        check_put,
        _check_names,
        _check_impossible_names,
        check_replace,
        _check_delete,
        _check_delete_many,
        check_drafts,
        check_put_many,
        check_state,
        _check_highest,
        check_race,
        _check_handler,
        check_hidden,
    ):
        store = make()
        if not isinstance(store, Store):
            raise ContractError(getattr(make, "__qualname__", "make"), "__call__", "a Store", shown(store))
        check(store, Subject(store))


def _check_empty(store: Store, subject: Subject) -> None:
    subject.expect(isinstance(getattr(store, "url", None), str), "url", "a text", getattr(store, "url", None))
    subject.expect(listed(subject, store) == [], "names", "no names in a new store", listed(subject, store))
    subject.raises(FileNotFoundError, "open", "for a name that is not there", lambda: store.open("none"))
    subject.raises(FileNotFoundError, "stat", "for a name that is not there", lambda: store.stat("none"))
    subject.raises(FileNotFoundError, "delete", "for a name that is not there", lambda: store.delete("none"))
    subject.gives(False, "has", "False for a name that is not there", lambda: store.has("none"))
    subject.gives([], "which", "no names in an empty store", lambda: store.which(["none"]))
    subject.gives(-1, "highest", "-1 where there is no number", lambda: store.highest("a-", ".x"))
    location = subject.made(str, "location", "a text with the name", lambda: store.location("none"))
    subject.expect("none" in location, "location", "a text with the name", location)
    path = subject.call("path", "a path", lambda: store.path("none"))
    subject.expect(getattr(path, "name", None) == "none", "path", "a path whose last part is the name", path)
    subject.made(list, "sweep", "a list of names", lambda: store.sweep(0.0))


def _check_names(store: Store, subject: Subject) -> None:
    for number, name in enumerate(_NAMES):
        subject.call("put", f"the name {name!r} to be taken", lambda: store.put(name, b"%d" % number))  # noqa: B023
    found = listed(subject, store)
    subject.expect(
        sorted(found) == sorted(_NAMES), "names", f"the names that were put, {sorted(_NAMES)}", sorted(found)
    )
    for number, name in enumerate(_NAMES):
        expect_content(subject, store, name, b"%d" % number, "put")
    asked = [_NAMES[1], "none", _NAMES[0]]
    those = "those of the names that are there, in their order"
    subject.gives([_NAMES[1], _NAMES[0]], "which", those, lambda: store.which(asked))
    for prefix in ("cache-", "ü", "percent%2F", "[", "nothing-", _NAMES[0]):
        wanted = sorted(name for name in _NAMES if name.startswith(prefix))
        found = sorted(listed(subject, store, prefix))
        subject.expect(found == wanted, "names", f"{wanted} for the prefix {prefix!r}", found)


def _check_impossible_names(store: Store, subject: Subject) -> None:
    """Try names that few stores can keep: they are kept, or refused, and then there is nothing of that name.

    Names that are paths must lead to no other name, in the store or beside it.
    """
    store.put("there", b"kept")
    for name in _IMPOSSIBLE_NAMES:
        try:
            store.put(name, b"1")
        except OSError:
            _check_refused(store, subject, name)
        except Exception as error:
            wanted = f"the name {name!r} to be stored, or an OSError"
            raise subject.broken("put", wanted, f"{type(error).__name__}: {error}") from error
        else:
            found = listed(subject, store, name)
            subject.expect(name in found, "put", f"{name!r} to be stored under just this name, or an OSError", found)
            kept = content(subject, store, name)
            subject.expect(kept == b"1", "put", f"b'1' to be stored under {name!r}, for open to return", kept)
        expect_content(subject, store, "there", b"kept", "put")


def _check_refused(store: Store, subject: Subject, name: str) -> None:
    case = f"for the name {name!r}, which was refused"
    subject.raises(OSError, "put", case, lambda: store.put(name, b"1", durable=True))
    subject.raises(OSError, "put", case, lambda: store.put(name, b"1", replace=True))
    subject.raises(OSError, "put", case, lambda: store.put(name, b"1", replace=lambda _: None))
    subject.raises(OSError, "put_if", case, lambda: store.put_if(name, b"1", None))
    for durable in (False, True):
        subject.raises(OSError, "put_many", case, lambda: store.put_many([Put(name, b"1")], durable=durable))  # noqa: B023
    draft = store.draft()
    draft.write(b"1")
    subject.raises(OSError, "put", case, lambda: store.put(name, draft))
    draft.discard()
    subject.raises(FileNotFoundError, "open", case, lambda: store.open(name))
    subject.raises(FileNotFoundError, "open_to_map", case, lambda: store.open_to_map(name))
    subject.raises(FileNotFoundError, "stat", case, lambda: store.stat(name))
    subject.raises(FileNotFoundError, "delete", case, lambda: store.delete(name))
    subject.gives([], "delete_many", f"[] {case}", lambda: store.delete_many({name: None}))
    subject.gives(False, "has", f"False {case}", lambda: store.has(name))
    subject.gives([], "which", f"[] {case}", lambda: store.which([name]))
    subject.gives(-1, "highest", f"-1 {case}", lambda: store.highest(name, ".x"))
    subject.gives(-1, "highest", f"-1 {case}", lambda: store.highest("a", name))
    found = listed(subject, store, name)
    subject.expect(name not in found, "names", f"no name {name!r}, which was refused", found)


def _check_delete(store: Store, subject: Subject) -> None:
    store.put("a", b"1")
    store.put("ab", b"2")
    subject.call("delete", "the name to be removed", lambda: store.delete("a"))
    subject.expect(listed(subject, store) == ["ab"], "delete", "only that name to go", listed(subject, store))
    subject.raises(FileNotFoundError, "open", "for a name that was deleted", lambda: store.open("a"))
    subject.raises(FileNotFoundError, "delete", "for a name that was deleted", lambda: store.delete("a"))
    subject.call("put", "a deleted name to be free", lambda: store.put("a", b"again"))
    expect_content(subject, store, "a", b"again", "put")


def _check_delete_many(store: Store, subject: Subject) -> None:
    for name in "abcd":
        store.put(name, b"1")
    versions: dict[str, object] = {name: store.stat(name).version for name in "abcd"}
    store.put("b", b"another", replace=True)
    is_told = store.stat("b").version != versions["b"]
    store.delete("c")
    gone = subject.made(list, "delete_many", "the names that were removed", lambda: store.delete_many(versions))
    wanted = ["a", "d"] if is_told else ["a", "b", "d"]
    subject.expect(sorted(gone) == wanted, "delete_many", f"{wanted}: not what was replaced or is gone", gone)
    left = listed(subject, store)
    subject.expect(left == (["b"] if is_told else []), "delete_many", "what was replaced to stay, and no other", left)


def _check_highest(store: Store, subject: Subject) -> None:
    for name in ("a-#0.x", "a-#9.x", "a-#10.x", "a-#11.y", "b-#12.x", "a-#.x", "a-#013.x", "a-#1e3.x", "a-#-14.x"):
        store.put(name, b"")
    store.put(f"a-#{10**18}.x", b"")
    expected = "10: by size, of names with that head and tail, and up to 18 digits between them"
    subject.gives(10, "highest", expected, lambda: store.highest("a-#", ".x"))
    subject.gives(-1, "highest", "-1 where no name has that head", lambda: store.highest("c-#", ".x"))


def _check_handler(store: Store, subject: Subject) -> None:
    """Do all that a handler does, with pickles."""
    with subject.stage("(in a handler)", "a handler to save, find, load, verify and delete results"):
        check_runs(PickleHandler(Run, store), subject, 1.5)
        check_pairs(PickleHandler(Pair, store), subject, [1.5, "text"])
        check_numbers(store, subject)
