"""What the cases share: the registry of their sides, the class that is saved, and the same by hand.

For each case there are sides that do the same work, each a function that prepares one batch.

A side's function takes a folder of its own and returns the batch: a function without arguments that returns how many
operations it did, or, where time is not the figure, the figure itself as a float. What a batch must find ready is made
by a generator's first part::

    @side("load", "by hand", operations=500)
    def load_by_hand(folder):
        ...                     # not measured, once a process
        while True:
            ...                 # not measured, before each batch
            yield batch         # measured when it is called
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pickle
import timeit
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIDES: dict[str, dict[str, Callable[[Path], Iterator[Callable[[], object]]]]] = {}
SMALL = 20_000
FILES = 300
PART = 1_000  # saves of a loop between which the other side has its turn
SCALE = 1.0  # of a run for a rough figure, which asks for less than one round: that part of a round


class Unavailable(Exception):  # noqa: N818  # it is no error
    """Something that a side needs is not there, such as a compiler or an optional package: its row is skipped."""


def scaled(count: int, at_least: int) -> int:
    """Return how many of *count* operations a side is to do where less than one round is asked for."""
    return max(at_least, round(count * SCALE))


def side(case: str, name: str) -> Callable[[Any], Any]:
    def register(prepare: Any) -> Any:
        SIDES.setdefault(case, {})[name] = prepare
        return prepare

    return register


def small_class(*, numbered: bool = True) -> Any:
    """Five keys of which four show in the name, an auto-increment key, a 10-value array, a float."""
    from neuralib.persistence import autoinc_field, field, persistence_class

    class Result:
        animal: str = field(validator=True, filename=True)
        date: str = field(validator=True, filename=True)
        plane: int = field(filename_prefix="plane", filename=True)
        signal: str = field(filename=True)
        selection: str = field()
        if numbered:
            run: int = autoinc_field("#")
        else:
            run: int = field(filename_prefix="#", filename=True)
        weights: Any
        score: float

    return persistence_class(Result)


KEYS = ("A00", "20230101", 3, "df_f", "all")


def fields(run: int | None = 17) -> dict[str, Any]:
    import numpy as np

    names = ("animal", "date", "plane", "signal", "selection")
    return {**dict(zip(names, KEYS, strict=True)), "run": run, "weights": np.arange(10.0), "score": 0.5}


def made(cls: Any, run: int | None, weights: Any = None) -> Any:
    result = cls(*KEYS, run)
    values = fields()
    result.weights = values["weights"] if weights is None else weights
    result.score = values["score"]
    return result


@dataclasses.dataclass
class Plain:
    """The same fields as a dataclass."""

    animal: str
    date: str
    plane: int
    signal: str
    selection: str
    run: int | None
    weights: Any
    score: float


@dataclasses.dataclass
class PlainKeys:
    """The keys alone, as a dataclass."""

    animal: str
    date: str
    plane: int
    signal: str
    selection: str
    run: int | None = None


def repeated(statement: str, **names: Any) -> Iterator[Callable[[], object]]:
    """Time *statement* alone, in a loop without a call of its own."""
    timer = timeit.Timer(statement, globals=names)

    def batch() -> float:
        return timer.timeit(SMALL) / SMALL

    while True:
        yield batch


def pickle_handler(cls: Any, folder: Path) -> Any:
    from neuralib.persistence import PickleHandler

    folder.mkdir(parents=True, exist_ok=True)
    return PickleHandler(cls, folder)


def save_by_hand(result: Any, folder: str) -> None:
    """Write a temporary file and rename it, as a careful person would."""
    name = f"cache-Result-{result.animal}-{result.date}-plane{result.plane}-{result.signal}-#{result.run}.pkl"
    temporary = f"{folder}/.{name}.tmp"
    data = pickle.dumps(result.__dict__, protocol=5)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.rename(temporary, f"{folder}/{name}")


def save_all_by_hand(results: list[Any], target: Path) -> None:
    for it in results:
        save_by_hand(it, str(target))


def saving(
    folder: Path, cls: Any, numbers: Any, save_all: Callable[[list[Any], Path], object], weights: Any = None
) -> Any:
    """Batches of new results, each into a folder of its own that exists; with *weights* in place of a small array."""
    batch_number = 0
    while True:
        target = folder / str(batch_number)
        target.mkdir()
        results = [made(cls, it, weights) for it in numbers]
        batch_number += 1

        def batch(results: list[Any] = results, target: Path = target) -> int:
            save_all(results, target)
            return len(results)

        yield batch


def save_with_handler(results: list[Any], target: Path) -> None:
    save_each(results, pickle_handler(type(results[0]), target).save_persistence)


def save_each(results: list[Any], save: Callable[[Any], object]) -> int:
    for it in results:
        save(it)
    return len(results)


def loops(folder: Path, cls: Any, numbers: Any) -> Iterator[Callable[[], object]]:
    """Batches of ``PART`` saves that make up loops, each loop by one handler into a folder of its own; one part to warm up first."""
    loop = itertools.count()
    for part in itertools.chain([numbers[:PART]], itertools.repeat(numbers)):
        save = pickle_handler(cls, folder / str(next(loop))).save_persistence
        for start in range(0, len(part), PART):
            results = [made(cls, it) for it in part[start : start + PART]]
            yield partial(save_each, results, save)


class Plain2(PlainKeys):
    """With room for the data, set after construction."""


def filled_folder(folder: Path, count: int) -> tuple[Any, Path]:
    target = folder / "filled"
    cls = small_class()
    target.mkdir()
    save_with_handler([made(cls, it) for it in range(count)], target)
    return cls, target


def hand_made(folder: Path, count: int) -> list[str]:
    for it in range(count):
        result = made(Plain2, it)
        save_by_hand(result, str(folder))
    return [f"{folder}/{it}" for it in sorted(os.listdir(folder))]
