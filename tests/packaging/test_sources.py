"""What must hold for the sources so that they build everywhere and can be released."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/neuralib/persistence"
VERSION = (ROOT / "VERSION").read_text().strip()


@pytest.mark.parametrize("module", sorted(PACKAGE.glob("*.pyx")), ids=lambda it: it.name)
def test_platforms_are_known_to_headers_alone(module):
    """Compiled code asks ``_port.h`` and ``_listing.h``, which know the systems, and none of their headers itself."""
    assert not re.findall(
        r"_WIN32|_MSC_VER|__APPLE__|__linux__|\bposix\b|sys/\w+\.h|unistd|windows\.h", module.read_text()
    )


@pytest.mark.parametrize("header", ["_port.h", "_listing.h"])
def test_what_knows_systems_knows_nothing_of_python(header):
    """So that it compiles alone and runs without the GIL."""
    assert not re.findall(r"Python\.h|PyObject\b|Py_ssize_t", (PACKAGE / header).read_text())


def test_the_version_stands_in_one_place():
    """Everything else reads the file VERSION; the changelog tells what came with each version."""
    assert version("neuralib-persistence") == VERSION
    elsewhere = [ROOT / "pyproject.toml", ROOT / "setup.py", *PACKAGE.rglob("*.py*")]
    text = "".join(it.read_text() for it in elsewhere if it.suffix in {".py", ".pyx", ".pyi", ".toml"})
    assert not re.findall(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])", text)
    assert "__version__" not in text


def test_the_changelog_keeps_its_form():
    """Of Keep a Changelog: the newest first, each released version with its date, six kinds of change."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)
    kinds = set(re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_minimum_versions_are_those_that_are_declared():
    """What CI tries as the oldest is the oldest that installers accept."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {it.replace(">=", "==") for it in project["dependencies"]}
    lines = (ROOT / ".ci/minimum-versions.txt").read_text().splitlines()
    tried = {it.removesuffix(".0") for it in lines if not it.startswith("#")}
    assert tried == declared


def test_actions_are_pinned_by_hash():
    """A tag can be moved to other code; the version stands beside the hash for people and for Dependabot."""
    used = [
        line.strip()
        for it in sorted((ROOT / ".github/workflows").glob("*.yml"))
        for line in it.read_text().splitlines()
        if "uses:" in line and "uses: $/" not in line
    ]
    assert used
    pinned = re.compile(r"(- )?uses: [\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [it for it in used if not pinned.fullmatch(it)] == []
    by_action = {}
    for line in used:
        name, _, pin = line.partition("uses: ")[2].partition("@")
        by_action.setdefault(name, set()).add(pin)
    assert [name for name, pins in by_action.items() if len(pins) > 1] == []
