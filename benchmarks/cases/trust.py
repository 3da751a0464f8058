"""Loading without trust against loading with it; and what a file holds, without loading it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.big import big_result
from cases.common import FILES, filled_folder, made, pickle_handler, save_with_handler, side, small_class
from cases.medium import content, reading

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE_BYTES = 64 << 20


def small_files(folder: Path) -> tuple[Any, list[str]]:
    """Return the class and the paths of small results."""
    cls, target = filled_folder(folder, FILES)
    return cls, [str(path) for path in sorted(target.iterdir())]


def medium_files(folder: Path) -> tuple[Any, list[str]]:
    """Return the class and the paths of results with an array of 100 KB."""
    cls = small_class(numbered=False)
    target = folder / "medium"
    target.mkdir()
    weights = content(folder, objects=False)
    save_with_handler([made(cls, number, weights) for number in range(100)], target)
    return cls, [str(path) for path in sorted(target.iterdir())]


def trust_case(case: str, make_files: Callable[[Path], tuple[Any, list[str]]]) -> None:
    @side(case, "trusted")
    def trusted(folder: Path) -> Any:
        cls, paths = make_files(folder)
        yield from reading(pickle_handler(cls, folder).load_persistence, paths)

    @side(case, "untrusted")
    def untrusted(folder: Path) -> Any:
        from neuralib.persistence import PickleHandler

        cls, paths = make_files(folder)
        yield from reading(PickleHandler(cls, folder, trusted=False).load_persistence, paths)


trust_case("load without trust", small_files)
trust_case("load 100 KB without trust", medium_files)


@side("read_head", "ours")
def head_of_small(folder: Path) -> Any:
    from neuralib.persistence import read_head

    yield from reading(read_head, small_files(folder)[1])


@side("read_head", "pickle.load")
def load_small(folder: Path) -> Any:
    def load(path: str) -> object:
        with open(path, "rb") as file:
            return pickle.load(file)

    yield from reading(load, small_files(folder)[1])


def large_file(folder: Path) -> str:
    """Return the path of a result with an array of 64 MB."""
    handler, result = big_result(folder, _LARGE_BYTES)
    handler.save_persistence(result)
    return str(handler.filepath(result))


@side("read_head of 64 MB", "ours")
def head_of_large(folder: Path) -> Any:
    from neuralib.persistence import read_head

    yield from reading(read_head, [large_file(folder)] * 50)


@side("read_head of 64 MB", "open and read")
def read_large(folder: Path) -> Any:
    def read(path: str) -> object:
        with open(path, "rb") as file:
            return file.read()

    yield from reading(read, [large_file(folder)] * 3)
