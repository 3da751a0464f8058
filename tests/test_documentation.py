"""All examples in the README, the pages and the docstrings run; the reference has every public name."""

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
    "neuralib.persistence.engines",
    "neuralib.persistence.testing",
)


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A new module in a new folder, for the examples of a page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # for the modules that a page writes
    before = set(sys.modules)
    module = sys.modules["page"] = types.ModuleType("page")
    module.__spec__ = importlib.util.spec_from_file_location("page", "page.py")  # as modules of files have
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
    """``python benchmarks/tables.py`` writes them."""
    monkeypatch.syspath_prepend(pages.ROOT / "benchmarks")
    tables = importlib.import_module("tables")
    if not tables.FIGURES.exists():
        pytest.skip("there are no figures yet")
    for page, text in tables.pages(json.loads(tables.FIGURES.read_text())).items():
        assert page.read_text("utf-8") == text, f"{page.name} is behind: run python benchmarks/tables.py"


def test_quick_start_has_its_two_commands():
    """Each in a block of its own."""
    text = README.read_text().partition("\n## Quick start\n")[2]
    commands = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[:2]
    assert [command.strip().split(" && ")[1] for command in commands] == [
        "python examples/shuffle_test.py",
        "python -m pytest -n auto",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).with_suffix("").as_posix())
def test_examples_of_a_page_run_in_order(page, session):
    """In one session and one folder, with the output that the page shows."""
    examples = pages.blocks(page)
    if sys.platform == "win32" and any(example.language == "console" for example in examples):
        pytest.skip("its commands are those of a POSIX shell")
    pages.run(page, session)


def test_examples_are_found_in_a_page(session):
    """If the pattern found none, the tests above would pass all the same."""
    assert pages.run(DOCS / "tutorial.md", session) > 8


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda path: path.relative_to(pages.ROOT).as_posix())
def test_links_within_the_repository_lead_somewhere(page):
    """In the repository and on the documentation site."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"\w+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("face", FACES)
def test_reference_has_every_public_name(face):
    """In the section of its module, and no other name."""
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


def test_the_older_modules_have_no_other_names():
    """``persistence`` and ``validator`` export a part of the package's names, so documenting these once is enough."""
    assert set(importlib.import_module("neuralib.persistence.persistence").__all__) < set(package.__all__)
    assert set(importlib.import_module("neuralib.persistence.validator").__all__) < set(package.__all__)


@pytest.mark.parametrize("name", [module.values[0] for module in test_layers.modules()])
def test_docstring_examples_run(name):
    """All public names are defined in them."""
    module = importlib.import_module("neuralib.persistence" if name == "__init__" else f"neuralib.persistence.{name}")
    space = {name: getattr(package, name) for name in package.__all__}
    failed, tried = doctest.testmod(
        module, extraglobs={**space, "json": json, "T": TypeVar("T")}, optionflags=doctest.ELLIPSIS
    )
    assert not failed
    if name in {"_decorator", "_handlers.files"}:
        assert tried
