"""How many processor instructions the small paths take: ``python benchmarks/instructions.py`` (needs valgrind).

Unlike times, these counts are the same from run to run, whatever else the machine does. They depend on the Python build
and the compiler: compare them with those of another commit, or of the other side, on the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PATHS = {  # each small path of ours, and what it is compared with
    "as_dict": ("ours", "msgspec"),
    "as_dict, another order": ("ours", "msgspec"),
    "as_dict, an attribute more": ("ours", "msgspec"),
    "as_dict, a field unset": ("ours", "msgspec"),
    "as_dict, subclass": ("ours", "msgspec"),
    "from_dict": ("ours", "dataclass"),
    "from_dict, the class's own names": ("ours", "dataclass"),
    "filename": ("ours", "f-string"),
    "filename, float": ("ours", "f-string"),
    "filename, None": ("ours", "f-string"),
    "filename, bool": ("ours", "f-string"),
    "filename, Enum": ("ours", "f-string"),
    "filename, numpy": ("ours", "f-string"),
    "filename, function": ("ours", "f-string"),
    "__init__": ("ours", "dataclass"),
}
FEW, MANY = 1_000, 21_000


def call_repeatedly(case: str, name: str, count: int) -> None:
    """Run the statement of one side *count* times; valgrind counts its instructions."""
    from cases import SIDES, common

    common.SMALL = count
    next(SIDES[case][name](Path()))()


def instructions(case: str, name: str, count: int) -> int:
    """Return the instructions of a whole process that runs the statement *count* times."""
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []  # random addresses change the counts a little
    command = [*fixed, "valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}"]
    command += [sys.executable, __file__, "--one", case, name, str(count)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # idle threads of numpy count too
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind failed for {case}, {name}:\n{done.stderr[-2000:]}")
    return int(found.group(1))


def per_call(case: str, name: str) -> float:
    """Return the instructions of one call, without the start and the end of the process."""
    return (instructions(case, name, MANY) - instructions(case, name, FEW)) / (MANY - FEW)


def compare() -> dict[str, dict[str, float]]:
    """Print the table of counts, and return them."""
    print(f"{'path':<32} {'ours':>10} {'other':>10}   ratio")
    counts = {}
    for case, (ours, other) in PATHS.items():
        mine, theirs = per_call(case, ours), per_call(case, other)
        counts[case] = {"ours": mine, other: theirs}
        print(f"{case:<32} {mine:>10.0f} {theirs:>10.0f} {mine / theirs:>7.2f}  ({other})", flush=True)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the counts here")
    parser.add_argument("--one", nargs=3, metavar=("CASE", "SIDE", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        call_repeatedly(options.one[0], options.one[1], int(options.one[2]))
        return 0
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed: its package has that name in every distribution of Linux")
    counts = compare()
    if options.json:
        options.json.write_text(json.dumps({"instructions_per_call": counts}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
