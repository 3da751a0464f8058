"""Files travel both ways between this package and ``neuralib-utils`` 0.7.3.

    python tests/compat/check_upstream_reads_ours.py

Builds an environment for each side (this source tree here, that release there), lets each save the classes and values
of ``both_sides.py``, and lets the other load them by path and by keys. Names must agree to the byte, values in type,
order and content. Needs a package index, and Python 3.11 or 3.12, which is all that release runs on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("both_sides.py")
# Its declared dependencies are many and large, and one is missing. Importing its module needs these.
NEEDED = ["numpy", "argclz", "typing_extensions", "colorama", "h5py", "pandas", "polars"]
THEIRS = [["--no-deps", "neuralib-utils==0.7.3"], NEEDED]


def environment(folder: Path, *requirements: list[str]) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    for requirement in requirements:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirement], check=True)
    return python


def main() -> int:
    if sys.version_info[:2] not in {(3, 11), (3, 12)}:
        print("neuralib-utils 0.7.3 runs on Python 3.11 and 3.12 only: run this with one of them")
        return 2
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        ours = environment(work / "ours", [str(ROOT)])
        theirs = environment(work / "theirs", *THEIRS)
        for writer, reader, label in ((ours, theirs, "ours, read by theirs"), (theirs, ours, "theirs, read by ours")):
            print(label, flush=True)
            target = work / label.split(",", maxsplit=1)[0]
            for python, what in ((writer, "save"), (reader, "load")):
                bad += subprocess.run([python, SCRIPT, what, target], cwd=work, check=False).returncode
    print("files travel both ways" if not bad else "FAILED")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
