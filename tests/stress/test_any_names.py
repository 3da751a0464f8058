"""Whatever the keys are, no result is lost, nothing is written elsewhere, and each result is found by its keys."""

from __future__ import annotations

import datetime
import enum
import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import Pair, Run, filled
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from neuralib.persistence import (
    GzipHandler,
    NameTakenError,
    PickleHandler,
    UnsafeNameError,
    autoinc_field,
    field,
    missing,
    persistence_class,
)
from neuralib.persistence._classes import name_texts
from neuralib.persistence._equality import same_value
from neuralib.persistence._stores import system
from neuralib.persistence._stores.folder import FolderStore


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue-2"


class Level(enum.IntEnum):
    LOW = 1


@persistence_class
class Three:
    a: Any = field(filename=True)
    b: Any = field(filename=True, filename_prefix="b_")
    c: Any = field(filename=lambda value: None if value is None else f"c{value}")
    unseen: Any = field(default=0)
    data: Any


@persistence_class(name="x", filename_field_splitter="_")
class Numbered:
    a: Any = field(filename=True)
    n: int = autoinc_field("#")
    b: Any = field(filename=True)
    data: Any


AWKWARD = [
    "", " ", ".", "..", "...", "-", "--", "a-b", "a", "A", "b_", "cNone", "*", "?", "[a]", "[!a]", "{a,b}", "~", "$HOME",
    "a\n", "\t", "\x7f", "\x01", "'", '"', "\\", "a\\b", "|", "<", ">", ":", "CON", "nul", "COM1", "a.", "a ", "é", "e\u0301",
    "\u212b", "\xc5", "ß", "ẞ", "İ", "ı", "ﬁ", "\u200b", "\u202e", "\ufdd0", "\ufffe", "\udc80", "\udcc3\udca9", "\ud800",
    "a/b", "/", "../x", "/etc/x", "\0", "a\0b", "x" * 120, "x" * 300, "é" * 130, ".pkl", "cache-Three-a", "#1", "0", "00", "-1",
    "None", "True", "1", "1.0", "nan", "😀", "日本", "%2F", "%", "-a", "a--b",
]  # fmt: skip
texts = st.sampled_from(AWKWARD) | st.text(max_size=6) | st.text(alphabet="ab-_#*.", max_size=4)
keys = st.one_of(
    texts,
    st.integers(-3, 3),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(),
    st.sampled_from([*Colour, *Level, np.int64(1), np.float32(0.5), np.bool_(True), np.str_("a"), Decimal("1.0")]),
    st.dates(),
    st.datetimes(max_value=datetime.datetime(2030, 1, 1)),
    st.builds(Path, st.sampled_from(["a", "a.b", "a/b", "/", "."])),
    st.binary(max_size=4),
    st.tuples(st.integers(0, 2), st.sampled_from(["a", "b-c"])),
    st.builds(lambda elements: np.array(elements), st.lists(st.integers(0, 2), max_size=3)),
)
few_keys = st.sampled_from(
    ["a", "b", "a-b", "A", "b_", "-", "", "é", "e\u0301", "*", 1, "1", 1.0, None, "None", True, Colour.BLUE]
)


class Model:
    """What a folder should hold: each result that was saved, by its keys."""

    def __init__(self, handler):
        self.handler = handler
        self.names = [declared.field_name for declared in handler.persistence_info.named_fields]
        self.kept: list[Any] = []

    def keys(self, result):
        return [getattr(result, name) for name in self.names]

    def find(self, result):
        """Return the index of the result with the same keys in the name, or None."""
        mine = self.keys(result)
        return next((n for n, candidate in enumerate(self.kept) if same_keys(self.keys(candidate), mine)), None)

    def save(self, result):
        """Save *result* in the folder and in the model; return whether the folder refused it."""
        before = self.find(result)
        try:
            self.handler.save_persistence(result)
        except UnsafeNameError:
            assert before is None
            assert unsafe(self.handler, result)
            return True
        except NameTakenError:
            # Allowed only if a result with other keys has this file name.
            assert before is None
            name = self.handler.filename(result)
            assert any(same_file(self.handler.filename(kept), name) for kept in self.kept)
            return True
        if before is None:
            self.kept.append(result)
        else:
            self.kept[before] = result
        return False

    def matching(self, template):
        """Return the data of the results that match *template*, in which ``missing`` matches any value."""
        wanted = {name: template[name] for name in self.names if template[name] is not missing}
        return sorted(
            result.data
            for result in self.kept
            if all(shows_as(self.handler, result, name, value) for name, value in wanted.items())
        )


def same_keys(mine, theirs):
    """Return whether these are the keys of one result: their values are equal, and so are their texts. Accents count as composed."""
    return all(
        same_value(*(composed(key) if isinstance(key, str) else key for key in (x, y))) and composed(x) == composed(y)
        for x, y in zip(mine, theirs, strict=True)
    )


def shows_as(handler, result, name, value):
    """Return whether the key *name* of *result* has the same text as *value*: templates are compared by text."""
    declared = handler.persistence_info.get_field(name)
    found = getattr(result, name)
    if callable(declared.filename):
        found, value = declared.filename(found), declared.filename(value)
        if found is None or value is None:
            return found is value
    return composed(found) == composed(value)


def composed(value):
    return unicodedata.normalize("NFC", str(value))


FOLDS = False


def same_file(a, b):
    if FOLDS:
        return unicodedata.normalize("NFC", a).casefold() == unicodedata.normalize("NFC", b).casefold()
    return a == b


def unsafe(handler, result):
    """Return whether a key of *result* can't be in a file name, by a rule of this package."""
    if isinstance(result.a, np.ndarray) or isinstance(result.b, np.ndarray):
        return True
    c = "" if result.c is None else composed(f"c{result.c}")
    whole = "-".join(["cache-Three", composed(result.a), f"b_{composed(result.b)}", c, ".pkl"])
    try:
        data = whole.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return True
    return "/" in whole or "\0" in whole or len(data) > 250 or data.decode("utf-8", "surrogateescape") != whole


@pytest.fixture
def root():
    """A folder within a folder, so that files written outside of it are seen; new for each example."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


@given(st.lists(st.tuples(keys, keys, st.none() | keys), max_size=8), st.data())
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_no_keys_lose_a_result(saved, data):
    """Each saved result is found by its keys, alone and among all. Each other one was refused."""
    with tempfile.TemporaryDirectory() as outer:
        handler = PickleHandler(Three, Path(outer) / "in" / "root")
        model = Model(handler)
        for n, (a, b, c) in enumerate(saved):
            model.save(filled(Three(a, b, c), data=n))
        check_folder(Path(outer), model)
        for kept in model.kept:
            assert handler.load_persistence(Three(kept.a, kept.b, kept.c)).data == kept.data
            assert [found.data for _, found in handler.load_all(Three(kept.a, kept.b, kept.c))] == [kept.data]
        if model.kept:
            one = data.draw(st.sampled_from(model.kept))
            for wild in ("a", "b", "c", "ab", "ac", "bc"):
                template = {name: missing if name in wild else getattr(one, name) for name in "abc"}
                found = [result.data for _, result in handler.load_all(**template)]
                assert sorted(found) == model.matching(template)


def check_folder(outer, model):
    """Check that there is nothing but the results, each under the name that its keys give."""
    files = [path for path in outer.rglob("*") if not path.is_dir()]
    root = model.handler.save_root
    assert {path.parent for path in files} <= {root}
    assert sorted(path.name for path in files) == sorted(model.handler.filename(result) for result in model.kept)
    everything = dict.fromkeys(model.names, missing)
    found = sorted(result.data for _, result in model.handler.load_all(**everything))
    assert found == sorted(result.data for result in model.kept)
    assert [check.problem for check in model.handler.verify()] == [None] * len(model.kept)


@given(st.lists(st.tuples(keys, keys), min_size=1, max_size=6))
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_numbers_belong_to_their_keys(saved):
    """Numbers stay apart also if keys hold texts that look like a number, the splitter, or the placeholder of a wildcard."""
    with tempfile.TemporaryDirectory() as folder:
        handler = PickleHandler(Numbered, folder)
        series: list[tuple[Any, Any, list[int]]] = []
        for n, (a, b) in enumerate(saved + saved):
            result = filled(Numbered(a=a, b=b), data=n)
            try:
                handler.save_persistence(result)
            except UnsafeNameError:
                assert result.n is None
                continue
            for x, y, numbers in series:
                if same_keys([x, y], [a, b]):
                    assert result.n > numbers[-1]
                    numbers.append(result.n)
                    break
            else:
                series.append((a, b, [result.n]))
            assert handler.load_persistence(result).data == n
        for x, y, numbers in series:
            found = [loaded for _, loaded in handler.load_all(Numbered(a=x, b=y))]
            mine = [loaded.n for loaded in found if same_keys([loaded.a, loaded.b], [x, y])]
            assert mine == numbers
        assert len(os.listdir(folder)) == sum(len(one_series[2]) for one_series in series)


class Folder(RuleBasedStateMachine):
    """Saves, loads, finds and deletes in any order, and does the same to a plain list."""

    results = Bundle("results")

    @initialize(kind=st.sampled_from([PickleHandler, GzipHandler]))
    def begin(self, kind):
        self.outer = Path(tempfile.mkdtemp())
        self.model = Model(kind(Three, self.outer / "root"))
        self.handlers = [self.model.handler, kind(Three, self.outer / "root")]
        self.count = 0

    def teardown(self):
        shutil.rmtree(self.outer)

    @rule(target=results, a=few_keys, b=few_keys, c=few_keys, unseen=st.integers(0, 1))
    def save(self, a, b, c, unseen):
        self.count += 1
        self.model.handler = self.handlers[self.count % 2]
        result = filled(Three(a, b, c, unseen), data=self.count)
        self.model.save(result)
        return result

    @rule(result=results)
    def load(self, result):
        at = self.model.find(result)
        try:
            found = self.model.handler.load_persistence(Three(result.a, result.b, result.c))
        except FileNotFoundError:
            assert at is None
            return
        same = [
            kept for kept in self.model.kept if self.model.handler.filename(kept) == self.model.handler.filename(result)
        ]
        assert [kept.data for kept in same] == [found.data]
        assert all(shows_as(self.model.handler, found, name, getattr(result, name)) for name in "abc")

    @rule(result=results, wild=st.sets(st.sampled_from("abc")))
    def find(self, result, wild):
        template = {name: missing if name in wild else getattr(result, name) for name in "abc"}
        found = [loaded.data for _, loaded in self.model.handler.load_all(**template)]
        assert sorted(found) == self.model.matching(template)

    @rule(result=consumes(results))
    def delete(self, result):
        at = self.model.find(result)
        if at is not None:
            self.model.handler.filepath(self.model.kept.pop(at)).unlink()

    @rule(result=results, unseen=st.integers(2, 3))
    def replace(self, result, unseen):
        self.count += 1
        self.model.save(filled(Three(result.a, result.b, result.c, unseen), data=self.count))

    @invariant()
    def holds_what_the_model_holds(self):
        if hasattr(self, "model"):
            check_folder(self.outer, self.model)


def test_any_sequence_of_operations_agrees_with_the_model(long):
    """Saves, loads, searches with wildcards, replacements, deletions."""
    run_state_machine_as_test(
        Folder,
        settings=settings(
            max_examples=400 if long else 25,
            stateful_step_count=60 if long else 25,
            suppress_health_check=list(HealthCheck),
            deadline=None,
        ),
    )


# ------------------------------------------------------------------------------------------ other systems


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(name_texts, "_WINDOWS", True)
    monkeypatch.setattr("neuralib.persistence._core.is_plain_name", lambda _: False)  # as on Windows


@pytest.mark.parametrize("text", ["<", ">", ":", '"', "\\", "|", "?", "*", "\n", "\x00", "/", "a\\..\\b", "x" * 250])
def test_what_windows_refuses_in_a_name(windows, text):
    """The error names the key."""
    with pytest.raises(UnsafeNameError, match=r"Pair\.b"):
        PickleHandler(Pair, "x").filename(Pair(1, text))


@pytest.mark.parametrize(
    "name", ["CON", "con", "NUL", "PRN", "aux", "COM1", "LPT9", "COM¹", "CONIN$", "con.txt", "nul .x"]
)
def test_what_windows_takes_for_a_device(windows, name):
    """With any extension."""
    assert "Windows" in name_texts.problem_of_whole(name)
    assert name_texts.problem_of_whole(f"cache-{name}.pkl") is None


@pytest.mark.parametrize("ending", [".", " "])
def test_what_windows_cuts_off_a_name(windows, ending):
    """Otherwise two names would be one file."""
    handler = PickleHandler(Pair, "x", "")
    with pytest.raises(UnsafeNameError, match=r"Pair\.b.*Windows"):
        handler.filename(Pair(1, f"a{ending}"))
    assert handler.filename(Pair(1, f"a{ending}b")) == f"cache-Pair-1-a{ending}b"


def test_wildcards_are_no_names_on_windows(windows, tmp_path):
    """A result with a wildcard can't be saved there, but a template may have one. An emoji counts as two characters there."""
    handler = PickleHandler(Pair, tmp_path)
    assert handler.filename(Pair(missing, 1)) == "cache-Pair-*-1.pkl"
    assert len(handler.filename(Pair(1, "é" * 200))) == 217
    with pytest.raises(UnsafeNameError):
        handler.filename(Pair(1, "😀" * 120))


def test_names_that_would_come_back_as_others_are_refused(tmp_path):
    """Lone surrogates stand for bytes that are no UTF-8. Some sequences of them would be listed as other text."""
    if sys.getfilesystemencoding() != "utf-8" or sys.platform in {"darwin", "win32"}:
        pytest.skip("bytes are no names here")
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair("\udc80", "é"), data=1))
    assert [loaded.data for _, loaded in handler.load_all(a=missing, b="é")] == [1]
    with pytest.raises(UnsafeNameError, match=r"Pair\.a.*read back"):
        handler.save_persistence(filled(Pair("\udcc3\udca9", "é"), data=2))


# ------------------------------------------------------------------------------------------ mounts


def run_or_skip(*command):
    """Run *command* and return what it prints; skip the test if it fails."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]}: {(done.stderr or done.stdout).strip()[:80]}")
    return done.stdout.strip()


# The commands that make and mount a file system: FAT in the kernel, exFAT in user space, ext4 that ignores case.
FOLDING = {
    "vfat": (["mkfs.vfat"], ["mount", "-t", "vfat", "-o", "iocharset=utf8"]),
    "exfat": (["mkfs.exfat"], ["mount.exfat-fuse"]),
    "casefold": (["mkfs.ext4", "-q", "-O", "casefold", "-E", "encoding=utf8"], ["mount"]),
}


@pytest.fixture(params=FOLDING)
def folding(request, tmp_path):
    """A folder on a file system where 'a' and 'A' are one name."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root on Linux")
    make, mount = FOLDING[request.param]
    image, folder = tmp_path / "image", tmp_path / "mount"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    run_or_skip(*make, str(image))
    device = run_or_skip("losetup", "-f", "--show", str(image))
    try:
        run_or_skip(*mount, device, str(folder))
        try:
            inner = folder / "results"
            inner.mkdir()
            if request.param == "casefold":
                run_or_skip("chattr", "+F", str(inner))
            yield inner
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_results_stay_apart_if_the_system_ignores_case(folding):
    """'a' never replaces 'A', and is never loaded for it; numbering works."""
    check_folded(folding)


def check_folded(folder):
    handler = PickleHandler(Pair, folder)
    handler.save_persistence(filled(Pair("a", 1), data="small"))
    with pytest.raises(NameTakenError, match="a='A', b=1"):
        handler.save_persistence(filled(Pair("A", 1), data="large"))
    with pytest.raises(FileNotFoundError):
        handler.load_persistence(Pair("A", 1))
    assert list(handler.load_all(Pair("A", 1))) == []
    assert [loaded.data for _, loaded in handler.load_all(a=missing, b=1)] == ["small"]
    handler.save_persistence(filled(Pair("a", 1), data="again"))
    assert handler.load_persistence(Pair("a", 1)).data == "again"
    runs = PickleHandler(Run, folder)
    numbers = [runs.save_persistence(filled(Run(animal), data=n)).version for n, animal in enumerate("aAaAAa")]
    assert len(set(numbers)) == 6
    for n, (animal, number) in enumerate(zip("aAaAAa", numbers, strict=True)):
        assert runs.load_persistence(Run(animal, number)).data == n
    assert runs.save_all(filled(Run(animal), data=1) for animal in "AaA") == 3
    assert sum(1 for _ in runs.load_all(animal=missing)) == 9
    assert [check.problem for check in runs.verify()] == [None] * 9


def test_results_stay_apart_if_a_store_ignores_case(tmp_path, monkeypatch):
    """Simulated, for machines without such a file system: the folder compares names in lower case."""
    pytest.importorskip("fcntl")
    plain = tmp_path / "plain"
    plain.mkdir()
    monkeypatch.setattr(system, "publish_whole", folded_publish)
    monkeypatch.setattr(Folded, "names_given", {})
    monkeypatch.setattr(Folded, "refused", [])
    handler = PickleHandler(Run, Folded(plain))
    numbers = [handler.save_persistence(filled(Run(animal), data=animal)).version for animal in "aAAa"]
    assert len(set(numbers)) == 4
    assert Folded.refused


def folded_publish(*_, **__):
    return None  # the store then publishes by its other method


class Folded(FolderStore):
    """A folder that refuses a name which differs only in case from one that is there."""

    names_given: dict[str, str] = {}
    refused: list[str] = []

    def draft(self, *, durable=False):
        draft = super().draft(durable=durable)
        publish = draft.publish_new

        def publish_folded(name):
            if self.names_given.setdefault(name.casefold(), name) != name:
                self.refused.append(name)
                raise FileExistsError(name)
            publish(name)

        return _Folding(draft, publish_folded)


class _Folding:
    def __init__(self, draft, publish_new):
        self._draft, self.publish_new = draft, publish_new

    def __getattr__(self, name):
        return getattr(self._draft, name)


def test_a_file_system_without_links_or_exact_times(folding, monkeypatch):
    """FAT has neither, and no files without names: results are whole, and numbers have no gaps, all the same."""
    handler = PickleHandler(Run, folding, durable=True)
    handler.save_all(filled(Run("r"), data=np.arange(30_000) + n) for n in range(5))
    fast = PickleHandler(Run, folding)
    for n in range(5, 10):
        assert fast.save_persistence(filled(Run("r"), data=np.arange(30_000) + n)).version == n
    assert [int(loaded.data[0]) for _, loaded in fast.load_all(Run("r"))] == list(range(10))
    other = PickleHandler(Run, folding)
    assert other.save_persistence(filled(Run("r"), data=0)).version == 10
    assert fast.save_persistence(filled(Run("r"), data=0)).version == 11
    fast.save_persistence(filled(Run("r", 3), data="replaced"))
    assert fast.load_persistence(Run("r", 3)).data == "replaced"
    assert all(check.problem is None for check in fast.verify())
    assert len(os.listdir(folding)) >= 12
    assert not [name for name in os.listdir(folding) if name.startswith(".neuralib")]
