"""Results and result sets in notebooks are readable in any theme, and values are escaped."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
import sys
from typing import Any

import memory
import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralib.persistence import PickleHandler, autoinc_field, field, missing, persistence_class
from neuralib.persistence._showing.thumbnails import thumbnail

EVIL = "<script>document.title='EVIL'</script><img src=x onerror=\"document.title='EVIL'\">'\"&"


@persistence_class
class Shuffle:
    animal: Any = field(validator=True, filename=True)
    run: int = autoinc_field(filename_prefix="#")
    weights: Any
    extra: Any
    later: float


def filled(animal="A00", weights=None, extra=None):
    result = Shuffle(animal)
    result.weights = np.arange(5.0) if weights is None else weights
    result.extra = extra
    return result


class Page(html.parser.HTMLParser):
    """Parses HTML as a browser does, into tags and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open, self.attributes = [], "", [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


KNOWN_TAGS = {
    "div",
    "style",
    "details",
    "summary",
    "b",
    "span",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "svg",
    "path",
    "img",
}
KNOWN_ATTRIBUTES = {"class", "open", "viewbox", "width", "height", "preserveaspectratio", "role", "d", "fill", "stroke",
                    "stroke-width", "opacity", "alt", "src"}  # fmt: skip


def page_of(result):
    page = Page(result._repr_html_())
    assert page.open == []
    assert set(page.tags) <= KNOWN_TAGS
    assert set(page.attributes) <= KNOWN_ATTRIBUTES
    return page


def test_a_result_shows_its_fields():
    """Types, shapes, sizes and values; fields that are not set; the name."""
    result = filled(extra={"map": np.zeros((20, 30), "f4"), "n": 3})
    result.run = 7
    text = page_of(result).text
    for part in ("Shuffle", "cache-Shuffle-A00-#7", "4 fields", "2.4 kB", "float64", "40 B", "[0 1 2 3 4]", "'A00'",
                 "20 × 30", "not set: later"):  # fmt: skip
        assert part in text
    assert "any" in page_of(Shuffle(missing)).text
    assert "weights, extra, later" in page_of(Shuffle("A")).text
    assert repr(result) == "Shuffle{animal=A00, run=7}"


def test_a_class_may_have_its_own_html():
    """``_repr_html_ = None`` means that it has no HTML. A subclass with more fields gets HTML that shows them."""

    @persistence_class
    class Own:
        a: int = field()

        def _repr_html_(self):
            return "<p>own</p>"

    @persistence_class
    class Nothing:
        a: int = field()
        _repr_html_ = None

    @persistence_class
    class More(Shuffle):
        bonus: str

    assert Own(1)._repr_html_() == "<p>own</p>"
    assert Nothing._repr_html_ is None
    more = More("A")
    more.bonus = "here"
    assert "'here'" in page_of(more).text


def test_a_result_set_shows_its_first_hits(tmp_path):
    """The keys, the count, the sizes."""
    handler = PickleHandler(Shuffle, tmp_path)
    for i in range(13):
        handler.save_persistence(filled(f"A{i % 2}{EVIL[:8]}", extra=None))
    page = page_of(handler.find())
    assert "13 found in" in page.text
    assert page.tags.count("tr") == 12
    assert "3 more" in page.text
    assert "A0<script>" in page.text
    assert "0 found in" in page_of(handler.find(animal="none")).text
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert f"{size / 1000:.1f} kB" in page.text
    found = handler.find(animal=f"A1{EVIL[:8]}")
    assert len(found) == 6
    for path in found.paths:
        path.unlink()
    assert "0 B" in page_of(found).text


values = st.recursive(
    st.text(st.sampled_from("<>&'\"/=aé\x00\u202e\n`;:"), max_size=12) | st.just(EVIL) | st.integers() | st.none() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("<>\"'&a", max_size=6) | st.just(EVIL), inner, max_size=3)
    | st.tuples(inner, inner) | st.builds(lambda value: np.array([value, None], object), inner),
    max_leaves=10,
)  # fmt: skip


@given(animal=values, weights=values, extra=values)
def test_values_are_escaped(animal, weights, extra):
    """No tag and no attribute comes from a value."""
    result = filled(animal, [weights, np.arange(3)], extra)
    page_of(result)


class Hostile:
    """A class whose repr is HTML."""

    def __repr__(self):
        return EVIL


class Broken:
    shape = (2,)
    dtype = EVIL

    def __repr__(self):
        raise RuntimeError("no repr")

    def __getattr__(self, name):
        raise RuntimeError("no attributes")


def test_objects_are_shown_as_escaped_text():
    """By their repr and type."""
    Hostile.__qualname__ = EVIL
    page = page_of(filled(Hostile(), [Hostile(), np.zeros(2)], {"x": {Hostile(): 1}}))
    assert "EVIL" in page.text
    structured = np.zeros(2, [(EVIL, "i4")])
    page_of(filled("A", structured, {"a": structured, "b": np.array([EVIL])}))


def test_containers_are_bounded():
    """In depth and number of items; also lists that refer to one another many times."""
    deep: Any = []
    for _ in range(50):
        deep = [deep, np.zeros(2), {"again": deep}]
    wide = {f"k{i}": i for i in range(10_000)}
    text = filled("A", deep, {"wide": wide, "long": "x" * 1_000_000})._repr_html_()
    assert len(text) < 200_000
    assert "9,950 more" in text
    cyclic: Any = {}
    cyclic["me"] = cyclic
    assert "me" in page_of(filled("A", cyclic)).text


# ------------------------------------------------------------------------------------------ thumbnails


@pytest.mark.parametrize(
    "array",
    [np.arange(5), np.array([True, False]), np.arange(1e6), np.array([1, np.nan, 3, np.inf]), np.full(4, 7),
     np.array([-1.7e308, 1.7e308]), np.arange(5, dtype=">i2"), np.arange(10.0)[::-2], np.array([np.nan, 1]),
     np.ma.masked_array(np.arange(5), mask=[0, 1, 0, 0, 0])],
    ids=str,
)  # fmt: skip
def test_an_array_of_one_dimension_is_drawn_as_a_line(array):
    """In the colour of the text, whatever its values."""
    made = thumbnail(array)
    page = Page(made)
    assert page.tags == ["svg", "path"]
    assert "currentColor" in made
    numbers = [float(number) for pair in re.findall(r"[ML]([\d.]+) ([\d.]+)", made) for number in pair]
    assert numbers
    assert all(0 <= number <= 120 for number in numbers)
    assert len(made) < 5_000


@pytest.mark.parametrize("array", [np.random.default_rng(0).normal(size=(3, 4)), np.zeros((1000, 2000), "u1"), np.array([[1, np.nan], [2, 3]])], ids=lambda value: str(value.shape))  # fmt: skip
def test_an_array_of_two_dimensions_is_a_picture(array):
    """Drawn by matplotlib, of bounded size."""
    pytest.importorskip("matplotlib")
    made = thumbnail(array)
    assert made.startswith('<img alt="" src="data:image/png;base64,')
    assert len(made) < 60_000


@pytest.mark.parametrize(
    "value",
    [np.array(3.0), np.zeros(1), np.zeros(0), np.zeros((2, 2, 2)), np.array(["a", "b"]), np.array([1j, 2]), np.zeros((0, 5)),
     np.full(3, np.nan), np.array([None, 1], object), "text", None, np.zeros(3, [("a", "i4")]), Broken.__new__(Broken)],
    ids=lambda parameter: type(parameter).__name__,
)  # fmt: skip
def test_arrays_that_cannot_be_drawn_have_no_picture(value):
    """The picture is an empty text; no error is raised."""
    assert thumbnail(value) == ""


def test_large_arrays_are_sampled(tmp_path):
    """A mapped array is not read for its picture."""
    mapped = np.memmap(tmp_path / "large", np.float64, "w+", shape=(100_000_000,))
    memory.forget_peak()
    before = memory.peak_bytes()
    assert thumbnail(mapped)
    thumbnail(mapped.reshape(10_000, -1))
    assert memory.peak_bytes() - before < 200_000 << 10


def test_matplotlib_is_optional_and_loaded_late():
    """A line is drawn without it."""
    code = """
import sys
import numpy as np
from neuralib.persistence import field, persistence_class
@persistence_class
class R:
    a: int = field()
    data: object
assert not [name for name in sys.modules if name.startswith("neuralib.persistence._showing.html")]
r = R(1)
r.data = np.arange(4)
assert "<svg" in r._repr_html_()
assert "matplotlib" not in sys.modules
sys.modules["matplotlib"] = None
import importlib.util
r.data = np.zeros((3, 4))
assert "<img" not in r._repr_html_()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------------------------ in a browser

RENDER = """
import json, sys, nbformat
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output
outputs = [new_output("display_data", {"text/html": html}) for html in json.load(sys.stdin)]
notebook = new_notebook(cells=[new_code_cell("result", outputs=outputs, execution_count=1)])
sys.stdout.write(HTMLExporter(theme=sys.argv[1]).from_notebook_node(notebook)[0])
"""


def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium")
    return [found, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_notebook_shows_it_readably(tmp_path, theme, request):
    """In a browser, by pixels: text differs from its background in both themes, and no script from a field has run."""
    if theme == "light" and not request.config.getoption("--long"):
        pytest.skip("the light theme, which a page has by itself, with --long")
    command = browser()
    pytest.importorskip("nbconvert")
    matplotlib = pytest.importorskip("matplotlib.image")
    result = filled(EVIL, np.random.default_rng(0).normal(size=(20, 40)), {"trace": np.arange(50) % 7, EVIL: EVIL})
    shown = [result._repr_html_().replace("<details>", "<details open>")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RENDER, theme],
        input=json.dumps(shown),
        capture_output=True,
        text=True,
        check=True,
    )
    page = tmp_path / "page.html"
    page.write_text(done.stdout, encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    dom = subprocess.run(
        [*command, profile, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    title = re.search(r"<title>(.*?)</title>", dom.stdout)
    assert title is not None
    assert title[1] != "EVIL"
    picture = tmp_path / "picture.png"
    subprocess.run(
        [*command, profile, f"--screenshot={picture}", "--window-size=900,700", page.as_uri()],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    light = matplotlib.imread(picture)[:, :, :3].mean(axis=2)
    part = light[100:400, 100:400]  # the table
    ground = np.median(part)
    assert (ground > 0.8) == (theme == "light")
    text = part.min() if theme == "light" else part.max()
    assert abs(text - ground) > 0.6
    assert (abs(part - ground) > 0.4).mean() > 0.01


def test_the_parser_finds_a_script_that_is_not_escaped():
    """Otherwise the tests above could not fail."""
    page = Page(f"<div>{EVIL}</div>")
    assert "script" in page.tags
    assert "onerror" in page.attributes


@persistence_class
class Measured:
    sf: float = field(filename=True, unit="cyc/<deg>", description="spatial frequency")
    rate: float = field(init=False, unit="Hz")


def test_units_and_descriptions_are_shown(tmp_path):
    """In columns of their own, if the class declares some; beside the keys in lists of results."""
    handler = PickleHandler(Measured, tmp_path)
    result = Measured(0.04)
    result.rate = 30.0
    text = handler.save_persistence(result)._repr_html_()
    assert "<th>unit</th><th>description</th>" in text
    assert "<td>cyc/&lt;deg&gt;</td><td>spatial frequency</td>" in text
    assert "<td>Hz</td><td></td>" in text
    assert "sf (cyc/&lt;deg&gt;)</th>" in handler.find()._repr_html_()
    assert "<th>unit</th>" not in filled()._repr_html_()
