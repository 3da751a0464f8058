"""The names of a whole folder, read at once: held against a few lines of plain Python."""

from __future__ import annotations

from decimal import Decimal

import pytest
import reference
from hypothesis import given, strategies as st

from neuralib.persistence import _names

# Few characters, so that literals are found in texts; wide ones, which are kept in another way.
TEXT = st.text(alphabet="ab-é中\U0001f600", max_size=4)
NAME = st.text(alphabet="ab-é中\U0001f600", max_size=9)
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
    return names, made, width


@given(folders(), st.data())
def test_read_names_agrees_with_the_reference(folder, data):
    """Which names match, in how many ways, and the texts; where literals are empty, overlap, or are in texts too."""
    names, made, width = folder
    wanted = tuple(data.draw(st.lists(st.none() | TEXT, min_size=width, max_size=width)))
    table = _names.read_names(names, made, wanted)
    rows = reference.read_names(names, made, width, wanted)
    assert table.names == [name for name, _, _ in rows]
    assert [table.doubtful(it) for it in range(len(rows))] == [doubtful for _, _, doubtful in rows]
    assert table.any_doubtful == any(doubtful for _, _, doubtful in rows)
    for row, (_, texts, _) in enumerate(rows):
        codes = table.codes_of(row)
        assert [None if code < 0 else table.texts[column][code] for column, code in enumerate(codes)] == texts
    for column, texts in enumerate(table.texts):
        assert len(set(texts)) == len(texts), "equal texts are kept once"
        assert table.column(column, list(range(len(rows)))) == [table.codes_of(it)[column] for it in range(len(rows))]


@given(folders(), st.data())
def test_select_agrees_with_the_reference(folder, data):
    """Which rows are admitted, and in which order."""
    names, made, width = folder
    table = _names.read_names(names, made, (None,) * width)
    rows = reference.read_names(names, made, width, (None,) * width)
    sizes = [len(it) for it in table.texts]
    admitted = tuple(data.draw(st.none() | st.binary(min_size=it + 1, max_size=it + 1)) for it in sizes)
    ranks = tuple(data.draw(st.none() | st.permutations(range(it)).map(list)) for it in sizes)
    assert table.select(admitted, ranks) == reference.select(rows, table.texts, admitted, ranks)


VALUE = st.one_of(
    TEXT,
    st.integers(-3, 3),
    st.integers(2**62, 2**70),
    st.sampled_from([-0.0, 0.0, 1.5, float("nan"), True, None, "None", "1", 10**5000, [], (1,), Decimal(1)]),
)


@given(st.lists(VALUE, min_size=1, max_size=3), st.data())
def test_agrees_says_yes_only_where_the_texts_are_the_same(values, data):
    """And for plain values alone: of others, a class of the user's may write anything."""
    texts = [text if (text := reference.text_of_plain(it)) is not None else "a" for it in values]
    other = data.draw(st.integers(-1, len(values) - 1))
    written = [it + "b" if place == other else it for place, it in enumerate(texts)]
    literals, columns = ("<", *[";"] * (len(values) - 1), ">"), tuple(range(len(values)))
    table = _names.read_names([f"<{';'.join(written)}>"], [(literals, columns)], (None,) * len(values))
    names = tuple("abc"[: len(values)])
    fields = dict(zip(names, values, strict=True))
    assert table.agrees(0, names, fields) is (other < 0 and reference.agrees(texts, values))
    del fields[data.draw(st.sampled_from(names))]
    assert not table.agrees(0, names, fields)


def test_agrees_does_not_know_of_doubtful_rows():
    """Nor of a column that the name lacks, or of columns without a name."""
    table = _names.read_names(["a-b-c", "-b"], [(("", "-", ""), (0, 1)), (("-", ""), (1,))], (None, None))
    assert [table.doubtful(it) for it in range(2)] == [True, True]
    assert not table.agrees(0, ("x", "y"), {"x": "a", "y": "b-c"})
    table = _names.read_names(["-b"], [(("-", ""), (1,))], (None, None))
    assert not table.agrees(0, ("x", "y"), {"x": None, "y": "b"})
    assert not table.agrees(0, ("y",), {"y": "b"})
    with pytest.raises(IndexError):
        table.agrees(1, ("x", "y"), {})


@given(st.lists(NUMBER, max_size=6, unique=True))
def test_rank_numbers_agrees_with_the_reference(texts):
    """Only what str(int) writes is a number."""
    assert _names.rank_numbers(texts) == reference.rank_numbers(texts)


def test_what_does_not_fit_is_refused():
    """Before memory that is not there is read."""
    with pytest.raises(ValueError, match="one column for each text"):
        _names.read_names(["a"], [(("a", "b"), ())], (None,))
    with pytest.raises(ValueError, match="no column 1"):
        _names.read_names(["a"], [(("a", "b"), (1,))], (None,))
    with pytest.raises(ValueError, match="no column -1"):
        _names.read_names(["a"], [(("a", "b"), (-1,))], (None,))
    with pytest.raises(TypeError):
        _names.read_names([b"a"], [(("a",), ())], ())
    with pytest.raises(TypeError):
        _names.read_names(["a"], [((b"a",), ())], ())
    table = _names.read_names(["ax", "ay"], [(("a", ""), (0,))], (None,))
    for call in (table.doubtful, table.codes_of, lambda row: table.column(0, [row])):
        for row in (-1, 2, 2**40):
            with pytest.raises(IndexError):
                call(row)
    for column in (-1, 1):
        with pytest.raises(IndexError):
            table.column(column, [])
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
