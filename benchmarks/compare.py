"""Compare this library with code by hand, with the existing implementation, and with other libraries: ``python benchmarks/compare.py``.

Each side of a case runs in a process of its own. The batches of both take turns, so a busy machine slows both. A process can
be fast or slow for its whole life, depending on where its memory is; such cases are measured in several pairs of processes. A
processor can be twice as slow for milliseconds, while the other thread of its core is busy; so a round of a short path is the
mean of several batches, and a long loop is measured in parts, between which the other side has its turn. The figure is the
ratio of the medians of the rounds, ours divided by the other's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import instructions

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
BUILD = HERE.parent / "build"
PEERS = {  # sides that need another library, and what is installed into their environment at the first run
    "existing": [
        ["--no-deps", "neuralib-utils==0.7.3"],
        ["numpy", "argclz", "typing_extensions", "colorama", "h5py", "pandas", "polars"],
    ],
    "signac": [["signac>=2.2", "numpy"]],
    "joblib": [["joblib>=1.4", "numpy"]],
}


class Case(NamedTuple):
    name: str
    ours: str
    other: str
    at_most: float | None  # the aim: the ratio should not be larger
    rounds: int = 30
    on_disk: bool = False  # whether the time depends on the kind of folder
    waits: bool = False  # whether it waits for the disk, so that it can't be measured in memory
    on_journal: bool = False  # whether it is measured on a disk with a journal too
    pairs: int = 1  # of processes, over which the rounds are divided
    turns: int = 1  # batches of each side in a round, alternating; the time of the round is their mean


CASES = [
    Case("as_dict", "ours", "msgspec", 0.7, pairs=6, turns=10),
    Case("from_dict", "ours", "dataclass", 1.0, pairs=6, turns=10),
    Case("filename", "ours", "f-string", 1.0, pairs=6, turns=10),
    Case("__init__", "ours", "dataclass", 1.0, pairs=6, turns=20),
    Case("as_dict, another order", "ours", "msgspec", 1.0, pairs=6, turns=10),
    Case("as_dict, an attribute more", "ours", "msgspec", 1.0, pairs=6, turns=10),
    Case("as_dict, a field unset", "ours", "msgspec", 1.0, pairs=6, turns=10),
    Case("as_dict, subclass", "ours", "msgspec", 1.0, pairs=6, turns=10),
    Case("from_dict, the class's own names", "ours", "dataclass", 1.0, pairs=6, turns=10),
    Case("filename, float", "ours", "f-string", 1.0, pairs=6, turns=10),
    Case("filename, None", "ours", "f-string", 1.0, pairs=6, turns=10),
    Case("filename, bool", "ours", "f-string", 1.0, pairs=6, turns=10),
    Case("filename, Enum", "ours", "f-string", 1.0, pairs=6, turns=10),
    Case("filename, numpy", "ours", "f-string", 1.0, pairs=6, turns=10),
    Case("filename, function", "ours", "f-string", 1.0, pairs=6, turns=10),
    Case("save", "ours", "by hand", 1.0, on_disk=True, pairs=5, turns=3),
    Case("load", "ours", "by hand", 1.0, on_disk=True, pairs=5, turns=5),
    Case("durable save", "batch of 200", "one by one", 0.1, 10, on_disk=True, waits=True, on_journal=True),
    Case("durable save", "batch of 1000", "one by one", 0.1, 10, on_disk=True, waits=True, on_journal=True),
    Case("small save", "ours", "C and pickle", 1.5, pairs=5, turns=10),
    Case("replaced save", "ours", "plain save", 1.5, pairs=5, turns=3),
    Case("first save into a missing folder", "ours", "plain save", 1.5, pairs=5, turns=3),
    Case("load_all of 5000", "ours", "by hand", 1.1, 10, on_disk=True),
    Case("save 100 KB", "ours", "by hand", 1.1, on_disk=True, pairs=5, turns=3),
    Case("load 100 KB", "ours", "by hand", 1.1, on_disk=True, pairs=5, turns=5),
    Case("load 400 KB of Python objects", "ours", "by hand", 1.1, pairs=5, turns=3),
    Case("save, loop of 1000", "numbered", "not numbered", 1.1, 30, on_disk=True, pairs=6, turns=10),
    Case("save, loop of 20000", "numbered", "not numbered", 1.1, 16, on_disk=True, pairs=4, turns=20),
    Case("save, loop of 100000", "numbered", "not numbered", 1.1, 6, on_disk=True, pairs=3, turns=100),
    Case("save_all of 20000", "numbered", "not numbered", 1.1, 15, on_disk=True, pairs=5, turns=20),
    Case("save in turn", "1000 series", "one series", 1.1, 6, pairs=3, turns=100),
    Case("save in turn among 27000 files", "1000 series", "one series", 1.1, 6, pairs=3, turns=100),
    Case("save_all in turn", "1000 series", "one series", 1.1, 6, pairs=3, turns=100),
    Case("save_all in turn among 27000 files", "1000 series", "one series", 1.1, 6, pairs=3, turns=100),
    Case("one numbered save among 100000, fresh process", "ours", "listdir", 1.1, 15, on_disk=True),
    Case("scan of 100000", "ours", "listdir", 0.9, 15, on_disk=True),
    Case("save, numbered", "ours", "existing", None, 10, on_disk=True),
    Case("load", "ours", "existing", None, 10, on_disk=True),
    Case("gzip 32 MB", "ours", "existing", 0.2, 3),
    Case("gzip 32 MB, size", "ours", "existing", 1.0, 1),
    Case("load gzip 32 MB", "ours", "existing", None, 5),
    Case("gzip, small", "ours", "existing", 0.4, 15, on_disk=True, pairs=5, turns=3),
    Case("zstd 32 MB", "zstd", "gzip", 0.2, 5),
    Case("zstd 32 MB, size", "zstd", "gzip", 1.0, 1),
    Case("load zstd 32 MB", "zstd", "gzip", None, 5),
    Case("gzip 32 results of 1 MB", "2 threads", "1 thread", None, 10),
    Case("load_all of these", "2 threads", "1 thread", None, 10),
    Case("save 256 MB", "ours", "np.save", 1.05, 30, on_disk=True),
    Case("load 256 MB", "ours", "np.load", 1.1, 30, on_disk=True),
    Case("load 1 MB", "with the check", "without it", 1.05, 30, pairs=5, turns=3),
    Case("load 1 MB of Python objects", "with the check", "without it", 1.05, 30, pairs=5),
    Case("load 1 MB from the disk", "with the check", "without it", 1.05, 10, on_disk=True, waits=True),
    Case("load without trust", "untrusted", "trusted", None, pairs=3, turns=3),
    Case("load 100 KB without trust", "untrusted", "trusted", None, pairs=3, turns=3),
    Case("read_head", "ours", "pickle.load", None, pairs=3, turns=3),
    Case("read_head of 64 MB", "ours", "open and read", None, pairs=3),
    Case("open mapped", "256 MB", "1 MB", 1.5, 20, on_disk=True),
    Case("memory of saving 256 MB", "beyond the array", "the array", 0.05, 1),
    Case("memory of loading 256 MB", "beyond the array", "the array", 0.05, 1),
    Case("find all of 100000", "ours", "2 listdir + 0.1 s", 1.0, 10, on_disk=True),
    Case("find all of 100000", "ours", "glob and re", None, 5, on_disk=True),
    Case("find some of 10000", "ours", "signac", None, 5),
    Case("table of 100000", "ours", "glob and re", 1.0, 5),
    Case("table of 100000 with a score", "ours", "glob, re and pickle", 1.0, 5, on_disk=True),
    Case("table of 10000 with a score", "ours", "signac", None, 3),
    Case("table of 10000 with a score", "ours", "joblib", None, 3),
    Case("stack of 100000", "ours", "glob, re and pickle", 1.0, 5, on_disk=True),
    Case("stack of 10000", "ours", "signac", None, 3),
    Case("stack of 10000", "ours", "joblib", None, 3),
    Case("ls of 10000", "ours", "scandir and stat", None, 10),
    Case("save_all of 100000 into an archive", "archive", "executemany", 1.0, 6, on_disk=True, pairs=3),
    Case("save_all of 100000 into an archive", "handler.batch()", "executemany", 1.0, 6, on_disk=True, pairs=3),
    Case("save_all of 100000 into an archive", "archive", "folder", 0.35, 4, on_disk=True),
    Case("save_all of 100000 into an archive", "numbered", "archive", 1.1, 6, on_disk=True, pairs=3),
    Case("save_all of 100000 into an archive", "archive", "rows alone", None, 4, on_disk=True),
    Case("save into an archive", "archive", "insert", 1.0, 20, on_disk=True, pairs=5, turns=5),
    Case("save into an archive", "numbered", "archive", 1.1, 20, on_disk=True, pairs=5, turns=5),
    Case("save in turn into an archive", "1000 series", "one series", 1.1, 10, pairs=2, turns=100),
    Case("save among a million in an archive", "numbered", "not numbered", 1.1, 10, turns=20),
    Case("load_all of 100000 in an archive", "archive", "folder", 0.4, 6, on_disk=True, pairs=2),
    Case("table of 100000 in an archive", "archive", "folder", 0.4, 6, on_disk=True, pairs=2),
    Case("load_all of 20000 from the disk in an archive", "archive", "folder", 0.4, 6, on_disk=True, waits=True),
    Case("table of 20000 from the disk in an archive", "archive", "folder", 0.4, 6, on_disk=True, waits=True),
    Case("find 100000 in an archive", "archive", "folder", 0.5, 10, on_disk=True, pairs=2),
    Case("todo of 100000 in an archive", "archive", "folder", 0.5, 10, on_disk=True, pairs=2),
    Case("find one of 100000 100 times in an archive", "archive", "folder", None, 10, on_disk=True, pairs=2),
    Case("save_all into one archive", "4 processes", "1 process", 2.0, 5, on_disk=True),
    Case("compute_missing of 2000 tiny tasks", "ours", "bare pool", 0.6, 8, pairs=2),
    Case("compute_missing of 2000 tiny tasks", "with claims", "bare pool", None, 8, pairs=2),
    Case("compute_missing of 2000 tiny tasks by loky", "ours", "bare engine", 1.0, 2, pairs=2),
    Case("compute_missing of 2000 tiny tasks by dask", "ours", "bare engine", 1.0, 2, pairs=2),
    Case("compute_missing of 2000 tiny tasks by ray", "ours", "bare engine", 1.0, 2, pairs=2),
    Case("compute_missing with 10 MB of options", "ours", "bare pool", 0.1, 4, pairs=2),
    Case("help of the command", "ours", "bare interpreter", None, 15),
    Case("help of the command", "ours", "100 ms", 1.0, 15),
    Case("import", "ours", "bare interpreter", None, 15),
    Case("import", "ours", "existing", None, 5),
]


MEMORY = "/dev/shm"


class Skipped(Exception):  # noqa: N818  # it is not an error
    """A side of a case can't run on this machine; the text says why."""


@contextlib.contextmanager
def ext4_image() -> Iterator[Path | None]:
    """Mount a disk image with ext4, which has a journal; yield its root, or None if nothing can be mounted here."""
    sys.path.insert(0, str(HERE.parent / "tests"))  # the stress tests mount such images
    from stress.mounts import Disk, why_no_disk

    reason = why_no_disk("ext4")
    if reason is not None:
        print(f"nothing is measured on an image of a disk: {reason}")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-") as work:
        disk = Disk(Path(work), "ext4", size_mib=1024)
        try:
            yield disk.root
        finally:
            disk.close()


class Worker:
    """A process that runs one side's batches on demand."""

    def __init__(self, python: str, case: str, side: str, folder: Path, scale: float = 1.0) -> None:
        command = [python, str(HERE / "worker.py"), case, side, str(folder), str(scale)]
        environment = dict(os.environ)
        if python != sys.executable:
            environment.pop("PYTHONPATH", None)  # otherwise the other side would import our package
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self) -> float:
        """Run one batch; return the seconds of an operation, or the batch's own figure.

        :raises Skipped: the side can't run here
        :raises RuntimeError: the process failed; it printed why
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker failed: {' '.join(map(str, self.process.args))}")  # type: ignore[arg-type]
        if line.startswith("unavailable: "):
            raise Skipped(line.removeprefix("unavailable: ").strip())
        return float(line)

    def stop(self) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]


def python_of(side: str) -> str:
    """Return the interpreter of *side*: this one, or one that has the peer, installed at the first run."""
    if side not in PEERS:
        return sys.executable
    folder = BUILD / ("benchmark-peer" if side == "existing" else f"benchmark-{side}")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        for needs in PEERS[side]:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *needs], check=True)
        (folder / "complete").touch()
    return str(python)


def run_pair(case: Case, folder: Path, rounds: int, scale: float = 1.0) -> list[tuple[float, float]]:
    """Start a process of each side; return the times of both sides in each of *rounds*.

    :param scale: below 1, only that part of a round is run
    """
    pair = [(case.ours, sys.executable), (case.other, python_of(case.other))]
    workers = [Worker(python, case.name, side, folder / side.replace(" ", "-"), scale) for side, python in pair]
    turns = max(1, round(case.turns * scale))

    def turn(number: int) -> tuple[float, float]:
        first, second = workers if number % 2 else workers[::-1]
        seconds = {first: first.run(), second: second.run()}
        return seconds[workers[0]], seconds[workers[1]]

    def round_of(number: int) -> tuple[float, float]:
        mine, theirs = zip(*(turn(number * turns + part) for part in range(turns)), strict=True)
        return statistics.fmean(mine), statistics.fmean(theirs)

    try:
        if case.rounds > 1:
            turn(0)  # to warm up
        return [round_of(number) for number in range(rounds)]
    finally:
        for worker in workers:
            worker.stop()


def measure(case: Case, folder: Path, factor: float, place: str) -> dict[str, object]:
    """Return the figures of *case*.

    :param factor: multiplies the number of rounds; if that gives less than one, a part of one round is run
    :raises Skipped: a side can't run here
    """
    rounds = max(1, round(case.rounds * factor))
    scale = min(1.0, case.rounds * factor)
    pairs = min(case.pairs, rounds)
    times: list[list[float]] = [[], []]
    for number in range(pairs):
        part = rounds * (number + 1) // pairs - rounds * number // pairs
        for mine, theirs in run_pair(case, folder / str(number), part, scale):
            times[0].append(mine)
            times[1].append(theirs)
        if str(folder).startswith(MEMORY):  # memory is soon full; on a disk, deleting would slow down what follows
            shutil.rmtree(folder / str(number))
    medians = [statistics.median(measured) for measured in times]
    ratios = sorted(a / b for a, b in zip(*times, strict=True))
    return {
        "case": case.name,
        "folder": place if case.on_disk else None,
        "ours": case.ours,
        "other": case.other,
        "median_ours": medians[0],
        "median_other": medians[1],
        "ratio": medians[0] / medians[1],
        "ratio_5_95_percent": [ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]],
        "at_most": case.at_most,
        "rounds": rounds,
        "pairs": pairs,
        "turns": case.turns,
    }


def line_of(found: dict[str, object]) -> str:
    low, high = found["ratio_5_95_percent"]  # type: ignore[misc]
    aim = "" if found["at_most"] is None else f"{found['at_most']:.2f}"
    mark = "" if found["at_most"] is None or found["ratio"] <= found["at_most"] else "  above"  # type: ignore[operator]
    where = f" [{found['folder']}]" if found["folder"] else ""
    name = f"{found['case']}{where}"
    return (
        f"{name:<60} {found['ours']:>16} / {found['other']:<16} {found['ratio']:7.3f} "
        f"({low:.2f}-{high:.2f})  {aim:>5}{mark}"
    )


def write(path: Path, load: float | None, found: list[dict[str, object]], counts: dict[str, dict[str, float]]) -> None:
    """Write the figures that were *found* so far into the file *path*.

    :param load: the load average before the start
    """
    report = {
        "python": platform.python_version(),
        "load_before": load,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "cases": found,
        "instructions_per_call": counts,
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="only cases whose name contains this (may be repeated)")
    parser.add_argument(
        "--without-existing", action="store_true", help="leave out what compares with neuralib-utils, signac or joblib"
    )
    parser.add_argument("--folder", action="append", help="where files are written; default: memory and disk")
    parser.add_argument("--rounds", type=float, default=1.0, help="factor on the number of rounds of each case")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--png", type=Path, help="draw the ratios here (needs matplotlib)")
    options = parser.parse_args()

    cases = [case for case in CASES if options.case is None or any(part in case.name for part in options.case)]
    if options.without_existing:
        cases = [case for case in cases if case.other not in PEERS]
    if not cases:
        parser.error(f"no case has such a name; there are: {', '.join(sorted({case.name for case in CASES}))}")
    roots = options.folder or ([MEMORY] if os.path.isdir(MEMORY) else []) + [tempfile.gettempdir()]
    print(f"{'case':<60} {'ours':>16} / {'other':<16}   ratio (5-95 %)    at most")
    found = []
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None  # what other programs do

    def run(chosen: list[Case], root: str, place: str) -> None:
        work = Path(tempfile.mkdtemp(prefix="benchmark-", dir=root))
        try:
            for number, case in enumerate(chosen):
                try:
                    found.append(measure(case, work / str(number), options.rounds, place))
                except Skipped as reason:
                    print(f"{case.name:<60} {case.ours:>16} / {case.other:<16} skipped: {reason}", flush=True)
                    continue
                print(line_of(found[-1]), flush=True)
                if options.json:  # after each case, so that a late error loses nothing
                    write(options.json, load, found, {})
        finally:
            shutil.rmtree(
                work, ignore_errors=True
            )  # at the end: on ext4, deleting files makes creating others slow for a while

    for root in roots:
        run(
            [case for case in cases if (case.on_disk or root == roots[0]) and not (case.waits and root == MEMORY)],
            root,
            root,
        )
    on_journal = [case for case in cases if case.on_journal]
    if on_journal and not options.folder:
        with ext4_image() as root:
            if root is not None:
                run(on_journal, str(root), "ext4 image")
    counts = {}
    if options.case is None and shutil.which("valgrind"):
        print("\nProcessor instructions of one call:")
        counts = instructions.compare()
    if options.json:
        write(options.json, load, found, counts)
    if options.png:
        from picture import draw

        draw(found, options.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
