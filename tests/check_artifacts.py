"""Checks that an sdist and wheels hold what they should: ``python tests/check_artifacts.py [--complete] FILE...``.

With ``--complete`` they must be all that a release has: the sdist, and a wheel for each Python and machine.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

import wheel_set

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MOST_BYTES = 1_500_000  # a third more than the sdist has: what gets in by chance shows
ALSO = ("docs", "examples", "benchmarks/cases", ".github", ".ci")  # what tests and packagers need too


def sources(*suffixes):
    return {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.suffix in suffixes}


def problems_of_wheel(path):
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        metadata = next(archive.read(member).decode() for member in names if member.endswith(".dist-info/METADATA"))
    wanted = sources(".py", ".pyi") | {"neuralib/persistence/py.typed"}
    yield from (f"lacks {lacking}" for lacking in sorted(wanted - names))
    for source in sources(".pyx"):
        module = re.escape(source.removesuffix(".pyx"))
        built = [member for member in names if re.fullmatch(rf"{module}\.[^/]+\.(so|pyd)", member)]
        if len(built) != 1:
            yield f"has {len(built)} extension modules for {source}"
    for name in sorted(names):
        if name.endswith((".pyx", ".pxd", ".h", ".c")) or "tests/" in name or "__pycache__" in name:
            yield f"holds {name}"
        if not name.startswith(("neuralib/persistence/", f"{path.name.split('-')[0]}-")):
            yield f"holds {name}, outside of its own folder"
        if name == "neuralib/__init__.py":
            yield "holds neuralib/__init__.py: neuralib is a namespace package"
    if not any(member.endswith(".dist-info/licenses/LICENSE") for member in names):
        yield "lacks the licence"
    for line in (
        "Requires-Python: >=3.11",
        "License-Expression: BSD-3-Clause",
        "Description-Content-Type: text/markdown",
    ):
        if f"\n{line}\n" not in metadata:
            yield f"does not say {line}"
    required = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    if sorted(required) != ["numpy", "zlib-ng"]:
        yield f"requires {required}, not numpy and zlib-ng alone"
    if f"\nVersion: {(ROOT / 'VERSION').read_text().strip()}\n" not in metadata:
        yield "has another version than the file VERSION"
    if path.stat().st_size > MOST_BYTES:
        yield f"has {path.stat().st_size} bytes: more than {MOST_BYTES}"


def problems_of_sdist(path):
    with tarfile.open(path) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    wanted = {f"src/{file}" for file in sources(".py", ".pyi", ".pyx", ".h")}
    wanted |= {file.relative_to(ROOT).as_posix() for file in (ROOT / "tests").rglob("*.py")}
    wanted |= {file.relative_to(ROOT).as_posix() for file in (ROOT / "tests" / "golden").rglob("*") if file.is_file()}
    wanted |= {
        file.relative_to(ROOT).as_posix() for folder in ALSO for file in (ROOT / folder).rglob("*") if file.is_file()
    }
    wanted |= {"LICENSE", "README.md", "CHANGELOG.md", "VERSION", "pyproject.toml", "setup.py"}
    yield from (f"lacks {lacking}" for lacking in sorted(wanted - names))
    for name in sorted(names):
        if name.endswith((".c", ".so", ".pyd", ".pyc", ".html")) or "__pycache__" in name:
            yield f"holds {name}"
    if path.stat().st_size > MOST_BYTES:
        yield f"has {path.stat().st_size} bytes: more than {MOST_BYTES}"


def problems_of_release(paths):
    found = [wheel_set.identifier(path.name) for path in paths if path.suffix == ".whl"]
    yield from (f"{identifier} is missing" for identifier in sorted(wheel_set.IDENTIFIERS - set(found)))
    yield from (f"{identifier} is not meant" for identifier in sorted(set(found) - wheel_set.IDENTIFIERS))
    if len(found) != len(set(found)):
        yield "two wheels are for the same"
    if sum(path.name.endswith(".tar.gz") for path in paths) != 1:
        yield "there is not one sdist"


def main(*arguments):
    files = [Path(argument) for argument in arguments if argument != "--complete"]
    bad = not files
    for file in files:
        found = list(problems_of_wheel(file) if file.suffix == ".whl" else problems_of_sdist(file))
        print(f"{file.name} ({file.stat().st_size} bytes): {'; '.join(found) or 'complete'}")
        bad = bad or bool(found)
    if "--complete" in arguments:
        found = list(problems_of_release(files))
        print(f"{len(files)} files: {'; '.join(found) or 'a whole release'}")
        bad = bad or bool(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
