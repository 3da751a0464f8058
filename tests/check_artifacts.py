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
MOST_BYTES = 1_200_000
ALSO = ("docs", "examples", "benchmarks/cases", ".github", ".ci")  # what tests and packagers need besides


def sources(*suffixes):
    return {it.relative_to(SOURCE).as_posix() for it in SOURCE.rglob("*") if it.suffix in suffixes}


def problems_of_wheel(path):
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        metadata = next(archive.read(it).decode() for it in names if it.endswith(".dist-info/METADATA"))
    wanted = sources(".py", ".pyi") | {"neuralib/persistence/py.typed"}
    yield from (f"lacks {it}" for it in sorted(wanted - names))
    for source in sources(".pyx"):
        module = re.escape(source.removesuffix(".pyx"))
        built = [it for it in names if re.fullmatch(rf"{module}\.[^/]+\.(so|pyd)", it)]
        if len(built) != 1:
            yield f"has {len(built)} extension modules for {source}"
    for name in sorted(names):
        if name.endswith((".pyx", ".pxd", ".h", ".c")) or "tests/" in name or "__pycache__" in name:
            yield f"holds {name}"
        if not name.startswith(("neuralib/persistence/", f"{path.name.split('-')[0]}-")):
            yield f"holds {name}, outside of its own folder"
        if name == "neuralib/__init__.py":
            yield "holds neuralib/__init__.py: neuralib is a namespace package"
    if not any(it.endswith(".dist-info/licenses/LICENSE") for it in names):
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
        names = {it.name.split("/", 1)[1] for it in archive.getmembers() if it.isfile()}
    wanted = {f"src/{it}" for it in sources(".py", ".pyi", ".pyx", ".h")}
    wanted |= {it.relative_to(ROOT).as_posix() for it in (ROOT / "tests").rglob("*.py")}
    wanted |= {it.relative_to(ROOT).as_posix() for it in (ROOT / "tests" / "golden").rglob("*") if it.is_file()}
    wanted |= {it.relative_to(ROOT).as_posix() for folder in ALSO for it in (ROOT / folder).rglob("*") if it.is_file()}
    wanted |= {"LICENSE", "README.md", "CHANGELOG.md", "VERSION", "pyproject.toml", "setup.py"}
    yield from (f"lacks {it}" for it in sorted(wanted - names))
    for name in sorted(names):
        if name.endswith((".c", ".so", ".pyd", ".pyc", ".html")) or "__pycache__" in name:
            yield f"holds {name}"
    if path.stat().st_size > MOST_BYTES:
        yield f"has {path.stat().st_size} bytes: more than {MOST_BYTES}"


def problems_of_release(paths):
    found = [wheel_set.identifier(it.name) for it in paths if it.suffix == ".whl"]
    yield from (f"{it} is missing" for it in sorted(wheel_set.IDENTIFIERS - set(found)))
    yield from (f"{it} is not meant" for it in sorted(set(found) - wheel_set.IDENTIFIERS))
    if len(found) != len(set(found)):
        yield "two wheels are for the same"
    if sum(it.name.endswith(".tar.gz") for it in paths) != 1:
        yield "there is not one sdist"


def main(*arguments):
    files = [Path(it) for it in arguments if it != "--complete"]
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
