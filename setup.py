"""Names the extension modules, and lets two builds give the same bytes; all else about the build is in pyproject.toml."""

import gzip
import os
import sys
import tarfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.sdist import sdist

PACKAGE = Path("src/neuralib/persistence")
# For a coverage run of the compiled core: the C must then stand beside the .pyx.
TRACE = bool(os.environ.get("NEURALIB_PERSISTENCE_TRACE"))
# No binary tells in which folder it was compiled.
REPRODUCIBLE = [] if sys.platform == "win32" else [f"-ffile-prefix-map={Path.cwd()}=."]

extensions = [
    Extension(
        f"neuralib.persistence.{source.stem}",
        [source.as_posix()],
        depends=[header.as_posix() for header in sorted(PACKAGE.glob("*.h"))],
        include_dirs=[PACKAGE.as_posix()],
        extra_compile_args=REPRODUCIBLE,
        define_macros=[("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")] if TRACE else [],
    )
    for source in sorted(PACKAGE.glob("*.pyx"))
]


class ReproducibleSdist(sdist):
    """Packs the sdist so that it tells nothing of who built it where, and when: with ``SOURCE_DATE_EPOCH``, as wheels do."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is None or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)

        def neutral(entry):
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = int(epoch), 0, 0, "", ""
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            return entry

        target = Path(f"{base_name}.tar.gz")
        with (
            target.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for path in sorted([Path(base_dir), *Path(base_dir).rglob("*")]):
                archive.add(path, recursive=False, filter=neutral)
        return str(target)


setup(
    cmdclass={"sdist": ReproducibleSdist},
    ext_modules=cythonize(
        extensions,
        build_dir=None if TRACE else "build/cython",
        annotate=bool(os.environ.get("NEURALIB_PERSISTENCE_ANNOTATE")),
        compiler_directives={"linetrace": TRACE},
    ),
)
