"""Every example in the README, the pages and the docstrings runs; the reference has every public name."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import sys
import types
from typing import TypeVar

import pages
import pytest
import test_layers

import neuralib.persistence as package

README = pages.ROOT / "README.md"
DOCS = pages.ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FACES = (
    "neuralib.persistence",
    "neuralib.persistence.cli_persistence",
    "neuralib.persistence.validator",
    "neuralib.persistence.stores",
    "neuralib.persistence.codecs",
    "neuralib.persistence.testing",
)


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A module of its own, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # for the modules that a page writes
    before = set(sys.modules)
    module = sys.modules["page"] = types.ModuleType("page")
    yield module
    for name in set(sys.modules) - before:
        if name == "page" or str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_readme_example_runs(session, capsys):
    """As a reader would type it."""
    assert pages.run(README, session) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [f"cache-Shuffle-A00-20230101-#{n}.pkl" for n in range(3)]


def test_figures_in_the_pages_are_those_of_the_json_file(monkeypatch):
    """Nobody writes them by hand: ``python benchmarks/tables.py`` does."""
    monkeypatch.syspath_prepend(pages.ROOT / "benchmarks")
    tables = importlib.import_module("tables")
    if not tables.FIGURES.exists():
        pytest.skip("there are no figures yet")
    for page, text in tables.pages(json.loads(tables.FIGURES.read_text())).items():
        assert page.read_text("utf-8") == text, f"{page.name} is behind: run python benchmarks/tables.py"


def test_quick_start_has_its_two_commands():
    """Each in a block of its own."""
    text = README.read_text().partition("\n## Quick start\n")[2]
    commands = [it for it in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)][:2]
    assert [it.strip().split(" && ")[1].split()[-1] for it in commands] == ["examples/shuffle_test.py", "pytest"]


@pytest.mark.parametrize("page", PAGES, ids=lambda it: it.relative_to(DOCS).with_suffix("").as_posix())
def test_examples_of_a_page_run_in_order(page, session):
    """In one session and one folder, with the output that the page shows."""
    examples = pages.blocks(page)
    if sys.platform == "win32" and any(it.language == "console" for it in examples):
        pytest.skip("its commands are those of a POSIX shell")
    pages.run(page, session)


def test_tutorial_is_more_than_words(session):
    """Guards against a pattern that finds no examples."""
    assert pages.run(DOCS / "tutorial.md", session) > 8


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda it: it.relative_to(pages.ROOT).as_posix())
def test_links_within_the_repository_lead_somewhere(page):
    """On the repository's page as on the site."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"\w+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("face", FACES)
def test_reference_has_every_public_name(face):
    """In the section of its module, and nothing else."""
    documented, module = set(), None
    for page in (DOCS / "reference").glob("*.md"):
        for kind, what in re.findall(
            r"^\.\. (?:auto|py:)?(\w+):: ([\w.]+)", page.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if kind in {"module", "currentmodule"}:
                module = what
            elif module == face:
                documented.add(what)
    given = set(importlib.import_module(face).__all__)
    if face == FACES[0]:
        given -= {
            *importlib.import_module(FACES[2]).__all__,
            "persistence",
            "validator",
        }  # documented with their module
    missing, unknown = sorted(given - documented), sorted(documented - given)
    assert not missing, f"add an autofunction, autoclass, ... for {missing} to a page of docs/reference"
    assert not unknown, f"{unknown} in docs/reference are no public names of {face}"


def test_the_faces_give_the_same_names():
    """So that documenting them once is enough."""
    assert set(importlib.import_module("neuralib.persistence.persistence").__all__) < set(package.__all__)
    assert set(importlib.import_module("neuralib.persistence.validator").__all__) < set(package.__all__)


@pytest.mark.parametrize("name", [it.values[0] for it in test_layers.modules()])
def test_docstring_examples_run(name):
    """With the public names at hand."""
    module = importlib.import_module("neuralib.persistence" if name == "__init__" else f"neuralib.persistence.{name}")
    space = {it: getattr(package, it) for it in package.__all__}
    failed, tried = doctest.testmod(
        module, extraglobs={**space, "json": json, "T": TypeVar("T")}, optionflags=doctest.ELLIPSIS
    )
    assert not failed
    if name in {"_decorator", "_handlers.files"}:
        assert tried
