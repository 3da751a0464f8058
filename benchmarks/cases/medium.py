"""Results of the size that most have: an average or a mask, a session's trials."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.checking import result_of_objects
from cases.common import Plain2, made, pickle_handler, save_by_hand, save_with_handler, side, small_class

if TYPE_CHECKING:
    from collections.abc import Callable

_FILES = 40
_BYTES = 100_000
_OBJECTS_BYTES = 400_000


def content(objects: bool, folder: Path) -> Any:
    """Return what the results hold beside their keys."""
    import numpy as np

    if objects:
        return result_of_objects(folder, _OBJECTS_BYTES)[1].weights
    return np.random.default_rng(0).random(_BYTES // 8)


def saving_new(folder: Path, make: Callable[[int], Any], save_all: Callable[[list[Any], Path], object]) -> Any:
    """Batches of new results, each batch into a folder of its own."""
    weights = content(False, folder)
    batch_number = 0
    while True:
        target = folder / str(batch_number)
        target.mkdir()
        batch_number += 1
        results = [make(it) for it in range(_FILES)]
        for it in results:
            it.weights = weights

        def batch(results: list[Any] = results, target: Path = target) -> int:
            save_all(results, target)
            return len(results)

        yield batch


@side("save 100 KB", "ours")
def save_ours(folder: Path) -> Any:
    cls = small_class(numbered=False)
    yield from saving_new(folder, lambda it: made(cls, it), save_with_handler)


@side("save 100 KB", "by hand")
def save_hand(folder: Path) -> Any:
    def save_all(results: list[Any], target: Path) -> None:
        for it in results:
            save_by_hand(it, str(target))

    yield from saving_new(folder, lambda it: made(Plain2, it), save_all)


def reading(load: Callable[[str], object], paths: list[str]) -> Any:
    def batch() -> int:
        for it in paths:
            load(it)
        return len(paths)

    while True:
        yield batch


def results(folder: Path, cls: Any, save: Callable[[Any], object], *, objects: bool) -> None:
    """Save what is to be loaded."""
    weights = content(objects, folder)
    for it in range(_FILES):
        result = made(cls, it)
        result.weights = weights
        save(result)


def loading(folder: Path, *, objects: bool) -> Any:
    cls = small_class(numbered=False)
    handler = pickle_handler(cls, folder / "loading")
    results(folder, cls, handler.save_persistence, objects=objects)
    yield from reading(handler.load_persistence, [str(it) for it in sorted(handler.save_root.iterdir())])


def loading_by_hand(folder: Path, *, objects: bool) -> Any:
    target = folder / "loading"
    target.mkdir()
    results(folder, Plain2, lambda it: save_by_hand(it, str(target)), objects=objects)

    def load(path: str) -> object:
        with open(path, "rb") as file:
            return pickle.load(file)

    yield from reading(load, [str(it) for it in sorted(target.iterdir())])


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
