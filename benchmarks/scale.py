"""Folders and archives of 10,000 to 1,000,000 small results: the time and memory of each step, and how they grow.

``python benchmarks/scale.py --json scale.json --png scale.png``. Each step runs in a process of its own. Its time is without that
of starting Python (but for ``ls``), its memory the most that the process took, with Python and numpy.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import picture
from cases.common import KEYS, made, small_class

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {"folder": "results", "archive": "results.sqlar"}
SIZES = (10_000, 100_000, 1_000_000)
SERIES = 1_000


@functools.cache
def result_class() -> Any:
    return small_class()


def results(count: int, first: int = 0) -> Any:
    """Yield results without numbers, of 1,000 series in turn."""
    cls = result_class()
    for number in range(first, first + count):
        result = made(cls, None)
        result.animal = f"S{number % SERIES:03d}"
        yield result


def handler_at(place: str) -> Any:
    from neuralib.persistence import PickleHandler

    return PickleHandler(result_class(), place)


def save_all(place: str, count: int) -> None:
    assert handler_at(place).save_all(results(count)) == count


def save_one(place: str, count: int) -> None:
    result = handler_at(place).save_persistence(next(iter(results(1, count))))
    assert result.run >= count // SERIES


def find_all(place: str, count: int) -> None:
    assert len(handler_at(place).find()) >= count


def find_one(place: str, count: int) -> None:
    animal, date, plane, signal, _ = ("S007", *KEYS[1:])
    found = handler_at(place).find(animal=animal, date=date, plane=plane, signal=signal, run=count // SERIES - 1)
    assert len(found) == 1


def find_series(place: str, count: int) -> None:
    assert len(handler_at(place).find(animal="S007")) >= count // SERIES


def todo(place: str, count: int) -> None:
    grid = {"animal": [f"S{number:03d}" for number in range(SERIES)], "date": KEYS[1], "plane": 3, "signal": "df_f"}
    grid["selection"] = "all"
    assert not list(handler_at(place).todo(grid, repeat=count // SERIES))


def table(place: str, count: int) -> None:
    assert len(handler_at(place).find().to_columns("score")["score"]) >= count


def load_all(place: str, count: int) -> None:
    from neuralib.persistence import missing

    names = ("animal", "date", "plane", "signal")
    assert sum(1 for _ in handler_at(place).load_all(None, **dict.fromkeys(names, missing))) >= count


def ls(place: str, count: int, *, first_row: bool = False) -> None:
    command = [sys.executable, "-m", "neuralib.persistence", "ls", place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listing:
        assert listing.stdout is not None
        rows = 0
        for line in listing.stdout:
            rows += ".pkl" in line
            if first_row and rows:
                listing.kill()
                return
    assert rows >= count


def ls_first_row(place: str, count: int) -> None:
    ls(place, count, first_row=True)


STEPS: dict[str, Callable[[str, int], None]] = {
    "save_all": save_all,
    "a numbered save, fresh process": save_one,
    "find all": find_all,
    "find one series": find_series,
    "find one name": find_one,
    "todo": todo,
    "table with a score": table,
    "load_all": load_all,
    "ls, first row": ls_first_row,
    "ls": ls,
}


def step(name: str, place: str, count: int) -> dict[str, float]:
    """Run one step here; return its seconds and MiB."""
    import sqlite3  # noqa: F401 - what is imported at first use is no part of the time

    assert len(handler_at(f"{place}-none").find()) == len(list(results(1))) - 1
    start = time.perf_counter()
    STEPS[name](place, count)
    seconds = time.perf_counter() - start
    who = resource.RUSAGE_CHILDREN if name.startswith("ls") else resource.RUSAGE_SELF
    return {"seconds": seconds, "mebibytes": resource.getrusage(who).ru_maxrss / 1024}


def size_of(place: Path) -> int:
    """Return the bytes that *place* takes on its disk."""
    if not place.is_dir():
        return place.stat().st_blocks * 512
    with os.scandir(place) as entries:  # one by one: the memory of this process counts as that of those it starts
        return sum(entry.stat().st_blocks * 512 for entry in entries)


def measure(root: Path, sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    for count in sizes:
        for kind, name in KINDS.items():
            place = root / str(count) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            for title in STEPS:
                command = [sys.executable, __file__, "--step", title, "--place", str(place), "--size", str(count)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows.append({"kind": kind, "results": count, "step": title, **json.loads(done.stdout)})
                print(
                    f"{count:>9,} {kind:<8} {title:<32} {rows[-1]['seconds']:10.4f} s {rows[-1]['mebibytes']:8.0f} MiB",
                    flush=True,
                )
            rows.append({"kind": kind, "results": count, "step": "bytes on the disk", "bytes": size_of(place)})
            print(f"{count:>9,} {kind:<8} bytes on the disk, each {rows[-1]['bytes'] / count:22,.0f}", flush=True)
        shutil.rmtree(root / str(count))
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the time of each step against the number of results, and below, its memory."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    columns = 5
    lines = -(-len(STEPS) // columns)
    figure, axes = plt.subplots(2 * lines, columns, figsize=(12, 5 * lines), sharex=True)
    measured = [row for row in rows if row["step"] in STEPS]
    for first_line, unit, label in ((0, "seconds", "seconds"), (lines, "mebibytes", "MiB")):
        values = [row[unit] for row in measured]
        for number, title in enumerate(STEPS):
            axis = axes[first_line + number // columns][number % columns]
            for kind in KINDS:
                points = [
                    (row["results"], row[unit]) for row in measured if (row["kind"], row["step"]) == (kind, title)
                ]
                axis.loglog(*zip(*points, strict=True), marker="o", label=kind)
            axis.set_ylim(min(values) / 2, max(values) * 2)  # one scale, so that steps can be compared
            axis.set_title(title, fontsize=9)
            axis.grid(visible=True, alpha=0.3)
            axis.yaxis.set_minor_formatter(NullFormatter())
            if unit == "mebibytes":
                axis.set_yticks([50, 100, 200, 400], ["50", "100", "200", "400"])
            axis.tick_params(which="both", labelsize=8, labelleft=number % columns == 0)
            if number % columns == 0:
                axis.set_ylabel(label)
    for axis in axes[-1]:
        axis.set_xlabel("results")
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    picture.keep(figure, path, 80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the results are made")
    parser.add_argument("--size", type=int, action="append", help="how many results (may be repeated)")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--png", type=Path, help="draw them here")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(step(options.step, options.place, options.size[0])))
        return
    with tempfile.TemporaryDirectory(prefix="scale-", dir=options.folder) as work:
        rows = measure(Path(work), options.size or list(SIZES))
    if options.json:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")
    if options.png:
        draw(rows, options.png)


if __name__ == "__main__":
    main()
