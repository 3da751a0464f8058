"""Compile the generated C for every system that gets wheels, on this one: ``python .ci/compile_everywhere.py``.

The extension modules are translated by Cython (``-Wextra``), and their C is compiled by the clang of the package
``ziglang``, which carries the C headers of all these systems; a warning of either is a failure. It proves that the code
compiles there, not that it runs. Needs Cython and ziglang, and the headers of the Python that runs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src/neuralib/persistence"
MODULES = sorted(PACKAGE.glob("*.pyx"))

# The target's name for the compiler, and a function that only its own branch of _port.h calls.
TARGETS = {
    "x86_64-windows-gnu": b"GetFileAttributesExW",
    "aarch64-windows-gnu": b"GetFileAttributesExW",
    "x86_64-macos": b"renamex_np",
    "aarch64-macos": b"renamex_np",
    "x86_64-linux-musl": b"fallocate",
    "aarch64-linux-musl": b"fallocate",
    "x86_64-linux-gnu.2.17": b"fallocate",
    "aarch64-linux-gnu.2.17": b"fallocate",
}
# What the headers of Python ask of a Windows compiler, in the place of the file that configure wrote for this system.
WINDOWS_PYCONFIG = """
#include <stddef.h>
#include <stdio.h>
#define MS_WIN32
#define MS_WINDOWS
#define MS_WIN64
#define NT_THREADS
#define WITH_THREAD
#define HAVE_WCHAR_H 1
#define HAVE_PY_SSIZE_T 1
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_FPOS_T 8
#define SIZEOF_PID_T 4
#define SIZEOF_WCHAR_T 2
#define ALIGNOF_SIZE_T 8
#define ALIGNOF_MAX_ALIGN_T 8
#define PY_SSIZE_T_MAX 0x7fffffffffffffffLL
typedef __int64 Py_ssize_t;
"""
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def translate(module: Path, folder: Path) -> Path:
    target = folder / f"{module.stem}.c"
    subprocess.run([sys.executable, "-m", "cython", "-Wextra", "-Werror", module, "-o", target], check=True)
    return target


def headers_for_windows(folder: Path) -> Path:
    """Return a copy of Python's headers with the settings of Windows: they include their neighbour by its name."""
    target = folder / "windows"
    shutil.copytree(sysconfig.get_path("include"), target)
    (target / "pyconfig.h").write_text(WINDOWS_PYCONFIG)
    return target


def compile_c(source: Path, target: str, headers: Path, *options: str) -> bytes:
    """Return the object file."""
    result = source.with_name(f"{source.stem}-{target}{''.join(options)}.o")
    places = [f"-I{headers}", f"-I{PACKAGE}"]
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-c", "-O0"]
    command = [*compiler, *WARNINGS, *options, *places, source, "-o", result]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{source.name} does not compile for {target}:\n{done.stderr}")
    return result.read_bytes()


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(name)
        os.environ["ZIG_GLOBAL_CACHE_DIR"] = os.environ["ZIG_LOCAL_CACHE_DIR"] = str(folder / "cache")
        here, windows = Path(sysconfig.get_path("include")), headers_for_windows(folder)
        alone = folder / "alone.c"
        alone.write_text('#include "_port.h"\n#include "_listing.h"\n')  # what they promise: no Python is needed
        sources = list(pool.map(lambda module: translate(module, folder), MODULES))
        jobs = {}
        for target in TARGETS:
            headers = windows if "windows" in target else here
            jobs[alone.stem, target] = pool.submit(compile_c, alone, target, folder, "-Wno-unused-function")
            for source in sources:
                jobs[source.stem, target] = pool.submit(compile_c, source, target, headers)
            # Python's own headers for Windows on ARM then ask for a function of Microsoft's compiler
            if sys.version_info >= (3, 13) and target != "aarch64-windows-gnu":
                for source in sources:
                    free = pool.submit(compile_c, source, target, headers, "-DPy_GIL_DISABLED=1")
                    jobs[f"{source.stem}, free-threaded", target] = free
        for (module, target), job in jobs.items():
            try:
                compiled = job.result()
            except SystemExit:
                pool.shutdown(cancel_futures=True)
                raise
            if module == "_disk" and TARGETS[target] not in compiled:
                raise SystemExit(f"{target}: another system's branch of _port.h was compiled")
            if module == "_scan" and (b"FindFirstFileW" if "windows" in target else b"opendir") not in compiled:
                raise SystemExit(f"{target}: another system's branch of _listing.h was compiled")
    print(f"{len(jobs)} compilations without a warning, for {', '.join(TARGETS)}")


if __name__ == "__main__":
    main()
