"""What comparing the checksum costs: loading a result of 1 MB with and without it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from cases.big import big_result
from cases.common import made, pickle_handler, side, small_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE_BYTES = 1 << 20
_LOADS = 200
_FILES = 50


def no_checksum(*_: object) -> int:
    return 0


def result_of_objects(folder: Path, size: int) -> tuple[Any, Any]:
    """Return a handler, and a result of *size* bytes, none of them in an array: trials with times, as a list of dicts."""
    cls = small_class()
    result = made(cls, 0)
    trial = {"stimulus": "grating", "seconds": 0.5, "licks": [0.25, 0.5], "correct": True}
    result.weights = [
        trial | {"seconds": float(number), "licks": [number / 7, number / 9]} for number in range(size // 46)
    ]
    return pickle_handler(cls, folder / "objects"), result


def loading(
    folder: Path,
    *,
    checked: bool,
    loads: int = _LOADS,
    copies: int = 1,
    make: Callable[[Path, int], tuple[Any, Any]] = big_result,
) -> Iterator[Callable[[], int]]:
    from neuralib.persistence._codecs import framed_content, framed_reader

    handler, result = make(folder, SIZE_BYTES)
    handler.save_persistence(result)
    path = handler.filepath(result)
    if not checked:
        content = path.read_bytes()
        path.write_bytes(content[:-8] + bytes(8))  # checksums of 0, which no_checksum returns for any data
        framed_content.checksum = framed_reader.checksum = no_checksum  # type: ignore[assignment]
    load = handler.load_persistence
    paths = [path] * loads if copies == 1 else [path.with_name(f"{number}.pkl") for number in range(copies)]
    for copy_path in set(paths) - {path}:
        shutil.copy(path, copy_path)

    def batch() -> int:
        for one_path in paths:
            load(one_path)
        return len(paths)

    while True:
        if copies > 1:
            for one_path in paths:
                forget(one_path)
        yield batch


def forget(path: Path) -> None:
    """Drop the file from the system's cache, so that the next reader gets it from the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)  # the system can't drop what it has not written to the disk
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


@side("load 1 MB", "with the check")
def load_checked(folder: Path) -> Any:
    yield from loading(folder, checked=True)


@side("load 1 MB", "without it")
def load_unchecked(folder: Path) -> Any:
    yield from loading(folder, checked=False)


@side("load 1 MB of Python objects", "with the check")
def load_objects_checked(folder: Path) -> Any:
    yield from loading(folder, checked=True, loads=_LOADS // 20, make=result_of_objects)


@side("load 1 MB of Python objects", "without it")
def load_objects_unchecked(folder: Path) -> Any:
    yield from loading(folder, checked=False, loads=_LOADS // 20, make=result_of_objects)


@side("load 1 MB from the disk", "with the check")
def load_checked_from_disk(folder: Path) -> Any:
    yield from loading(folder, checked=True, copies=_FILES)


@side("load 1 MB from the disk", "without it")
def load_unchecked_from_disk(folder: Path) -> Any:
    yield from loading(folder, checked=False, copies=_FILES)
