"""Shared by all cases: the registry of their sides, the class that is saved, and the same work by hand.

A case has two or more sides, which do the same work. A side is a generator function. It takes a folder of its own, and yields
batches: functions without arguments that return how many operations they did, or, if the figure is not a time, the figure
itself as a float::

    @side("load", "by hand")
    def load_by_hand(folder):
        ...                     # not measured, once for each process
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
PART = 1_000  # saves of a loop that are made before the other side has its turn
SCALE = 1.0  # below 1 for a rough figure from a part of a round


class Unavailable(Exception):  # noqa: N818  # it is not an error
    """Something that a side needs is missing, such as a compiler or an optional package. Its row is skipped."""


def scaled(count: int, at_least: int) -> int:
    """Return *count*, or fewer operations if only a part of a round is to be run."""
    return max(at_least, round(count * SCALE))


def side(case: str, name: str) -> Callable[[Any], Any]:
    def register(prepare: Any) -> Any:
        SIDES.setdefault(case, {})[name] = prepare
        return prepare

    return register


def small_class(*, numbered: bool = True) -> Any:
    """Return a class with five keys, of which four are in the name, an auto-increment key, an array of 10 numbers and a float."""
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
    """Yield batches that time *statement* by timeit, without the cost of a function call."""
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
    """Write a temporary file and rename it, as careful code does."""
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
    for result in results:
        save_by_hand(result, str(target))


def saving(
    folder: Path, cls: Any, numbers: Any, save_all: Callable[[list[Any], Path], object], weights: Any = None
) -> Any:
    """Yield batches that save new results, each into an empty folder of its own.

    :param weights: the array of each result; a small one by default
    """
    batch_number = 0
    while True:
        target = folder / str(batch_number)
        target.mkdir()
        results = [made(cls, number, weights) for number in numbers]
        batch_number += 1

        def batch(results: list[Any] = results, target: Path = target) -> int:
            save_all(results, target)
            return len(results)

        yield batch


def save_with_handler(results: list[Any], target: Path) -> None:
    save_each(results, pickle_handler(type(results[0]), target).save_persistence)


def save_each(results: list[Any], save: Callable[[Any], object]) -> int:
    for result in results:
        save(result)
    return len(results)


def loops(folder: Path, cls: Any, numbers: Any, *, together: bool = False) -> Iterator[Callable[[], object]]:
    """Yield batches of ``PART`` saves, which together are loops over *numbers*; the first is one part only, to warm up.

    Each loop has its own handler and folder.

    :param together: save each part by ``save_all``
    """
    loop = itertools.count()
    for part in itertools.chain([numbers[:PART]], itertools.repeat(numbers)):
        save = saver(pickle_handler(cls, folder / str(next(loop))), together=together)
        for start in range(0, len(part), PART):
            yield partial(save, [made(cls, number) for number in part[start : start + PART]])


def saver(handler: Any, *, together: bool) -> Callable[[list[Any]], int]:
    """Return what saves results by *handler*, one by one or *together*, and returns how many."""
    return handler.save_all if together else partial(save_each, save=handler.save_persistence)  # type: ignore[no-any-return]


class Plain2(PlainKeys):
    """The keys, with attributes for the data that are set after construction."""


def filled_folder(folder: Path, count: int) -> tuple[Any, Path]:
    target = folder / "filled"
    cls = small_class()
    target.mkdir()
    save_with_handler([made(cls, number) for number in range(count)], target)
    return cls, target


def hand_made(folder: Path, count: int) -> list[str]:
    for number in range(count):
        result = made(Plain2, number)
        save_by_hand(result, str(folder))
    return [f"{folder}/{name}" for name in sorted(os.listdir(folder))]
