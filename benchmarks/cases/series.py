"""Numbered saves into one folder by one handler: 1,000 series in turn, against one series."""

from __future__ import annotations

import itertools
import os
from functools import partial
from pathlib import Path
from typing import Any

from cases.common import KEYS, PART, fields, pickle_handler, saver, side, small_class

LOOP = 100_000
SERIES = 1_000
OTHERS = 27_000


def results_in_turn(cls: Any, series: int, count: int, start: int = 0) -> list[Any]:
    """Return *count* results without a number, which belong to *series* series in turn."""
    values = fields()
    results = []
    for number in range(start, start + count):
        result = cls(f"S{number % series:03d}", *KEYS[1:], None)
        result.weights = values["weights"]
        result.score = values["score"]
        results.append(result)
    return results


def folder_among(folder: Path, others: int) -> Path:
    """Make *folder* with *others* files of another class in it, all links to one file."""
    folder.mkdir()
    for number in range(others):
        if number == 0:
            (folder / "cache-Other-0.pkl").write_bytes(b"another result")
        else:
            os.link(folder / "cache-Other-0.pkl", folder / f"cache-Other-{number}.pkl")
    return folder


def saves(folder: Path, series: int, others: int = 0, loop: int = LOOP, *, together: bool = False) -> Any:
    """Yield batches of ``PART`` saves, which together are loops, each by one handler into its own folder; first one part to warm up.

    :param together: save each part by ``save_all``
    """
    cls = small_class()
    for number in itertools.count():
        save = saver(pickle_handler(cls, folder_among(folder / str(number), others)), together=together)
        for start in range(0, loop if number else PART, PART):
            yield partial(save, results_in_turn(cls, series, PART, start))


def cases_of(prepare: Any, name: str) -> None:
    """Register both sides of two cases: saves into an empty folder, and among other files."""
    for others, place in ((0, ""), (OTHERS, f" among {OTHERS} files")):
        for series, called in ((SERIES, f"{SERIES} series"), (1, "one series")):
            side(name + place, called)(partial(prepare, series=series, others=others))


cases_of(saves, "save in turn")
cases_of(partial(saves, together=True), "save_all in turn")
