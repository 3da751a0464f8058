"""Durable saves: a batch, which waits for the disk a few times, and single saves, which each wait."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.common import saving, side, small_class

if TYPE_CHECKING:
    from collections.abc import Iterator


def one_by_one(results: list[Any], target: Path) -> None:
    from neuralib.persistence import PickleHandler

    save = PickleHandler(type(results[0]), target, durable=True).save_persistence
    for result in results:
        save(result)


def together(results: list[Any], target: Path) -> None:
    from neuralib.persistence import PickleHandler

    PickleHandler(type(results[0]), target).save_all(results, durable=True)


@side("durable save", "one by one")
def saves(folder: Path) -> Iterator[Any]:
    yield from saving(folder, small_class(), [None] * 50, one_by_one)


def batch_case(count: int) -> None:
    @side("durable save", f"batch of {count}")
    def batch(folder: Path) -> Iterator[Any]:
        yield from saving(folder, small_class(), [None] * count, together)


for _count in (200, 1_000):
    batch_case(_count)
