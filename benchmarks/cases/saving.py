"""Saving and loading small results, one by one, in loops, and all of a folder."""

from __future__ import annotations

import itertools
import os
import pickle
from functools import partial
from pathlib import Path
from typing import Any

from cases.common import (
    FILES,
    KEYS,
    Plain2,
    filled_folder,
    hand_made,
    loops,
    made,
    pickle_handler,
    save_all_by_hand,
    save_with_handler,
    saving,
    side,
    small_class,
)


@side("save", "ours")
def save_ours(folder: Path) -> Any:
    yield from saving(folder, small_class(numbered=False), range(FILES), save_with_handler)


@side("save", "by hand")
def save_hand(folder: Path) -> Any:
    yield from saving(folder, Plain2, range(FILES), save_all_by_hand)


@side("save, numbered", "existing")
@side("save, numbered", "ours")
def save_numbered(folder: Path) -> Any:
    yield from saving(folder, small_class(), [None] * 100, save_with_handler)


@side("first save into a missing folder", "plain save")
@side("replaced save", "plain save")
def save_plain(folder: Path) -> Any:
    yield from saving(folder, small_class(numbered=False), range(FILES), save_with_handler)


@side("replaced save", "ours")
def save_replaced(folder: Path) -> Any:
    """Yield batches that replace results with others of another score."""
    for batch in saving(folder, small_class(numbered=False), range(FILES), save_with_handler):
        results, target = batch.__defaults__
        for result in results:
            result.score = 0.25
        save_with_handler(results, target)
        for result in results:
            result.score = 0.5
        yield batch


@side("first save into a missing folder", "ours")
def save_into_missing_folders(folder: Path) -> Any:
    """Save each result into a missing folder of its own."""
    from neuralib.persistence import PickleHandler

    cls = small_class(numbered=False)

    def save_first(results: list[Any], handlers: list[Any]) -> int:
        for result, handler in zip(results, handlers, strict=True):
            handler.save_persistence(result)
        return len(results)

    for batch_number in itertools.count():
        target = folder / str(batch_number)
        target.mkdir()
        results = [made(cls, number) for number in range(FILES)]
        handlers = [PickleHandler(cls, target / str(number)) for number in range(FILES)]
        yield partial(save_first, results, handlers)


def loop_case(count: int) -> None:
    @side(f"save, loop of {count}", "numbered")
    def numbered(folder: Path) -> Any:
        yield from loops(folder, small_class(), [None] * count)

    @side(f"save, loop of {count}", "not numbered")
    def not_numbered(folder: Path) -> Any:
        yield from loops(folder, small_class(numbered=False), range(count))


for _count in (1_000, 20_000, 100_000):
    loop_case(_count)


@side("save_all of 20000", "numbered")
def save_all_numbered(folder: Path) -> Any:
    yield from loops(folder, small_class(), [None] * 20_000, together=True)


@side("save_all of 20000", "not numbered")
def save_all_not_numbered(folder: Path) -> Any:
    yield from loops(folder, small_class(numbered=False), range(20_000), together=True)


@side("load", "existing")
@side("load", "ours")
def load_ours(folder: Path) -> Any:
    cls, target = filled_folder(folder, FILES)
    handler = pickle_handler(cls, target)
    paths = [str(path) for path in sorted(target.iterdir())]
    load = handler.load_persistence
    as_paths: list[Any] = [Path(path) for path in paths] if takes_no_text(load, paths[0]) else list(paths)

    def batch() -> int:
        for path in as_paths:
            load(path)
        return len(as_paths)

    while True:
        yield batch


def takes_no_text(load: Any, path: str) -> bool:
    try:
        load(path)
    except Exception:
        return True
    return False


@side("load", "by hand")
def load_by_hand(folder: Path) -> Any:
    paths = hand_made(folder, FILES)

    def batch() -> int:
        for path in paths:
            with open(path, "rb") as file:
                pickle.load(file)
        return len(paths)

    while True:
        yield batch


@side("load_all of 5000", "ours")
def load_all_ours(folder: Path) -> Any:
    from neuralib.persistence import missing

    cls, target = filled_folder(folder, 5_000)
    handler = pickle_handler(cls, target)
    template = cls(*KEYS, missing)

    def batch() -> int:
        return sum(1 for _ in handler.load_all(template))

    while True:
        yield batch


@side("load_all of 5000", "by hand")
def load_all_by_hand(folder: Path) -> Any:
    hand_made(folder, 5_000)

    def batch() -> int:
        results = []
        for name in sorted(os.listdir(folder)):
            if name.endswith(".pkl"):
                with open(f"{folder}/{name}", "rb") as file:
                    results.append(pickle.load(file))
        return len(results)

    while True:
        yield batch
