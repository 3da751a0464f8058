"""Type checkers accept the documented use, and find mistakes in it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import neuralib.persistence

API = Path(__file__).parents[1] / "typing" / "api.py"


def run(*command):
    """Run *command* in a folder without project settings, on the package under test."""
    package = Path(neuralib.persistence.__file__).parents[2]
    environment = {**os.environ, "NO_COLOR": "1"}
    if package.name == "src":  # otherwise it is installed, and found as by users' checkers
        environment["MYPYPATH"] = environment["PYTHONPATH"] = str(package)
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=API.parent)


def test_mypy_accepts_the_documented_use(tmp_path):
    """In strict mode; an unneeded ignore is an error too."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        "[mypy]\nstrict = True\nnamespace_packages = True\nexplicit_package_bases = True\n"
        "[mypy-argclz.*]\nignore_missing_imports = True\n"
    )
    done = run(sys.executable, "-m", "mypy", "--config-file", settings, "--cache-dir", tmp_path / "cache", API)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found in 1 source file" in done.stdout


def test_pyright_accepts_the_documented_use(tmp_path):
    """In strict mode, except for rules that a module without source can't satisfy."""
    pyright = shutil.which("pyright", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if pyright is None:
        pytest.skip("pyright is not installed")
    target = tmp_path / "api.py"
    shutil.copy(API, target)
    (tmp_path / "pyrightconfig.json").write_text(
        '{"reportUnnecessaryTypeIgnoreComment": true, "enableTypeIgnoreComments": false, "reportMissingModuleSource": false}'
    )
    done = run(pyright, "--pythonpath", sys.executable, "--project", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors, 0 warnings" in done.stdout


def test_mistakes_are_found(tmp_path):
    """If the checkers knew nothing of the package, the tests above would pass, and this one would fail."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(API.read_text().replace("assert_type(shuffle.run, int)", "assert_type(shuffle.run, str)"))
    done = run(sys.executable, "-m", "mypy", "--config-file", os.devnull, "--cache-dir", tmp_path / "cache", wrong)
    assert 'Expression is of type "int", not "str"' in done.stdout
