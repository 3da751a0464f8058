"""Reading all names of a folder at once: compared with a few lines of plain Python."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
import reference
from hypothesis import given, strategies as st

from neuralib.persistence import _names

# Few characters, so that texts contain literals; and wide ones, which Python stores differently.
TEXT = st.text(alphabet="ab-é中\U0001f600\udcff", max_size=4)
NAME = st.text(alphabet="ab-é中\U0001f600\udcff/\0", max_size=9)
NUMBER = st.one_of(
    st.integers(0, 10**19).map(str), st.sampled_from(["007", "-1", "٣", "²", "", " 1", "9" * 18, "9" * 19, "1.0"])
)


@st.composite
def patterns(draw, width):
    literals = tuple(draw(st.lists(TEXT, min_size=1, max_size=width + 1)))
    columns = draw(st.permutations(range(width)))[: len(literals) - 1]
    return literals, tuple(columns)


@st.composite
def folders(draw):
    width = draw(st.integers(1, 3))
    made = draw(st.lists(patterns(width), min_size=1, max_size=3))
    names = draw(st.lists(NAME, max_size=6))
    for literals, _ in made:  # names that match
        texts = draw(st.lists(TEXT, min_size=len(literals) - 1, max_size=len(literals) - 1))
        names.append(literals[0] + "".join(text + literal for text, literal in zip(texts, literals[1:], strict=True)))
    if draw(st.booleans()):
        names = [pack(names[:4]), pack(names[4:])]
    return names, made, width


def pack(names):
    """Return *names* as a store has them that has many in one piece."""
    return "/".join(names).encode("utf-8", "surrogatepass")


@given(folders(), st.data())
def test_read_names_agrees_with_the_reference(folder, data):
    """The names that match, in how many ways, and the texts of the keys; also with literals that are empty, overlap, or occur in texts."""
    names, made, width = folder
    texts = st.none() | st.frozensets(st.none() | TEXT, max_size=3)
    wanted = tuple(data.draw(st.lists(texts, min_size=width, max_size=width)))
    table, twin = _names.read_names(names, made, wanted), reference.read_names(names, made, wanted)
    rows = range(len(twin))
    assert len(table) == len(twin)
    assert (
        table.all_names() == twin.all_names() == [table.name(row) for row in rows] == [twin.name(row) for row in rows]
    )
    assert table.any_doubtful == twin.any_doubtful
    assert table.last_pattern == twin.last_pattern
    assert [table.doubtful(row) for row in rows] == [twin.doubtful(row) for row in rows]
    for row in rows:
        assert texts_of(table, row) == texts_of(twin, row)
    for column, texts in enumerate(table.texts):
        assert sorted(texts) == sorted(twin.texts[column]), "equal texts are kept once"
        assert table.column(column, list(rows)) == [table.codes_of(row)[column] for row in rows]
        assert twin.column(column, list(rows)) == [twin.codes_of(row)[column] for row in rows]


@pytest.mark.parametrize(
    "made",
    [
        [("", "-", "")],
        [("a", "-", "-", "")],
        [("", "-", "a")],
        [("", "-", "a", "")],
        [("", "--", "", "-a")],
        [("-", "a-", "-")],
        [("", "-", "-"), ("a", "-", "a")],
        [("", "-", "", "a"), ("", "a", "")],
        [("", "a", "a-", ""), ("", "-", "a", "")],
    ],
    ids=repr,
)
def test_names_in_one_piece_are_read_like_each_alone(made):
    """Of a name that begins as the one before, only the rest is read: all short names, in two orders."""
    names = ["".join(letters) for size in range(7) for letters in itertools.product("a-", repeat=size)]
    patterns = [(literals, tuple(range(len(literals) - 1))) for literals in made]
    for order in (names, sorted(names)):
        table = _names.read_names([pack(order)], patterns, (None,) * 3)
        expected = {}
        for name in order:
            alone = _names.read_names([name], patterns, (None,) * 3)
            if len(alone):
                expected[name] = texts_of(alone, 0), alone.doubtful(0)
        assert {table.name(row): (texts_of(table, row), table.doubtful(row)) for row in range(len(table))} == expected


def texts_of(table, row):
    """Return the texts of a row. (The codes of a text may differ between two tables.)"""
    return [None if code < 0 else texts[code] for code, texts in zip(table.codes_of(row), table.texts, strict=True)]


@given(folders(), st.data())
def test_select_agrees_with_the_reference(folder, data):
    """Which rows match, and their order."""
    names, made, width = folder
    table = _names.read_names(names, made, (None,) * width)
    twin = reference.read_names(names, made, (None,) * width)
    twin.texts = table.texts  # so that a code stands for the same text in both
    sizes = [len(texts) for texts in table.texts]
    admitted = tuple(data.draw(st.none() | st.binary(min_size=size + 1, max_size=size + 1)) for size in sizes)
    ranks = tuple(data.draw(st.none() | st.permutations(range(size)).map(list)) for size in sizes)
    assert table.select(admitted, ranks) == twin.select(admitted, ranks)


@given(folders())
def test_groups_agree_with_the_reference(folder):
    """The codes of one column by those of the others, in the order of the names."""
    names, made, width = folder
    table = _names.read_names(names, made, (None,) * width)
    twin = reference.read_names(names, made, (None,) * width)
    twin.texts = table.texts
    for column in range(width):
        assert table.groups(column) == twin.groups(column)


VALUE = st.one_of(
    TEXT,
    st.integers(-3, 3),
    st.integers(2**62, 2**70),
    st.sampled_from([-0.0, 0.0, 1.5, float("nan"), True, None, "None", "1", 10**5000, [], (1,), Decimal(1)]),
)


@given(st.lists(VALUE, min_size=1, max_size=3), st.data())
def test_agrees_says_yes_only_where_the_texts_are_the_same(values, data):
    """It never does so for values that are not plain, which may have any text."""
    texts = [text if (text := reference.text_of_plain(value)) is not None else "a" for value in values]
    other = data.draw(st.integers(-1, len(values) - 1))
    written = [text + "b" if place == other else text for place, text in enumerate(texts)]
    literals, columns = ("<", *[";"] * (len(values) - 1), ">"), tuple(range(len(values)))
    arguments = [f"<{';'.join(written)}>"], [(literals, columns)], (None,) * len(values)
    table, twin = _names.read_names(*arguments), reference.read_names(*arguments)
    names = tuple("abc"[: len(values)])
    fields = dict(zip(names, values, strict=True))
    assert table.agrees(0, names, fields) is twin.agrees(0, names, fields)
    if other >= 0 or None in [reference.text_of_plain(value) for value in values]:
        assert not table.agrees(0, names, fields)
    del fields[data.draw(st.sampled_from(names))]
    assert not table.agrees(0, names, fields)
    assert not twin.agrees(0, names, fields)


def test_agrees_gives_no_answer_for_ambiguous_rows():
    """It gives none either for a key that the name lacks."""
    table = _names.read_names(["a-b-c", "-b"], [(("", "-", ""), (0, 1)), (("-", ""), (1,))], (None, None))
    assert [table.doubtful(row) for row in range(2)] == [True, True]
    assert not table.agrees(0, ("x", "y"), {"x": "a", "y": "b-c"})
    table = _names.read_names(["-b"], [(("-", ""), (1,))], (None, None))
    assert not table.agrees(0, ("x", "y"), {"x": None, "y": "b"})
    assert not table.agrees(0, ("y",), {"y": "b"})
    with pytest.raises(IndexError):
        table.agrees(1, ("x", "y"), {})


@given(st.lists(st.text("a\u00e9/\0", max_size=4), min_size=1, max_size=4), st.integers(-1, 5), st.integers(-1, 9))
def test_are_packed_agrees_with_the_reference(parts, count, longest):
    """Slashes and NUL characters inside count as well."""
    text = "/".join(parts).encode()
    assert _names.are_packed(text, count, longest) == reference.are_packed(text, count, longest)
    assert _names.are_packed(text, len(text.split(b"/")), 100) == (b"\0" not in text)


@given(st.lists(NUMBER, max_size=6, unique=True))
def test_rank_numbers_agrees_with_the_reference(texts):
    """Only what str(int) writes is a number."""
    assert _names.rank_numbers(texts) == reference.rank_numbers(texts)


def test_arguments_of_wrong_sizes_are_refused():
    """Before memory beyond the end is read."""
    with pytest.raises(ValueError, match="one column for each text"):
        _names.read_names(["a"], [(("a", "b"), ())], (None,))
    with pytest.raises(ValueError, match="no column 1"):
        _names.read_names(["a"], [(("a", "b"), (1,))], (None,))
    with pytest.raises(ValueError, match="no column -1"):
        _names.read_names(["a"], [(("a", "b"), (-1,))], (None,))
    with pytest.raises(TypeError):
        _names.read_names([bytearray(b"a")], [(("a",), ())], ())
    with pytest.raises(TypeError):
        _names.read_names(["a"], [((b"a",), ())], ())
    table = _names.read_names(["ax", "ay"], [(("a", ""), (0,))], (None,))
    for call in (table.name, table.doubtful, table.codes_of, lambda row: table.column(0, [row])):
        for row in (-1, 2, 2**40):
            with pytest.raises(IndexError):
                call(row)
    for column in (-1, 1):
        with pytest.raises(IndexError):
            table.column(column, [])
        with pytest.raises(IndexError):
            table.groups(column)
    with pytest.raises(ValueError, match="byte for each text"):
        table.select((b"ab",), ([0, 1],))
    for ranks in ([0], [0, 2], [0, -1]):
        with pytest.raises(ValueError, match="rank"):
            table.select((None,), (ranks,))
    for wrong in ((), (None, None)):
        with pytest.raises(ValueError, match="one entry for each column"):
            table.select(wrong, (None,))
        with pytest.raises(ValueError, match="one entry for each column"):
            table.select((None,), wrong)
