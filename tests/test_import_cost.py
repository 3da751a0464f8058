"""Importing the package is cheap."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import neuralib.persistence as package

HEAVY = ["numpy", "obstore", "argclz", "gzip", "zlib_ng", "pandas", "dataclasses", "multiprocessing", "asyncio"]


# Small modules of Python's own that the package needs. What they import themselves differs by the version of Python.
OF_PYTHON = "import ast, copy, inspect, json, logging, pathlib, pickle, queue, tempfile, threading, typing, weakref"


def loaded_by(statement):
    code = f"import sys, json; before = set(sys.modules)\n{statement}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def test_import_loads_nothing_heavy():
    """Neither numpy nor a command-line library, even if every name is imported."""
    of_python = loaded_by(OF_PYTHON)
    loaded = [name for name in loaded_by("from neuralib.persistence import *") if name not in of_python]
    assert not [module for module in loaded if module.split(".")[0] in HEAVY]
    own = [name for name in loaded if name.startswith("neuralib")]
    assert len(own) < 110  # small modules: each is imported in a fraction of a millisecond
    assert not [name for name in own if "archive" in name or "objects" in name]  # who keeps results in folders
    assert len(loaded) - len(own) < 40
    assert {"neuralib.persistence._core", "neuralib.persistence._disk"} <= set(loaded)


def test_a_name_is_imported_when_it_is_asked_for():
    """Importing the package costs next to nothing. Once used, a name is an ordinary attribute."""
    loaded = loaded_by("import neuralib.persistence")
    assert [name for name in loaded if name.startswith("neuralib")] == ["neuralib", "neuralib.persistence"]
    for name in package.__all__:
        assert getattr(package, name) is vars(package)[name]
        assert name in dir(package)
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        package.nosuch  # noqa: B018


def test_a_module_is_imported_alone():
    """``from neuralib.persistence import stores`` asks the package for a name first, which must not import its public names."""
    folder = Path(package.__file__).parent
    modules = {file.name.split(".")[0] for file in folder.iterdir() if file.suffix in {".py", ".so", ".pyd"}}
    others = sorted(name for name in modules if not name.startswith("_") and name not in package.__all__)
    assert "stores" in others
    for name in others:
        assert loaded_by(f"from neuralib.persistence import {name}") == loaded_by(f"import neuralib.persistence.{name}")


@pytest.mark.parametrize("words", ["--help", "ls --help"])
def test_help_loads_no_handler(words):
    """``--help`` takes the time of an interpreter and an argument parser."""
    loaded = loaded_by(
        "import io, contextlib; from neuralib.persistence._commands.entry import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main({words.split()})\n"
    )
    assert [name for name in loaded if name.startswith("neuralib.")] == [
        "neuralib.persistence",
        "neuralib.persistence._commands",
        "neuralib.persistence._commands.entry",
        "neuralib.persistence._errors",
        "neuralib.persistence._messages",
    ]
    of_python = loaded_by(
        "import argparse, contextlib, importlib, io, os, sys; argparse.ArgumentParser().format_help()"
    )
    assert not [module for module in loaded if module.split(".")[0] in HEAVY and module not in of_python]


def test_options_are_imported_on_demand():
    """They import argclz, if it is installed."""
    assert "neuralib.persistence._computing.options" not in loaded_by("import neuralib.persistence")
    pytest.importorskip("argclz", reason="needs the extra 'cli'")
    assert "argclz" in loaded_by("import neuralib.persistence.cli_persistence")
