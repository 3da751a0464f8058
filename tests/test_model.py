"""Any sequence of saves, deletions and searches gives the same in all stores as in a dict from keys to results."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from neuralib.persistence import (
    GzipHandler,
    NameTakenError,
    PickleHandler,
    autoinc_field,
    field,
    missing,
    persistence_class,
)
from neuralib.persistence._naming.order import natural
from neuralib.persistence._stores.base import highest_in
from neuralib.persistence.stores import ArchiveStore, FolderStore, MemoryStore, ObjectStore


@persistence_class
class Trial:
    """Keys may hold the splitter, prefixes of each other and wildcards of shells, and may have the same text as other values."""

    a: str = field(validator=True, filename=True)
    b: int | str | None = field(validator=True, filename_prefix="b", filename=True)
    note: str = field(default="")
    run: int = autoinc_field("#")
    data: int


A = st.sampled_from(["a", "a-b", "a-bx", "", "-", "*", "a[b]", "10", "9", "é", "None"])
B = st.sampled_from([0, 2, 10, "2", "x", "x-#0", "b", None, "None", "-bx"])
NOTE = st.sampled_from(["", "good", "bad"])
NUMBER = st.integers(0, 3)


def places(root):
    """Return a folder, an archive, memory, and a bucket if obstore is installed."""
    found = [FolderStore(root / "results"), ArchiveStore(root / "results.sqlar"), MemoryStore()]
    try:
        from obstore.store import MemoryStore as Bucket
    except ImportError:
        return found
    return [*found, ObjectStore(Bucket())]


class Places(RuleBasedStateMachine):
    """The same is done in a folder, an archive, a bucket and memory, and to a dict, with which all have to agree.

    The dict has, for each name, the keys and data of the result that has it.
    """

    @initialize(kind=st.sampled_from([PickleHandler, GzipHandler]))
    def begin(self, kind):
        self.root = Path(tempfile.mkdtemp())
        self.handlers = [kind(Trial, place) for place in places(self.root)]
        self.suffix = kind.suffix
        self.model: dict[str, tuple[str, int | str | None, int, str, int]] = {}
        self.saves = 0

    def teardown(self):
        if hasattr(self, "root"):
            for handler in self.handlers:
                if isinstance(handler.store, ArchiveStore):
                    handler.store.close()
            shutil.rmtree(self.root)

    def made(self, a, b, note, run=None):
        """Return one result for each place."""
        self.saves += 1
        results = [Trial(a, b, note) for _ in self.handlers]
        for result in results:
            result.run, result.data = run, self.saves
        return zip(self.handlers, results, strict=True), results[0]

    def note(self, result):
        self.model[f"cache-Trial-{result.a}-b{result.b}-#{result.run}{self.suffix}"] = (
            result.a,
            result.b,
            result.run,
            result.note,
            result.data,
        )

    def next_number(self, a, b):
        head = f"cache-Trial-{a}-b{b}-#"
        numbers = [
            int(name[len(head) : -len(self.suffix)])
            for name in self.model
            if name.startswith(head) and name[len(head) : -len(self.suffix)].isdecimal()
        ]
        return max(numbers, default=-1) + 1

    @rule(a=A, b=B, note=NOTE, count=st.integers(1, 3))
    def save_numbered(self, a, b, note, count):
        """Each number is the highest of that text, whichever keys gave it, plus one."""
        for _ in range(count):
            number = self.next_number(a, b)
            made, first = self.made(a, b, note)
            for handler, result in made:
                assert handler.save_persistence(result).run == number
            self.note(first)

    @rule(a=A, b=st.lists(B, max_size=4, unique_by=str), note=NOTE, in_block=st.booleans())
    def save_batch(self, a, b, note, in_block):
        """As many saves one after the other."""
        numbers = [self.next_number(a, key) for key in b]
        made = [[result for _, result in self.made(a, key, note)[0]] for key in b]
        for place, handler in enumerate(self.handlers):
            results = [pairs[place] for pairs in made]
            if in_block:
                with handler.batch():
                    for result in results:
                        handler.save_persistence(result)
            else:
                assert handler.save_all(results) == len(b)
            assert [result.run for result in results] == numbers
        for first, *_ in made:
            self.note(first)

    @rule(a=A, b=B, note=NOTE, run=NUMBER)
    def save(self, a, b, note, run):
        """A result of the same keys is replaced, of others refused."""
        there = self.model.get(f"cache-Trial-{a}-b{b}-#{run}{self.suffix}")
        made, first = self.made(a, b, note, run)
        is_same = there is None or (there[0], there[1], there[2]) == (a, b, run)
        for handler, result in made:
            if is_same:
                handler.save_persistence(result)
            else:
                with pytest.raises(NameTakenError):
                    handler.save_persistence(result)
        if is_same:
            self.note(first)

    @rule(a=A, data=st.data())
    def delete(self, a, data):
        """What was found, and nothing else."""
        run = data.draw(st.sampled_from([missing, {0, 2}, 1]))
        names = set()
        for handler in self.handlers:
            found = handler.find(a=a, run=run)
            names = {hit.name for hit in found}
            assert {hit.name for hit in found.delete()} == names
            assert {hit.name for hit in found.delete(dry_run=False)} == names
        self.forget_numbers()
        for name in names:
            assert self.model.pop(name)[0] == a

    @rule(data=st.data())
    def delete_by_hand(self, data):
        """As people do."""
        if self.model:
            name = data.draw(st.sampled_from(sorted(self.model)))
            for handler in self.handlers:
                handler.store.delete(name)
            self.forget_numbers()
            del self.model[name]

    def forget_numbers(self):
        """Give later numbers by new handlers of buckets: they remember numbers, also of what was deleted."""
        self.handlers = [
            type(each)(Trial, each.store) if isinstance(each.store, ObjectStore) else each for each in self.handlers
        ]

    def check(self, find, expected):
        """Compare what *find* finds with a handler of each place with what the dict says."""
        names = {name for name, keys in self.model.items() if expected(*keys[:4])}
        for handler in self.handlers:
            found = find(handler)
            assert {hit.name for hit in found} == names
            assert len(found) == len(names)
            for hit in found:
                a, b, run, note, data = self.model[hit.name]
                assert (hit.keys["a"], hit.keys["b"], hit.keys["run"]) == (a, b, run)
                assert type(hit.keys["b"]) is type(b)
                result = hit.load()
                assert (result.a, result.b, result.run, result.note, result.data) == (a, b, run, note, data)

    @rule(a=A, b=B, run=NUMBER)
    def find_values(self, a, b, run):
        """By their texts, as names have them."""
        self.check(lambda handler: handler.find(a=a), lambda a_, b_, run_, note: a_ == a)
        self.check(lambda handler: handler.find(b=b), lambda a_, b_, run_, note: str(b_) == str(b))
        self.check(lambda handler: handler.find(Trial(a, b)), lambda a_, b_, run_, note: (a_, str(b_)) == (a, str(b)))
        self.check(
            lambda handler: handler.find(a=a, b=b, run=run),
            lambda a_, b_, run_, note: (a_, str(b_), run_) == (a, str(b), run),
        )

    @rule(some=st.sets(A), others=st.lists(B), run=NUMBER, note=NOTE)
    def find_more(self, some, others, run, note):
        """Collections, functions, keys that are not in the name, all at once and one after the other."""
        texts = {str(value) for value in others}
        self.check(lambda handler: handler.find(a=some, b=others), lambda a, b, n, note_: a in some and str(b) in texts)
        self.check(lambda handler: handler.find(run=lambda number: number > run), lambda a, b, n, note_: n > run)
        self.check(
            lambda handler: handler.find(b=lambda value: isinstance(value, int)),
            lambda a, b, n, note_: isinstance(b, int),
        )
        self.check(lambda handler: handler.find(note=note), lambda a, b, n, note_: note_ == note)
        self.check(
            lambda handler: handler.find(note=note).filter(a=some).filter(lambda hit: hit.keys["run"] != run),
            lambda a, b, n, note_: note_ == note and a in some and n != run,
        )

    @invariant()
    def latest(self):
        """The highest number of each combination of the other keys."""
        if not hasattr(self, "model"):
            return
        highest: dict[tuple[str, str], int] = {}
        for a, b, run, _, _ in self.model.values():
            highest[a, str(b)] = max(run, highest.get((a, str(b)), -1))
        self.check(lambda handler: handler.find().latest(), lambda a, b, run, note: run == highest[a, str(b)])

    @rule(a=st.sets(A, min_size=1), b=st.sets(st.sampled_from([0, 10, "x"]), min_size=1), repeat=st.integers(0, 3))
    def todo(self, a, b, repeat):
        """As many as are missing."""
        grid = {"a": sorted(a), "b": sorted(b, key=str)}
        there = [(a_, str(b_)) for a_, b_, _, _, _ in self.model.values()]
        for handler in self.handlers:
            todo = [(result.a, result.b) for result in handler.todo(grid, repeat=repeat)]
            for x in a:
                for y in b:
                    assert todo.count((x, y)) == max(0, repeat - there.count((x, str(y))))

    @invariant()
    def everything_is_found(self):
        """In the order of the keys, where each name can be read in one way only."""
        if not hasattr(self, "model"):
            return
        self.check(lambda handler: handler.find(), lambda *keys: True)
        for handler in self.handlers:
            found = handler.find()
            assert [hit.name for hit in found] == [hit.name for hit in self.handlers[0].find()]
            assert found.to_columns("data")["data"] == [self.model[hit.name][4] for hit in found]
            plain = [hit for hit in found if not found._state[0].table.doubtful(hit._row)]
            keys = [self.model[hit.name][:3] for hit in plain]
            assert keys == sorted(keys, key=lambda values: (natural(values[0]), natural(str(values[1])), values[2]))
            assert {path.name for path, _ in handler.load_all(a=missing, b=missing)} == set(self.model)


DIGITS = st.one_of(
    st.integers(0, 10**25).map(str),
    st.sampled_from(["9" * 17, "9" * 18, "1" + "0" * 18, "9" * 19, "", "007", "-1", "1e3", "٣", "1 "]),
)


@settings(max_examples=30, deadline=None)
@given(digits=st.sets(DIGITS, max_size=6))
def test_the_highest_number_is_the_same_in_all_stores(tmp_path_factory, digits):
    """Numbers of up to 18 digits count, in whichever store; a number that the user gave may have more."""
    root = tmp_path_factory.mktemp("numbers")
    numbers = [int(text) for text in digits if text.isascii() and text.isdecimal() and len(text) <= 18]
    highest = max([number for number in numbers if str(number) in digits], default=-1)
    for store in places(root):
        for text in digits:
            store.put(f"cache-Trial-a-bb-#{text}.pkl", b"")
        assert store.highest("cache-Trial-a-bb-#", ".pkl") == highest
        assert store.highest_among("cache-Trial-a-bb-#", (".pkl.gz", ".pkl")) == highest
        assert highest_in(store.names(), "cache-Trial-a-bb-#", ".pkl") == highest


def test_a_number_of_many_digits_does_not_count_for_the_next_one(tmp_path):
    """Neither for the handler that saved it, nor for another one."""
    for store in places(tmp_path):
        handler = PickleHandler(Trial, store)
        for given_number, expected in ((None, 0), (10**18, 10**18), (None, 1), (10**40, 10**40), (None, 2)):
            result = Trial("a", "b")
            result.run, result.data = given_number, 1
            assert handler.save_persistence(result).run == expected
        other = Trial("a", "b")
        other.data = 2
        assert PickleHandler(Trial, store).save_persistence(other).run == 3
        assert sorted(hit.keys["run"] for hit in handler.find()) == [0, 1, 2, 3, 10**18, 10**40]


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=2, stateful_step_count=8)  # more in tests/stress
