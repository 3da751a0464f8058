"""The compiled searches for the highest numbers agree with their references."""

from __future__ import annotations

import os
import tempfile
import threading

import pytest
import reference
from hypothesis import given, strategies as st

from neuralib.persistence import _scan

NUMBER = st.one_of(
    st.integers(0, 10**20).map(str),
    st.sampled_from(["007", "-1", "+1", "1_0", "٣", "²", "", "1.0", " 1", "9" * 18, "9" * 19, "12x"]),
)


@given(
    st.lists(NUMBER, max_size=8),
    st.sampled_from(["", "h-", "é-", "[ab]*", "h-1"]),
    st.lists(st.sampled_from(["", ".pkl", "-1.pkl", "é", "l"]), min_size=1, max_size=3),
)
def test_scan_folder_agrees_with_the_reference(numbers, head, tails):
    """Only what str(int) writes is a number."""
    with tempfile.TemporaryDirectory() as folder:
        for place, number in enumerate(numbers):
            name = head + number + tails[place % len(tails)]
            if name:
                open(os.path.join(folder, name), "w").close()
        assert _scan.scan_folder(folder, head, tuple(tails), ".x") == reference.scan_folder(
            folder, head, tuple(tails), ".x"
        )


def test_scan_folder_refuses_what_is_no_folder(tmp_path):
    """The error has the path."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _scan.scan_folder(str(tmp_path / "nowhere"), "a", ("b",), "c")
    with pytest.raises(ValueError, match="null"):
        _scan.scan_folder("a\0b", "", (), "")
    with pytest.raises(ValueError, match="tails"):
        _scan.scan_folder(str(tmp_path), "", ("x",) * 9, "")


LETTERS = st.text(alphabet="a-#0129\u0663\u00b2\u00e9\u4e2d\U0001f600", max_size=4)
NUMBERED = st.lists(st.one_of(LETTERS, NUMBER, st.sampled_from(["-#", "#", "a", ".pkl"])), max_size=5).map("".join)


@given(
    st.lists(NUMBERED, max_size=6),
    st.one_of(LETTERS, st.sampled_from(["-#", "#", "", "aa"])),
    st.one_of(LETTERS, st.sampled_from([".pkl", "", "a"])),
    st.none() | st.integers(0, 4),
)
def test_index_series_agrees_with_the_reference(names, before, after, most):
    """Wherever the number stands: at several places, next to other digits, after texts that overlap."""
    mine = _scan.index_series(names, before, after, most)
    assert mine == reference.index_series(names, before, after, most)
    if mine is not None:
        assert _scan.index_series(names, before, after) == _scan.index_series(names, before, after, len(mine)) == mine


def test_index_series_has_the_highest_number_of_each_series():
    """It has a thousand series at once. A text that ``str(int)`` would not write is no number."""
    names = [f"h-{series}-#{number}.pkl" for number in (2, 10, 9) for series in range(1000)]
    names += ["h-1-#007.pkl", "h-1-#.pkl", "h-1-#-5.pkl", "h-1-#12", f"h-1-#{10**18}.pkl", "h-1-#12.pk", "x#13.pkl"]
    expected = {(f"h-{series}-#", ".pkl"): 10 for series in range(1000)}
    assert _scan.index_series(names, "-#", ".pkl") == reference.index_series(names, "-#", ".pkl") == expected
    assert _scan.index_series(names, "-#", ".pkl", 1000) == expected
    assert _scan.index_series(names, "-#", ".pkl", 999) is None
    assert _scan.index_series([], "-#", ".pkl", 0) == {}
    assert _scan.index_series([f"#{10**18 - 1}", "#0"], "#", "") == {("#", ""): 10**18 - 1}
    for wrong in ([b"a"], [None], ["a", 5]):
        with pytest.raises(TypeError):
            _scan.index_series(wrong, "", "")
    with pytest.raises(TypeError):
        _scan.index_series(["a"], None, "")


@given(
    st.integers(-1, 3),
    st.lists(
        st.tuples(st.sampled_from(["take", "give_back", "save"]), st.integers(-2, 9), st.sampled_from([7, 7, 7, 8])),
        max_size=20,
    ),
)
def test_a_counter_agrees_with_the_reference(highest, steps):
    """Whatever is taken, given back and saved, in any order, also by those who have made another look."""
    mine, theirs = _scan.Counter(7, highest), reference.Counter(7, highest)
    for verb, number, look in steps:
        arguments = {"take": (look,), "give_back": (number,), "save": (number, look)}[verb]
        assert getattr(mine, verb)(*arguments) == getattr(theirs, verb)(*arguments)
        assert (mine.look, mine.taken, mine.saved) == (theirs.look, theirs.taken, theirs.saved)


def test_threads_take_each_number_once():
    """Numbers that are given back are taken again."""
    counter, taken = _scan.Counter(0, -1), [[] for _ in range(4)]

    def work(numbers):
        for turn in range(5000):
            number = counter.take(0)
            if turn % 3 or not counter.give_back(number):
                numbers.append(number)

    threads = [threading.Thread(target=work, args=(numbers,)) for numbers in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sum(taken, [])) == [*range(counter.taken + 1)]
