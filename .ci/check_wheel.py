"""Repair a Linux wheel as releases do, and look at what it needs: ``python .ci/check_wheel.py WHEEL``.

auditwheel repairs it for the C library of this machine; then its symbols are read: releases, which are built with an older
C library, run wherever there is glibc 2.17 only if no younger function is used. Needs auditwheel and patchelf.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile

OLDEST_GLIBC = (2, 17)
# Functions of every glibc, which had other names before 2.33.
RENAMED = {"stat", "fstat", "lstat", "fstatat", "mknod"}
LIBRARIES = {"libc.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def needs(binary: bytes) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the names of the libraries, and (function, version) of each symbol, that a shared object asks for."""
    elf = ELFFile(BytesIO(binary))
    libraries = {tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")}
    required = elf.get_section_by_name(".gnu.version_r")
    names = (
        {each["vna_other"]: each.name for _, versions in required.iter_versions() for each in versions}
        if required
        else {}
    )
    numbers = elf.get_section_by_name(".gnu.version")
    symbols = set()
    for index, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols()):
        version = names.get(numbers.get_symbol(index)["ndx"]) if numbers else None
        if version:
            symbols.add((symbol.name, version))
    return libraries, symbols


def repair(wheel: Path, folder: Path) -> Path:
    report = subprocess.run(["auditwheel", "show", wheel], check=True, capture_output=True, text=True).stdout
    print(report.strip())
    platform = re.search(r'platform tag: "(manylinux_\w+)"', " ".join(report.split()))
    if platform is None:
        raise SystemExit(f"{wheel.name}: auditwheel names no manylinux platform")
    command = ["auditwheel", "repair", "--strip", "--plat", platform[1], "-w", folder, wheel]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (repaired,) = folder.glob("*.whl")
    return repaired


def problems(wheel: Path) -> list[str]:
    found = []
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if name.endswith(".so")]
        for module in modules:
            libraries, symbols = needs(archive.read(module))
            found += [f"{module} needs {library}" for library in sorted(libraries - LIBRARIES)]
            for name, version in sorted(symbols):
                number = tuple(map(int, re.findall(r"\d+", version)))
                if number > OLDEST_GLIBC and name.removesuffix("64") not in RENAMED:
                    found.append(f"{module} uses {name} of {version}")
        if not modules:
            found.append(f"{wheel.name} holds no extension module")
        found += [f"{name} was copied in" for name in archive.namelist() if ".libs/" in name]
    return found


def main(*wheels: str) -> None:
    for wheel in map(Path, wheels):
        with tempfile.TemporaryDirectory() as folder:
            repaired = repair(wheel, Path(folder))
            found = problems(repaired)
            print(f"{repaired.name} ({wheel.stat().st_size} bytes before, {repaired.stat().st_size} after)")
            if found:
                raise SystemExit("\n".join(found))
            glibc = ".".join(map(str, OLDEST_GLIBC))
            print(f"nothing younger than glibc {glibc} is used, no library but the C library's own")


if __name__ == "__main__":
    main(*sys.argv[1:])
