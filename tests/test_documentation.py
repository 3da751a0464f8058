"""Every example in the README and in docstrings runs."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest
import test_layers

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def test_readme_examples_run_in_order(tmp_path, monkeypatch, capsys):
    """In one session, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    import sys
    import types

    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    examples = blocks("python")
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "README.md", "exec"), vars(module))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [f"cache-Shuffle-A00-20230101-#{n}.pkl" for n in range(3)]
    assert (tmp_path / "results" / "cache-Mean-A00.json").read_text() == '{"animal": "A00", "value": 4.2}'


def test_quick_start_has_its_two_commands():
    """Each in a block of its own."""
    commands = blocks("sh")
    assert [it.strip().split(" && ")[1].split()[-1] for it in commands] == ["examples/shuffle_test.py", "pytest"]


@pytest.mark.parametrize("name", [it.values[0] for it in test_layers.modules()])
def test_docstring_examples_run(name):
    """With the public names at hand."""
    import json
    from typing import TypeVar

    import neuralib.persistence as package

    module = importlib.import_module("neuralib.persistence" if name == "__init__" else f"neuralib.persistence.{name}")
    space = {it: getattr(package, it) for it in package.__all__}
    failed, tried = doctest.testmod(
        module, extraglobs={**space, "json": json, "T": TypeVar("T")}, optionflags=doctest.ELLIPSIS
    )
    assert not failed
    if name in {"_decorator", "_handlers.files"}:
        assert tried
