"""Names the extension modules; everything else about the build stands in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

PACKAGE = Path("src/neuralib/persistence")
# For a coverage run of the compiled core: the C must then stand beside the .pyx.
TRACE = bool(os.environ.get("NEURALIB_PERSISTENCE_TRACE"))

extensions = [
    Extension(
        f"neuralib.persistence.{source.stem}",
        [source.as_posix()],
        depends=[(PACKAGE / "_port.h").as_posix()],
        include_dirs=[PACKAGE.as_posix()],
        define_macros=[("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")] if TRACE else [],
    )
    for source in sorted(PACKAGE.glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir=None if TRACE else "build/cython",
        annotate=bool(os.environ.get("NEURALIB_PERSISTENCE_ANNOTATE")),
        compiler_directives={"linetrace": TRACE},
    )
)
