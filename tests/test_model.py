"""Whatever is saved, deleted and asked for, in whatever order: the folder answers as a dict of keys to results would."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings, strategies as st
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
from neuralib.persistence._finding.listing import natural


@persistence_class
class Trial:
    """Keys whose texts hold the splitter, prefixes of each other, wildcards of shells; and values of one text."""

    a: str = field(validator=True, filename=True)
    b: int | str | None = field(validator=True, filename_prefix="b", filename=True)
    note: str = field(default="")
    run: int = autoinc_field("#")
    data: int


A = st.sampled_from(["a", "a-b", "a-bx", "", "-", "*", "a[b]", "10", "9", "é", "None"])
B = st.sampled_from([0, 2, 10, "2", "x", "x-#0", "b", None, "None", "-bx"])
NOTE = st.sampled_from(["", "good", "bad"])
NUMBER = st.integers(0, 3)


class Folder(RuleBasedStateMachine):
    """The model: for each name, the keys and data of the result that has it."""

    @initialize(kind=st.sampled_from([PickleHandler, GzipHandler]))
    def begin(self, kind):
        self.root = Path(tempfile.mkdtemp())
        self.handler = kind(Trial, self.root / "results")
        self.suffix = kind.suffix
        self.model: dict[str, tuple[str, int | str | None, int, str, int]] = {}
        self.saves = 0

    def teardown(self):
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def made(self, a, b, note, run=None):
        self.saves += 1
        result = Trial(a, b, note)
        result.run, result.data = run, self.saves
        return result

    def note(self, result):
        self.model[f"cache-Trial-{result.a}-b{result.b}-#{result.run}{self.suffix}"] = (
            result.a,
            result.b,
            result.run,
            result.note,
            result.data,
        )

    @rule(a=A, b=B, note=NOTE, count=st.integers(1, 3))
    def save_numbered(self, a, b, note, count):
        """Each number is the highest of that text, whichever keys gave it, plus one."""
        for _ in range(count):
            self.save_with_next_number(a, b, note)

    def save_with_next_number(self, a, b, note):
        head = f"cache-Trial-{a}-b{b}-#"
        numbers = [
            int(it[len(head) : -len(self.suffix)])
            for it in self.model
            if it.startswith(head) and it[len(head) : -len(self.suffix)].isdecimal()
        ]
        result = self.handler.save_persistence(self.made(a, b, note))
        assert result.run == max(numbers, default=-1) + 1
        self.note(result)

    @rule(a=A, b=B, note=NOTE, run=NUMBER)
    def save(self, a, b, note, run):
        """A result of the same keys is replaced, of others refused."""
        there = self.model.get(f"cache-Trial-{a}-b{b}-#{run}{self.suffix}")
        result = self.made(a, b, note, run)
        if there is None or (there[0], there[1], there[2]) == (a, b, run):
            self.handler.save_persistence(result)
            self.note(result)
        else:
            with pytest.raises(NameTakenError):
                self.handler.save_persistence(result)

    @rule(a=A, data=st.data())
    def delete(self, a, data):
        """What was found, and nothing else."""
        found = self.handler.find(a=a, run=data.draw(st.sampled_from([missing, {0, 2}, 1])))
        names = {it.name for it in found}
        assert {it.name for it in found.delete()} == names
        assert {it.name for it in found.delete(dry_run=False)} == names
        for it in names:
            assert self.model.pop(it)[0] == a

    @rule(data=st.data())
    def delete_by_hand(self, data):
        """As people do."""
        if self.model:
            name = data.draw(st.sampled_from(sorted(self.model)))
            (self.root / "results" / name).unlink()
            del self.model[name]

    def check(self, found, expected):
        names = {name for name, keys in self.model.items() if expected(*keys[:4])}
        assert {it.name for it in found} == names
        assert len(found) == len(names)
        for hit in found:
            a, b, run, note, data = self.model[hit.name]
            assert (hit.keys["a"], hit.keys["b"], hit.keys["run"]) == (a, b, run)
            assert type(hit.keys["b"]) is type(b)
            result = hit.load()
            assert (result.a, result.b, result.run, result.note, result.data) == (a, b, run, note, data)

    @rule(a=A, b=B)
    def find_values(self, a, b):
        """By their texts, as names have them."""
        self.check(self.handler.find(a=a), lambda a_, b_, run, note: a_ == a)
        self.check(self.handler.find(b=b), lambda a_, b_, run, note: str(b_) == str(b))
        self.check(self.handler.find(Trial(a, b)), lambda a_, b_, run, note: (a_, str(b_)) == (a, str(b)))

    @rule(some=st.sets(A), others=st.lists(B), run=NUMBER, note=NOTE)
    def find_more(self, some, others, run, note):
        """Collections, functions, keys that are not in the name, all at once and one after the other."""
        texts = {str(it) for it in others}
        self.check(self.handler.find(a=some, b=others), lambda a, b, n, note_: a in some and str(b) in texts)
        self.check(self.handler.find(run=lambda it: it > run), lambda a, b, n, note_: n > run)
        self.check(self.handler.find(b=lambda it: isinstance(it, int)), lambda a, b, n, note_: isinstance(b, int))
        self.check(self.handler.find(note=note), lambda a, b, n, note_: note_ == note)
        self.check(
            self.handler.find(note=note).filter(a=some).filter(lambda hit: hit.keys["run"] != run),
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
        self.check(self.handler.find().latest(), lambda a, b, run, note: run == highest[a, str(b)])

    @rule(a=st.sets(A, min_size=1), b=st.sets(st.sampled_from([0, 10, "x"]), min_size=1), repeat=st.integers(0, 3))
    def todo(self, a, b, repeat):
        """As many as are missing."""
        todo = [(it.a, it.b) for it in self.handler.todo({"a": sorted(a), "b": sorted(b, key=str)}, repeat=repeat)]
        there = [(a_, str(b_)) for a_, b_, _, _, _ in self.model.values()]
        for x in a:
            for y in b:
                assert todo.count((x, y)) == max(0, repeat - there.count((x, str(y))))

    @invariant()
    def everything_is_found(self):
        """In the order of the keys, where each name can be read in one way only."""
        if not hasattr(self, "model"):
            return
        found = self.handler.find()
        self.check(found, lambda *keys: True)
        assert found.to_columns("data")["data"] == [self.model[it.name][4] for it in found]
        plain = [hit for hit in found if not found._state[0].table.doubtful(hit._row)]
        keys = [self.model[it.name][:3] for it in plain]
        assert keys == sorted(keys, key=lambda it: (natural(it[0]), natural(str(it[1])), it[2]))
        assert {path.name for path, _ in self.handler.load_all(a=missing, b=missing)} == set(self.model)


TestFolder = Folder.TestCase
TestFolder.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
