"""Write the figures of ``docs/figures/benchmark.json`` into the pages: ``python benchmarks/tables.py``.

What stands between the two comments ``<!-- figures: begin ... -->`` and ``<!-- figures: end -->`` of a page is replaced: in
``docs/performance.md`` by every case, in the README by those that say most, which are drawn too (needs matplotlib).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from picture import draw, where

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures" / "benchmark.json"
PICTURE = FIGURES.with_suffix(".png")
README_PICTURE = FIGURES.with_name("benchmark-of-readme.png")
BETWEEN = re.compile(r"(<!-- figures: begin .*?-->\n).*?(<!-- figures: end -->)", re.DOTALL)

# The names of cases and of other sides in the tables, if their own names are too short to understand.
CASES = {
    "filename": "`filename`",
    "as_dict": "`as_dict`",
    "from_dict": "`from_dict`",
    "__init__": "generated `__init__`",
    "as_dict, another order": "`as_dict`, data set in another order",
    "as_dict, an attribute more": "`as_dict`, with an attribute that is no field",
    "as_dict, a field unset": "`as_dict`, a field unset",
    "as_dict, subclass": "`as_dict` of a subclass",
    "from_dict, the class's own names": "`from_dict`, with the very names of the class",
    "filename, float": "`filename`, a key is a float",
    "filename, None": "`filename`, a key is None",
    "filename, bool": "`filename`, a key is a bool",
    "filename, Enum": "`filename`, a key is an Enum",
    "filename, numpy": "`filename`, a key is a number of numpy",
    "filename, function": "`filename`, a function writes a key",
    "save": "save a small result",
    "load": "load a small result",
    "small save": "save a small result, in memory",
    "replaced save": "replace a small result",
    "first save into a missing folder": "the first save into a folder that is not there",
    "load_all of 5000": "`load_all` of 5,000",
    "save 100 KB": "save an array of 100 KB",
    "load 100 KB": "load an array of 100 KB",
    "load 400 KB of Python objects": "load 400 KB of Python objects",
    "save, loop of 1000": "save with an auto-increment key, loop of 1,000",
    "save, loop of 20000": "save with an auto-increment key, loop of 20,000",
    "save, loop of 100000": "save with an auto-increment key, loop of 100,000",
    "save_all of 20000": "`save_all` of 20,000 with an auto-increment key",
    "save in turn": "auto-increment saves, 1,000 series in turn, loop of 100,000",
    "save in turn among 27000 files": "the same among 27,000 other files",
    "save_all in turn": "`save_all` of 100,000, 1,000 series in turn",
    "save_all in turn among 27000 files": "the same by `save_all` among 27,000 other files",
    "durable save, batch of 200": "`save_all` of 200, durable, each",
    "durable save, batch of 1000": "`save_all` of 1,000, durable, each",
    "one numbered save among 100000, fresh process": "one auto-increment save by a fresh process, among 100,000",
    "scan of 100000": "the search for the highest number in 100,000 names",
    "save, numbered": "save with an auto-increment key",
    "gzip 32 MB": "gzip, 32 MB of traces: save",
    "gzip 32 MB, size": "gzip, 32 MB of traces: size",
    "load gzip 32 MB": "gzip, 32 MB of traces: load",
    "gzip, small": "gzip, save a small result",
    "zstd 32 MB": "zstd, 32 MB of traces: save",
    "zstd 32 MB, size": "zstd, 32 MB of traces: size",
    "load zstd 32 MB": "zstd, 32 MB of traces: load",
    "gzip 32 results of 1 MB": "gzip, 32 results of 1 MB: save by 2 threads",
    "load_all of these": "gzip, `load_all` of 32 results of 1 MB by 2 threads",
    "save 256 MB": "save an array of 256 MB",
    "load 256 MB": "load an array of 256 MB",
    "load 1 MB": "load an array of 1 MB with its checksum compared",
    "load 1 MB of Python objects": "load 1 MB of Python objects with its checksum compared",
    "load 1 MB from the disk": "load an array of 1 MB from the disk with its checksum compared",
    "load without trust": "load a small result, `trusted=False`",
    "load 100 KB without trust": "load an array of 100 KB, `trusted=False`",
    "read_head": "`read_head` of a small result",
    "read_head of 64 MB": "`read_head` of an array of 64 MB",
    "open mapped": "open 256 MB mapped",
    "memory of saving 256 MB": "memory beyond the array, saving 256 MB",
    "memory of loading 256 MB": "memory beyond the array, loading 256 MB",
    "find all of 100000": "`find` of 100,000",
    "find some of 10000": "`find` of some of 10,000 by two keys",
    "table of 100000": "table of the keys of 100,000",
    "table of 100000 with a score": "table of 100,000 with a score from each file",
    "table of 10000 with a score": "table of 10,000 with a score from each",
    "stack of 100000": "`stack` of 100,000 small arrays",
    "stack of 10000": "`stack` of 10,000 small arrays",
    "ls of 10000": "`neuralib-persistence ls` of 10,000",
    "save_all of 100000 into an archive": "`save_all` of 100,000 into an archive",
    "save_all of 100000 into an archive, handler.batch()": "100,000 saves into an archive in a `handler.batch()`",
    "save_all of 100000 into an archive, numbered": "`save_all` of 100,000 into an archive with an auto-increment key",
    "save into an archive": "a save alone into an archive",
    "save into an archive, numbered": "a save alone into an archive with an auto-increment key",
    "save in turn into an archive": "auto-increment saves into an archive, 1,000 series in turn",
    "save among a million in an archive": "a save with an auto-increment key into an archive of a million",
    "load_all of 100000 in an archive": "`load_all` of 100,000 in an archive",
    "table of 100000 in an archive": "table of 100,000 in an archive with a score from each",
    "load_all of 20000 from the disk in an archive": "`load_all` of 20,000 from an archive on the disk, none of it in memory",
    "table of 20000 from the disk in an archive": "table of 20,000 with a score from an archive on the disk, none of it in memory",
    "find 100000 in an archive": "`find` of 100,000 in an archive",
    "todo of 100000 in an archive": "`todo` of 100,000 in an archive",
    "find one of 100000 100 times in an archive": "`find` of one of 100,000 in an archive",
    "save_all into one archive": "`save_all` of 20,000 by each of 4 processes at once into one archive",
    "compute_missing of 2000 tiny tasks": "`compute_missing` of 2,000 tasks that take no time, by two processes",
    "compute_missing of 2000 tiny tasks by loky": "the same by loky, whose workers are ready",
    "compute_missing of 2000 tiny tasks by dask": "the same by dask",
    "compute_missing of 2000 tiny tasks by ray": "the same by Ray",
    "compute_missing with 10 MB of options": "`compute_missing` of 200 such tasks, with 10 MB of options",
    "help of the command": "`neuralib-persistence --help`",
    "import": "import of a handler and of what a class needs",
}
OTHERS = {
    "msgspec": "`msgspec.structs.asdict`",
    "dataclass": "a dataclass",
    "f-string": "a hand-written f-string",
    "existing": "`neuralib-utils` 0.7.3",
    "listdir": "`os.listdir` of the folder",
    "np.save": "`np.save`",
    "np.load": "`np.load`",
    "not numbered": "without",
    "one by one": "durable saves one by one",
    "2 listdir + 0.1 s": "twice `os.listdir` and 1 µs for each",
    "glob and re": "`glob` and `re`",
    "glob, re and pickle": "`glob`, `re` and `pickle`",
    "scandir and stat": "a script: `os.scandir`, `stat`, `print`",
    "without it": "without that",
    "C and pickle": "its system calls in C, and its pickle",
    "plain save": "a save under a new name",
    "trusted": "the same with trust",
    "pickle.load": "`pickle.load`",
    "open and read": "reading the file",
    "1 MB": "1 MB mapped",
    "executemany": "`executemany` of the same pickles by hand",
    "rows alone": "`executemany` of the same rows, ready made",
    "insert": "an insert by hand",
    "folder": "a folder",
    "archive": "without",
    "1 process": "one process alone",
}
README_CASES = [
    ("as_dict", "msgspec"),
    ("from_dict", "dataclass"),
    ("filename", "f-string"),
    ("save", "by hand"),
    ("load", "by hand"),
    ("load_all of 5000", "by hand"),
    ("save 100 KB", "by hand"),
    ("load 100 KB", "by hand"),
    ("save, loop of 20000", "not numbered"),
    ("one numbered save among 100000, fresh process", "listdir"),
    ("save, numbered", "existing"),
    ("load", "existing"),
    ("gzip 32 MB", "existing"),
    ("gzip 32 MB, size", "existing"),
    ("save 256 MB", "np.save"),
    ("load 256 MB", "np.load"),
    ("find all of 100000", "glob and re"),
    ("table of 100000 with a score", "glob, re and pickle"),
    ("table of 10000 with a score", "signac"),
    ("stack of 100000", "glob, re and pickle"),
]


def name_of(case: dict[str, Any]) -> str:
    """Return the name of *case* in a table."""
    name = case["case"]
    return CASES.get(f"{name}, {case['ours']}", CASES.get(name, name))


def ratio(value: float) -> str:
    """Return *value* as text for a table."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def full_table(report: dict[str, Any]) -> str:
    """Return a table with a row for each case, followed by the picture."""
    lines = ["| path | against | folder | ratio | 5 to 95 % | aim |", "|---|---|---|---|---|---|"]
    for row in report["cases"]:
        low, high = row["ratio_5_95_percent"]
        lines.append(
            f"| {name_of(row)} | {OTHERS.get(row['other'], row['other'])} | {where(row)} "
            f"| {ratio(row['ratio'])} | {ratio(low)} to {ratio(high)} | {row['at_most'] or ''} |"
        )
    text = (
        f"Ratios of medians, ours to the other's; less is better. {conditions(report)}\n\n" + "\n".join(lines) + "\n\n"
    )
    counts = report.get("instructions_per_call")
    if counts:
        text += instructions_table(counts)
    if PICTURE.exists():
        text += (
            "![The ratios of the table as bars on a logarithmic axis, with what was aimed at](figures/benchmark.png)\n"
        )
    return text


def instructions_table(counts: dict[str, dict[str, float]]) -> str:
    """Return the processor instructions of one call, which do not vary with the machine's load."""
    lines = ["| path | ours | against | instructions | ratio |", "|---|---|---|---|---|"]
    for case, sides in counts.items():
        (_, mine), (other, theirs) = sides.items()
        name, other = CASES.get(case, case), OTHERS.get(other, other)
        lines.append(f"| {name} | {mine:,.0f} | {other} | {theirs:,.0f} | {mine / theirs:.2f} |")
    return (
        "Processor instructions of one call, which do not vary with the machine's load:\n\n" + "\n".join(lines) + "\n\n"
    )


def short_cases(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cases for the README; if there are several kinds of folder, the one in memory."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in report["cases"]:
        found.setdefault((row["case"], row["other"]), row)
    return [found[case] for case in README_CASES if case in found]


def short_table(report: dict[str, Any]) -> str:
    """Return the table for the README."""
    lines = ["| path | against | ratio |", "|---|---|---|"]
    lines += [
        f"| {name_of(row)} | {OTHERS.get(row['other'], row['other'])} | {ratio(row['ratio'])} |"
        for row in short_cases(report)
    ]
    return f"Ratios of medians, ours to the other's; less is better. {conditions(report)}\n\n" + "\n".join(lines) + "\n"


def conditions(report: dict[str, Any]) -> str:
    """Return a sentence on how and where the figures were measured."""
    load = report.get("load_before")
    busy = f", on which other programs kept {load:.0f} busy" if load and load >= 0.5 else ""
    where = f"Python {report['python']}, {report['machine']}{busy}"
    return f"Measured with `python benchmarks/compare.py` on {where}."


def pages(report: dict[str, Any]) -> dict[Path, str]:
    """Return the text that each page should have."""
    made = {ROOT / "docs" / "performance.md": full_table(report), ROOT / "README.md": short_table(report)}
    texts = {}
    for page, table in made.items():
        text, count = BETWEEN.subn(
            lambda match, table=table: match[1] + "\n" + table + "\n" + match[2], page.read_text("utf-8")
        )
        if count != 1:
            raise ValueError(f"{page} has {count} places for the figures, not one")
        texts[page] = text
    return texts


def main() -> int:
    report = json.loads(FIGURES.read_text())
    draw(short_cases(report), README_PICTURE)
    for page, text in pages(report).items():
        if page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")
            print(f"wrote the figures into {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
