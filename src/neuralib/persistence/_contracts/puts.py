"""How a store takes content: new, replaced, in drafts, in batches, and from threads that race for a name."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from neuralib.persistence._bytes.sources import Source
from neuralib.persistence._contracts.contents import content, expect_content, listed
from neuralib.persistence._contracts.handling import WRITERS, run_threads
from neuralib.persistence._errors import NameTakenError
from neuralib.persistence._stores.base import CHANGED, LEFTOVER_PREFIX, Put, Stat

if TYPE_CHECKING:
    from neuralib.persistence._contracts.subject import Subject
    from neuralib.persistence._stores.base import Store

_ROUNDS = 20  # of the race for one name
_LARGE_BYTES = 5_000_000
_CLOCKS_DIFFER_S = 3600.0  # those of a server and of this machine


def check_put(store: Store, subject: Subject) -> None:
    """Store new names, each once."""
    for name, data in (("small", b"content"), ("empty", b""), ("zeros", bytes(1000)), ("long", b"0123456789" * 30_000)):
        subject.gives(None, "put", f"{len(data)} bytes to be stored", lambda: store.put(name, data))  # noqa: B023
        expect_content(subject, store, name, data, "put")
        subject.raises(
            FileExistsError,
            "put",
            "for a name that is taken, with replace=False",
            lambda: store.put(name, b"second"),  # noqa: B023
        )
        expect_content(subject, store, name, data, "put")
        stat = subject.made(Stat, "stat", "a Stat", lambda: store.stat(name))  # noqa: B023
        subject.expect(stat.size_bytes == len(data), "stat", f"size_bytes {len(data)}", stat)
        subject.expect(isinstance(stat.time_modified_s, (int, float)), "stat", "time_modified_s in seconds", stat)
        subject.expect(stat.regular is True, "stat", "regular=True for what was put", stat)
        subject.gives(True, "has", "True for a name that is there", lambda: store.has(name))  # noqa: B023
    subject.call("put", "durable=True to store the content", lambda: store.put("durable", b"kept", durable=True))
    expect_content(subject, store, "durable", b"kept", "put")
    subject.call("sync", "None", lambda: store.sync(["small", "durable"]))
    with store.open("small") as first, store.open("small") as second:  # two readers at a time
        subject.expect(first.read() == second.read() == b"content", "open", "sources that don't disturb each other", "")


def check_replace(store: Store, subject: Subject) -> None:
    """Replace content, and let a function refuse it."""
    store.put("a", b"first")
    before = store.stat("a")
    subject.call("put", "replace=True to replace the content", lambda: store.put("a", b"second", replace=True))
    expect_content(subject, store, "a", b"second", "put")
    after = store.stat("a")
    if before.version is not None or after.version is not None:
        subject.expect(before.version != after.version, "stat", "another version after the content was replaced", after)
    subject.call("put", "replace=True to store a new name", lambda: store.put("b", b"new", replace=True))
    expect_content(subject, store, "b", b"new", "put")
    seen: list[Any] = []

    def look(there: Any) -> None:
        subject.expect(isinstance(there, Source), "put", "replace to be called with a Source", there)
        seen.append(there.read())

    def refuse(_: Source) -> None:
        raise NameTakenError("Run", "a", {}, {})

    subject.call("put", "a function as replace to be called", lambda: store.put("a", b"third", replace=look))
    subject.expect(seen == [b"second"], "put", "replace to be called once, with the former content", seen)
    expect_content(subject, store, "a", b"third", "put")
    subject.raises(
        NameTakenError, "put", "from replace to reach the caller", lambda: store.put("a", b"no", replace=refuse)
    )
    expect_content(subject, store, "a", b"third", "put")
    seen.clear()
    subject.call("put", "replace not to be needed for a new name", lambda: store.put("c", b"new", replace=look))
    subject.expect(not seen, "put", "replace not to be called for a new name", seen)
    subject.expect(sorted(listed(subject, store)) == ["a", "b", "c"], "put", "nothing but the names put", "other names")


def check_hidden(store: Store, subject: Subject) -> None:
    """Try what batches keep beside results: see :class:`~neuralib.persistence._computing.claims.Claims`."""
    name = f"{LEFTOVER_PREFIX}check"
    subject.call("put", f"the name {name!r} to be taken", lambda: store.put(name, b"claim"))
    subject.raises(FileExistsError, "put", "for a hidden name that is taken", lambda: store.put(name, b"second"))
    subject.expect(content(subject, store, name) == b"claim", "open", "what was put under a hidden name", "other bytes")
    store.delete(name)
    subject.expect(not store.has(name), "delete", "a hidden name to be removed", name)
    store.put(name, b"of a dead batch")
    subject.gives([name], "sweep", f"{name!r} to be removed", lambda: store.sweep(-_CLOCKS_DIFFER_S))
    subject.gives(False, "sweep", f"{name!r} to be removed", lambda: store.has(name))


def check_drafts(store: Store, subject: Subject) -> None:
    """Store content that is written in parts."""
    for name, parts in (
        ("none", []),
        ("small", [b"ab", bytearray(b"cd"), memoryview(b"ef")]),
        ("large", [b"x" * 1_000_000] * (_LARGE_BYTES // 1_000_000)),
    ):
        draft = subject.call("draft", "a draft", store.draft)
        for part in parts:
            subject.call("draft", "a draft with write(data)", lambda: draft.write(part))  # noqa: B023
        data = b"".join(bytes(part) for part in parts)
        subject.gives(len(data), "draft", f"a draft whose size is {len(data)}", lambda: draft.size)  # noqa: B023
        subject.expect(name not in listed(subject, store), "draft", "no name before the draft is put", name)
        subject.call("put", "a draft to be stored", lambda: store.put(name, draft))  # noqa: B023
        draft.discard()
        draft.discard()
        expect_content(subject, store, name, data, "put")
    again = store.draft()
    again.write(b"second")
    subject.raises(FileExistsError, "put", "for a draft where the name is taken", lambda: store.put("small", again))
    again.discard()
    replacing = store.draft()
    replacing.reserve(6)
    replacing.write(b"second")
    subject.call("put", "a draft to replace", lambda: store.put("small", replacing, replace=True))
    replacing.discard()
    expect_content(subject, store, "small", b"second", "put")
    forgotten = store.draft()
    forgotten.write(b"x" * 2_000_000)
    forgotten.discard()
    found = sorted(listed(subject, store))
    subject.expect(found == ["large", "none", "small"], "draft", "nothing left of a draft that is discarded", found)


def check_put_many(store: Store, subject: Subject) -> None:
    """Store batches, durable or not."""
    store.put("b", b"theirs")
    for durable in (False, True):
        end = "-durable" if durable else ""
        draft = store.draft()
        draft.write(b"draft")
        puts = [Put("a" + end, b"1"), Put("b", b"2"), Put("c" + end, draft), Put("b", b"3" + end.encode(), True)]
        subject.call("hold", "None", store.hold)
        given: list[Exception | None] = []
        outcome = "an outcome for each put, FileExistsError for a taken name and None for the others"
        found = subject.made(list, "put_many", outcome, lambda: store.put_many(puts, given, durable=durable))  # noqa: B023
        subject.call("release", "None", store.release)
        told = [each if each is None else isinstance(each, FileExistsError) for each in found]
        subject.expect(told == [None, True, None, None], "put_many", outcome, found)
        subject.expect(given == found, "put_many", "the list outcomes to be filled", given)
        for name, data in (("a" + end, b"1"), ("b", b"3" + end.encode()), ("c" + end, b"draft")):
            expect_content(subject, store, name, data, "put_many")
    size = subject.call("group_size", "an int", store.group_size)
    subject.expect(type(size) is int and size > 0, "group_size", "a positive int", size)


def check_state(store: Store, subject: Subject) -> None:
    """Put where the store has to be as it was."""
    after = subject.call("put_if", "None or a state", lambda: store.put_if("a", b"1", None))
    subject.expect(after is not CHANGED, "put_if", "content to be stored where any state is expected", after)
    expect_content(subject, store, "a", b"1", "put_if")
    subject.raises(FileExistsError, "put_if", "for a taken name", lambda: store.put_if("a", b"2", None))
    state = subject.call("state", "None or a state", store.state)
    if state is None:
        return
    subject.gives(True, "state", "an unchanged state while nothing changes", lambda: state.is_unchanged(store.state()))
    after = subject.call("put_if", "content to be stored in the expected state", lambda: store.put_if("b", b"2", state))
    subject.expect(after is not CHANGED, "put_if", "content to be stored in the expected state", after)
    expect_content(subject, store, "b", b"2", "put_if")
    again = subject.call("put_if", "the next to be stored too", lambda: store.put_if("c", b"3", after))
    subject.expect(again is not CHANGED, "put_if", "content to be stored in the state that it returned", again)
    store.put("theirs", b"4")
    if again is not None and store.state() is not None:
        changed = not again.is_unchanged(store.state())
        subject.expect(changed, "state", "a changed state after others have saved", again)
        subject.gives(CHANGED, "put_if", "CHANGED where others have saved", lambda: store.put_if("d", b"5", again))
        subject.expect("d" not in listed(subject, store), "put_if", "nothing to be stored where CHANGED", "it is there")


def check_race(store: Store, subject: Subject) -> None:
    """Of threads that put the same new name, exactly one wins; readers see whole content only."""
    for each in range(_ROUNDS):
        name = f"race-{each}"
        lost = run_threads(partial(_error_of_put, store, name, threading.Barrier(WRITERS)))
        won = [writer for writer, error in enumerate(lost) if error is None]
        subject.expect(len(won) == 1, "put", f"one of {WRITERS} threads to win a new name", f"{len(won)} winners")
        others = [error for error in lost if not isinstance(error, (FileExistsError, type(None)))]
        subject.expect(not others, "put", "FileExistsError for the threads that lose a race", others[:1])
        expect_content(subject, store, name, b"%d" % won[0] * 1000, "put")


def _error_of_put(store: Store, name: str, barrier: threading.Barrier, writer: int) -> Exception | None:
    barrier.wait()
    try:
        store.put(name, b"%d" % writer * 1000)
    except Exception as error:
        return error
    return None
