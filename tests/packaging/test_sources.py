"""Rules for the sources, so that they build everywhere and can be released."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/neuralib/persistence"
VERSION = (ROOT / "VERSION").read_text().strip()


@pytest.mark.parametrize("module", sorted(PACKAGE.glob("*.pyx")), ids=lambda path: path.name)
def test_compiled_modules_include_no_system_headers(module):
    """Only ``_port.h`` and ``_listing.h`` do, which know the differences between systems."""
    assert not re.findall(
        r"_WIN32|_MSC_VER|__APPLE__|__linux__|\bposix\b|sys/\w+\.h|unistd|windows\.h", module.read_text()
    )


@pytest.mark.parametrize("header", ["_port.h", "_listing.h"])
def test_headers_for_systems_do_not_include_python(header):
    """So that they compile alone and run without the GIL."""
    assert not re.findall(r"Python\.h|PyObject\b|Py_ssize_t", (PACKAGE / header).read_text())


def test_the_version_stands_in_one_place():
    """Everything else reads the file VERSION; the changelog has a section for each version."""
    assert version("neuralib-persistence") == VERSION
    elsewhere = [ROOT / "pyproject.toml", ROOT / "setup.py", *PACKAGE.rglob("*.py*")]
    text = "".join(file.read_text() for file in elsewhere if file.suffix in {".py", ".pyx", ".pyi", ".toml"})
    assert not re.findall(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])", text)
    assert not re.findall(r"__version__\s*[:=]", text), "others' versions may be asked for, ours is not set here"


def test_the_changelog_keeps_its_form():
    """That of Keep a Changelog: the newest version first, each with its date, six kinds of change."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)
    kinds = set(re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_minimum_versions_are_those_that_are_declared():
    """CI tests with the oldest versions that installers accept."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {requirement.replace(">=", "==") for requirement in project["dependencies"]}
    lines = (ROOT / ".ci/minimum-versions.txt").read_text().splitlines()
    tried = {line.removesuffix(".0") for line in lines if not line.startswith("#")}
    assert tried == declared


def test_actions_are_pinned_by_hash():
    """A tag can be moved to other code. The version stands beside the hash for people and for Dependabot."""
    used = [
        line.strip()
        for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
        for line in path.read_text().splitlines()
        if "uses:" in line and "uses: $/" not in line
    ]
    assert used
    pinned = re.compile(r"(- )?uses: [\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in used if not pinned.fullmatch(line)] == []
    by_action = {}
    for line in used:
        name, _, pin = line.partition("uses: ")[2].partition("@")
        by_action.setdefault(name, set()).add(pin)
    assert [name for name, pins in by_action.items() if len(pins) > 1] == []
