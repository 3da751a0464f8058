"""Two builds of the package side by side: ``before_after.py --before PYTHON --after PYTHON``.

Each PYTHON is the interpreter of an environment that has one of the builds installed. Each path is measured in pairs of
processes, one of each build, which take turns in the order before, after, after, before. Both have new folders in one file
system. In every second pair, the process of the build *after* begins. The figure is the median of the ratios of all rounds,
after divided by before: below 1 is quicker. The range beside it holds the ratios from 5 to 95 %. A path is marked slower or
quicker if that whole range lies above or below 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from compare import MEMORY, Skipped, Worker


class Route(NamedTuple):
    """One path through the package: the case in ``cases/``, and the side of it, that measure it."""

    case: str
    side: str = "ours"
    on_disk: bool = False  # whether the time depends on the kind of folder
    rounds: int = 10  # in all pairs of processes together; a round has four batches, two of each build
    pairs: int = 2  # of processes; an even number, so that each build begins equally often
    turns: int = 1  # how often the four batches are repeated in a round; its time is their mean


PATHS = [
    Route("as_dict", rounds=24, pairs=6, turns=2),
    Route("from_dict", rounds=24, pairs=6, turns=2),
    Route("filename", rounds=24, pairs=6, turns=2),
    Route("__init__", rounds=24, pairs=6, turns=2),
    Route("save", on_disk=True, rounds=12, pairs=4, turns=2),
    Route("replaced save", on_disk=True, rounds=10),
    Route("first save into a missing folder", on_disk=True, rounds=10),
    Route("load", on_disk=True, rounds=12, pairs=4, turns=3),
    Route("numbered save loop", on_disk=True, rounds=10),
    Route("200 series in turn", rounds=4),
    Route("load_all of 5000", on_disk=True, rounds=6),
    Route("save 100 KB", on_disk=True, rounds=10),
    Route("load 100 KB", on_disk=True, rounds=12, turns=3),
    Route("save 64 MB", on_disk=True, rounds=6),
    Route("load 64 MB", on_disk=True, rounds=6),
    Route("gzip, small", on_disk=True),
    Route("load gzip, small"),
    Route("gzip 32 MB", rounds=2),
    Route("load gzip 32 MB", rounds=6),
    Route("find 20000", on_disk=True, rounds=6),
    Route("table of 20000", rounds=8),
    Route("table of 20000 with a score", rounds=6),
    Route("verify 500", rounds=8),
    Route("verify 64 MB", rounds=8),
]
BUILDS = ("before", "after")
FEW = 5  # with fewer rounds, the range says too little to mark a path


def rounds_of_pair(
    path: Route, pythons: list[str], folder: Path, rounds: int, order: tuple[int, int]
) -> list[tuple[float, float]]:
    """Start a process of each build; return the seconds of both builds in each of *rounds*.

    :param order: which build begins. The order decides where its files lie in memory, which may make a difference of 20 %
    """
    # names of equal length, since the system's work depends on the length of a path
    workers = [Worker(pythons[build], path.case, path.side, folder / "ab"[build]) for build in (0, 1)]
    first, second = order
    try:
        for build in order:
            workers[build].run()  # makes the files and warms up
        found = []
        for _ in range(rounds):
            seconds: list[list[float]] = [[], []]
            for _ in range(path.turns):
                for build in (first, second, second, first):
                    seconds[build].append(workers[build].run())
            found.append((statistics.fmean(seconds[0]), statistics.fmean(seconds[1])))
        return found
    finally:
        for worker in workers:
            worker.stop()


def measure(path: Route, pythons: list[str], folder: Path, factor: float) -> dict[str, object]:
    """Return the figures of *path*.

    :param pythons: the interpreters with the build before and the one after
    :param factor: multiplies the number of rounds
    """
    rounds = max(1, round(path.rounds * factor))
    pairs = min(path.pairs, rounds)
    found = []
    for pair in range(pairs):
        part = rounds * (pair + 1) // pairs - rounds * pair // pairs
        found += rounds_of_pair(path, pythons, folder / str(pair), part, order=(1, 0) if pair % 2 else (0, 1))
        if str(folder).startswith(MEMORY):  # memory is soon full; on a disk, deleting would slow down what follows
            shutil.rmtree(folder / str(pair))
    ratios = sorted(after / before for before, after in found)
    low, high = ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]
    return {
        "case": path.case,
        "seconds_before": statistics.median(before for before, _ in found),
        "seconds_after": statistics.median(after for _, after in found),
        "ratio": statistics.median(ratios),
        "ratio_5_95_percent": [low, high],
        "rounds": rounds,
        "change": "" if rounds < FEW else "slower" if low > 1 else "quicker" if high < 1 else "",
    }


def shown_time(seconds: float) -> str:
    """Return *seconds* as text, in s, ms, µs or ns."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def line_of(row: dict[str, object]) -> str:
    """Return the line of the table for the figures *row*."""
    name = f"{row['case']} [{row['folder']}]" if row["folder"] else row["case"]
    low, high = row["ratio_5_95_percent"]  # type: ignore[misc]
    before, after = (shown_time(row[f"seconds_{build}"]) for build in BUILDS)  # type: ignore[arg-type]
    return f"{name:<48} {before:>9} {after:>9} {row['ratio']:8.3f}  ({low:.2f}-{high:.2f})  {row['change']}".rstrip()


def described(python: str) -> str:
    """Return the version and the place of the package that *python* imports.

    :raises SystemExit: it has none
    """
    program = """
import importlib.metadata, platform
from neuralib.persistence import persistence
print(importlib.metadata.version("neuralib-persistence"), "of", persistence.__file__, "on Python", platform.python_version())
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", program], env=environment, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir()
    )
    if done.returncode:
        raise SystemExit(f"{python} can't import the package:\n{done.stderr}")
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for build in BUILDS:
        parser.add_argument(
            f"--{build}", required=True, metavar="PYTHON", help=f"the interpreter with the build {build}"
        )
    parser.add_argument("--case", action="append", help="only paths whose name contains this (may be repeated)")
    parser.add_argument("--folder", action="append", help="where files are written; default: memory and disk")
    parser.add_argument("--rounds", type=float, default=1.0, help="factor on the number of rounds of each path")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()

    paths = [path for path in PATHS if options.case is None or any(part in path.case for part in options.case)]
    if not paths:
        parser.error(f"no path has such a name; there are: {', '.join(path.case for path in PATHS)}")
    pythons = [options.before, options.after]
    for build, python in zip(BUILDS, pythons, strict=True):
        print(f"{build + ':':<8}{described(python)}")
    roots = options.folder or ([MEMORY] if os.path.isdir(MEMORY) else []) + [tempfile.gettempdir()]
    began = time.monotonic()
    rows: list[dict[str, object]] = []
    failed = []
    print(f"{'path':<48} {'before':>9} {'after':>9}    ratio  (5-95 %)")
    for root in roots:
        work = Path(tempfile.mkdtemp(prefix="benchmark-", dir=root))
        try:
            for number, path in enumerate(paths):
                if not path.on_disk and root != roots[0]:
                    continue
                try:
                    row = measure(path, pythons, work / str(number), options.rounds)
                except (RuntimeError, Skipped) as error:  # other paths may work
                    print(f"{path.case:<48} {error}", flush=True)
                    failed.append(path.case)
                    continue
                rows.append({**row, "folder": root if path.on_disk else None})
                print(line_of(rows[-1]), flush=True)
                if options.json:  # after each path, so that a late error loses nothing
                    options.json.write_text(json.dumps({"pythons": pythons, "rows": rows}, indent=1) + "\n")
        finally:
            shutil.rmtree(
                work, ignore_errors=True
            )  # at the end: on ext4, deleting files makes creating others slow for a while
    print(
        f"{len(rows)} rows in {time.monotonic() - began:.0f} s" + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
