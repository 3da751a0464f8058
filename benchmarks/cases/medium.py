"""Results of a usual size: an array of 100 KB, such as an average or a mask, or 400 KB of objects, such as trials."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.checking import result_of_objects
from cases.common import Plain2, made, pickle_handler, save_all_by_hand, save_with_handler, saving, side, small_class

if TYPE_CHECKING:
    from collections.abc import Callable

_FILES = 40
_BYTES = 100_000
_OBJECTS_BYTES = 400_000


def content(folder: Path, *, objects: bool) -> Any:
    """Return the data of the results."""
    import numpy as np

    if objects:
        return result_of_objects(folder, _OBJECTS_BYTES)[1].weights
    return np.random.default_rng(0).random(_BYTES // 8)


@side("save 100 KB", "ours")
def save_ours(folder: Path) -> Any:
    cls = small_class(numbered=False)
    yield from saving(folder, cls, range(_FILES), save_with_handler, content(folder, objects=False))


@side("save 100 KB", "by hand")
def save_hand(folder: Path) -> Any:
    yield from saving(folder, Plain2, range(_FILES), save_all_by_hand, content(folder, objects=False))


def reading(load: Callable[[str], object], paths: list[str]) -> Any:
    def batch() -> int:
        for path in paths:
            load(path)
        return len(paths)

    while True:
        yield batch


def to_load(folder: Path, cls: Any, save_all: Callable[[list[Any], Path], object], *, objects: bool) -> list[str]:
    """Save results; return their paths."""
    target = folder / "loading"
    target.mkdir()
    weights = content(folder, objects=objects)
    save_all([made(cls, number, weights) for number in range(_FILES)], target)
    return [str(path) for path in sorted(target.iterdir())]


def loading(folder: Path, *, objects: bool) -> Any:
    cls = small_class(numbered=False)
    paths = to_load(folder, cls, save_with_handler, objects=objects)
    yield from reading(pickle_handler(cls, folder / "loading").load_persistence, paths)


def loading_by_hand(folder: Path, *, objects: bool) -> Any:
    def load(path: str) -> object:
        with open(path, "rb") as file:
            return pickle.load(file)

    yield from reading(load, to_load(folder, Plain2, save_all_by_hand, objects=objects))


@side("load 100 KB", "ours")
def load_ours(folder: Path) -> Any:
    yield from loading(folder, objects=False)


@side("load 100 KB", "by hand")
def load_hand(folder: Path) -> Any:
    yield from loading_by_hand(folder, objects=False)


@side("load 400 KB of Python objects", "ours")
def load_objects_ours(folder: Path) -> Any:
    yield from loading(folder, objects=True)


@side("load 400 KB of Python objects", "by hand")
def load_objects_hand(folder: Path) -> Any:
    yield from loading_by_hand(folder, objects=True)
