"""Importing the package is cheap."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import neuralib.persistence as package

HEAVY = ["numpy", "argclz", "gzip", "zlib_ng", "pandas", "dataclasses", "multiprocessing", "asyncio"]


def loaded_by(statement):
    code = f"import sys, json; before = set(sys.modules)\n{statement}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def test_import_loads_nothing_heavy():
    """Neither numpy nor a command-line library, though every name is asked for."""
    loaded = loaded_by("from neuralib.persistence import *")
    assert not [it for it in loaded if it.split(".")[0] in HEAVY]
    own = [name for name in loaded if name.startswith("neuralib")]
    assert len(own) < 95  # small ones: each reads in a fraction of a millisecond
    assert len(loaded) - len(own) < 60
    assert {"neuralib.persistence._core", "neuralib.persistence._disk"} <= set(loaded)


def test_a_name_is_imported_when_it_is_asked_for():
    """So the package itself costs next to nothing; each name, once asked for, is there as any other."""
    loaded = loaded_by("import neuralib.persistence")
    assert [it for it in loaded if it.startswith("neuralib")] == ["neuralib", "neuralib.persistence"]
    for name in package.__all__:
        assert getattr(package, name) is vars(package)[name]
        assert name in dir(package)
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        package.nosuch  # noqa: B018


@pytest.mark.parametrize("words", ["--help", "ls --help"])
def test_help_loads_no_handler(words):
    """The command answers in the time of an interpreter and an argument parser."""
    loaded = loaded_by(
        "import io, contextlib; from neuralib.persistence._commands.entry import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main({words.split()})\n"
    )
    assert [it for it in loaded if it.startswith("neuralib.")] == [
        "neuralib.persistence",
        "neuralib.persistence._commands",
        "neuralib.persistence._commands.entry",
        "neuralib.persistence._errors",
    ]
    assert not [it for it in loaded if it.split(".")[0] in HEAVY]


def test_options_are_imported_on_demand():
    """They bring argclz, where it is installed."""
    assert "neuralib.persistence._computing.options" not in loaded_by("import neuralib.persistence")
    pytest.importorskip("argclz", reason="needs the extra 'cli'")
    assert "argclz" in loaded_by("import neuralib.persistence.cli_persistence")
