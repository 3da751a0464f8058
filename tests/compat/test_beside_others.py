"""Ours in one environment with the two distributions that ship modules of the same names, with the real wheels of all.

Ours is imported for as long as it is installed, whatever was installed, upgraded or removed before, and what is left is
whole. Which wheel of ours is tried stands in the environment variable ``NEURALIB_PERSISTENCE_WHEEL``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

WHEEL = os.environ.get("NEURALIB_PERSISTENCE_WHEEL")
OURS = "neuralib-persistence"
THEIRS = {"neuralib-utils": ("0.7.2", "0.7.3"), "neura-library": ("0.6.0", "0.6.1")}
# The packages that importing their module needs; they declare some of them, and lack others.
NEEDED = ["numpy", "zlib-ng", "argclz", "typing_extensions", "colorama", "h5py", "matplotlib", "pandas", "polars"]

pytestmark = [
    pytest.mark.skipif(WHEEL is None, reason="set NEURALIB_PERSISTENCE_WHEEL to the wheel that is to be tried"),
    pytest.mark.skipif(not (3, 11) <= sys.version_info < (3, 13), reason="theirs run on Python 3.11 and 3.12 only"),
    pytest.mark.skipif(os.name == "nt", reason="the environments are laid out as on POSIX"),
]

# O and T install ours and theirs, o and t an older version of it, -O removes it, =O installs it once more.
WALKS = [
    "T O -O -T",
    "T O -T -O",
    "O T -O -T",
    "O T -T -O",
    "o T O -O",  # an upgrade of ours beside theirs
    "O t T -O",  # an upgrade of theirs beside ours
    "T O =T -O",  # what a build server does
    "O T =O -T",
    "o t T O -T",
]

# Prints whose modules are imported, uses them, and checks that each distribution has all of its files.
LOOK = """
import importlib.metadata, importlib.util, sys, tempfile
from pathlib import Path
ours, theirs, deep = sys.argv[1:]
def who(name):
    spec = importlib.util.find_spec(name)
    return "nobody" if spec is None else "theirs" if spec.origin.endswith(".py") else "ours"
try:
    import neuralib
    found = importlib.util.find_spec("neuralib.persistence")
except ImportError:
    found = None
state = "nobody" if found is None or found.origin is None else "theirs" if found.origin.endswith(".py") else "ours"
if state == "ours" or state == "theirs" and deep == "deep":
    names = ["persistence", "validator", "cli_persistence"]
    assert {who(f"neuralib.persistence.{name}") for name in names} == {state}, "a mixture"
    from neuralib import persistence
    from neuralib.persistence import *
    from neuralib.persistence.cli_persistence import PersistenceOptions, get_options_and_cache
    from neuralib.persistence.validator import ETLConcatable
    @persistence.persistence_class
    class Result:
        animal: str = persistence.field(validator=True, filename=True)
        value: int
    with tempfile.TemporaryDirectory() as folder:
        handler = persistence.PickleHandler(Result, Path(folder))
        result = Result("A00")
        result.value = 3
        handler.save_persistence(result)
        assert handler.load_persistence(Result("A00")).value == 3
    assert hasattr(persistence, "KeyMismatchError") == (state == "ours")
whole = []
for name in (ours, theirs):
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    lost = [str(file) for file in distribution.files if not file.locate().exists() and file.name != "py.typed"]
    assert not lost, f"{name} has lost {lost}"
    whole.append(name)
print(state, *whole)
"""

KNOWN = """
from neuralib import persistence
from neuralib.persistence import KeyMismatchError, PickleHandler, load
from neuralib.persistence.cli_persistence import PersistenceOptions


@persistence.persistence_class
class Result:
    animal: str = persistence.field(validator=True, filename=True)


class Options(PersistenceOptions[Result]):
    def empty_cache(self) -> Result:
        return Result("A00")

    def compute_cache(self, result: Result) -> Result:
        return result


reveal_type(load(Result, "a.pkl"))
reveal_type(PickleHandler(Result, "folder").load_persistence("a.pkl"))
reveal_type(Options().load_cache())
reveal_type(KeyMismatchError("a", "b", "c", "d").owner)
"""
KNOWN_TYPES = ["Result", "Result", "Result", "str"]
SHARED = "from neuralib.persistence import PickleHandler\n\nreveal_type(PickleHandler.save_persistence)\n"


def download(folder, requirement):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{requirement} is not to be had: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def with_version(wheel, version, folder):
    """The same wheel under another version, for upgrades."""
    name = wheel.name.split("-")[0]
    before = wheel.name.split("-")[1]
    target = folder / wheel.name.replace(f"-{before}-", f"-{version}-")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as copy:
        for member in source.namelist():
            content = source.read(member)
            if member.endswith("/METADATA"):
                content = content.replace(f"\nVersion: {before}\n".encode(), f"\nVersion: {version}\n".encode())
            if member.endswith("/RECORD"):  # without the checksums, which are those of the former content
                content = re.sub(rb",sha256=[^,]*,\d*", b",,", content)
                content = content.replace(f"{name}-{before}.dist-info".encode(), f"{name}-{version}.dist-info".encode())
            copy.writestr(member.replace(f"{name}-{before}.dist-info", f"{name}-{version}.dist-info"), content)
    return target


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """All wheels, by distribution: (older, current)."""
    newest = Path(WHEEL).resolve()
    found = {OURS: (with_version(newest, "0.0.1", tmp_path_factory.mktemp("older")), newest)}
    for name, versions in THEIRS.items():
        found[name] = tuple(download(tmp_path_factory.mktemp(name), f"{name}=={version}") for version in versions)
    return found


@pytest.fixture(scope="session")
def needed(tmp_path_factory):
    """What all of them import, in a folder for the import path."""
    folder = tmp_path_factory.mktemp("needed")
    uv = (
        [tool("uv"), "pip", "install", "--python", sys.executable]
        if tool("uv")
        else [sys.executable, "-m", "pip", "install"]
    )
    subprocess.run([*uv, "--quiet", "--target", folder, *NEEDED], check=True)
    return folder


def tool(name):
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


class Environment:
    """A new virtual environment, and an installer that works on it."""

    def __init__(self, folder, installer, wheels, theirs):
        venv.create(folder, with_pip=False, symlinks=True)
        self.folder, self.python, self.wheels, self.theirs = folder, folder / "bin/python", wheels, theirs
        self.installed = set()
        if installer == "uv":
            self.install = [
                tool("uv"),
                "pip",
                "install",
                "--python",
                self.python,
                "--no-deps",
                "--reinstall",
                "--quiet",
            ]
            self.remove = [tool("uv"), "pip", "uninstall", "--python", self.python, "--quiet"]
        else:
            pip = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", "--quiet"]
            self.install = [*pip, "install", "--no-deps"]
            self.remove = [*pip, "uninstall", "--yes"]

    def step(self, step):
        """Carry out one step of a walk."""
        name = OURS if step[-1] in "oO" else self.theirs
        older, current = self.wheels[name]
        if step[0] == "-":
            self.run([*self.remove, name])
            self.installed.discard(name)
            return
        again = ["--force-reinstall"] if step[0] == "=" and "--reinstall" not in self.install else []
        self.run([*self.install, *again, older if step in "ot" else current])
        self.installed.add(name)

    def run(self, command, **environment):
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "UV_LINK_MODE": "copy", **environment}
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def look(self, needed, deep):
        """Return who answers to the name, and who is installed."""
        warnings = "ignore::DeprecationWarning"  # one of them says that it is no longer maintained
        look = [self.python, "-W", warnings, "-c", LOOK, OURS, self.theirs, "deep" if deep else "shallow"]
        state, *whole = self.run(look, PYTHONPATH=str(needed)).split()
        return state, set(whole)


def expected(installed):
    return ("ours" if OURS in installed else "theirs" if installed else "nobody"), installed


def walk(folder, installer, wheels, theirs, needed, steps):
    environment = Environment(folder, installer, wheels, theirs)
    for number, step in enumerate(steps, start=1):
        environment.step(step)
        # their modules are used if they are the ones that are imported; an older version needs more than is installed
        found = environment.look(needed, deep=step == "-O" and "t" not in steps)
        assert found == expected(environment.installed), f"{installer}: {' '.join(steps[:number])}: {found}"


@pytest.mark.parametrize("installer", ["pip", "uv"])
@pytest.mark.parametrize("theirs", THEIRS)
def test_ours_is_imported_while_installed_and_what_is_left_is_whole(theirs, installer, wheels, needed, tmp_path):
    """In every order, through upgrades, reinstalls and removals."""
    if installer == "uv" and tool("uv") is None:
        pytest.skip("uv is not installed")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        walks = [
            pool.submit(walk, tmp_path / str(number), installer, wheels, theirs, needed, steps.split())
            for number, steps in enumerate(WALKS)
        ]
        for walk in walks:
            walk.result()


def mypy(environment, code):
    """Return what is revealed, or what is wrong."""
    source = environment.folder / "use.py"
    source.write_text(code)
    options = ["--strict", "--config-file", os.devnull, "--no-incremental", "--python-executable", environment.python]
    command = [sys.executable, "-m", "mypy", *options, source.name]
    done = subprocess.run(command, cwd=environment.folder, capture_output=True, text=True)
    return (
        re.findall(r'Revealed type is "(?:builtins\.|use\.)?(.*)"', done.stdout) if not done.returncode else done.stdout
    )


def pyright(environment, code):
    """Return what is revealed, or what is wrong."""
    (environment.folder / "use.py").write_text(code)
    command = [tool("pyright"), "--pythonpath", environment.python, "use.py"]
    done = subprocess.run(command, cwd=environment.folder, capture_output=True, text=True)
    return re.findall(r'Type of ".*" is "(.*)"', done.stdout) if not done.returncode else done.stdout


@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda function: function.__name__)
@pytest.mark.parametrize("theirs", THEIRS)
def test_type_checkers_see_what_is_imported(theirs, checker, wheels, tmp_path):
    """Ours while it is installed; of theirs, once ours is removed, what they saw before.

    One file is shared, because the standard names it: the mark that a package has types. Removing neuralib-utils takes
    it along, and mypy then asks for it until ours is installed once more.
    """
    pytest.importorskip("mypy", reason="mypy is not installed")
    if tool("pyright") is None or tool("uv") is None:
        pytest.skip("pyright or uv is not installed")
    alone, before, after = (Environment(tmp_path / name, "uv", wheels, theirs) for name in ("alone", "before", "after"))
    alone.step("T")
    of_theirs = checker(alone, SHARED)
    for step in ("T", "O"):
        before.step(step)
    assert checker(before, KNOWN) == KNOWN_TYPES
    before.step("-O")
    assert checker(before, SHARED) == of_theirs
    for step in ("O", "T"):
        after.step(step)
    assert checker(after, KNOWN) == KNOWN_TYPES
    after.step("-T")
    if checker is mypy and theirs == "neuralib-utils":
        assert "missing library stubs or py.typed marker" in checker(after, KNOWN)
        after.step("=O")
    assert checker(after, KNOWN) == KNOWN_TYPES
