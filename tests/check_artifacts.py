"""Checks that an sdist and wheels hold what they should: ``python tests/check_artifacts.py FILE...``."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MOST_BYTES = 1_000_000


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
        if name == "neuralib/__init__.py":
            yield "holds neuralib/__init__.py: neuralib is a namespace package"
    if not any(it.endswith("/LICENSE") for it in names):
        yield "lacks the licence"
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
    wanted |= {"LICENSE", "README.md", "CHANGELOG.md", "VERSION", "pyproject.toml", "setup.py"}
    yield from (f"lacks {it}" for it in sorted(wanted - names))
    for name in sorted(names):
        if name.endswith((".c", ".so", ".pyc", ".html")) or "__pycache__" in name:
            yield f"holds {name}"


def main(*files):
    bad = False
    for file in map(Path, files):
        found = list(problems_of_wheel(file) if file.suffix == ".whl" else problems_of_sdist(file))
        print(f"{file.name} ({file.stat().st_size} bytes): {'; '.join(found) or 'complete'}")
        bad = bad or bool(found)
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
