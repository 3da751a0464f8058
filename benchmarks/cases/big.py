"""Arrays of 256 MB: time and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.common import made, pickle_handler, side, small_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
BIG_BYTES = 256 << 20


def big_result(folder: Path, size: int = BIG_BYTES) -> tuple[Any, Any]:
    import numpy as np

    cls = small_class(numbered=False)
    result = made(cls, 0)
    result.weights = np.random.default_rng(0).random(size // 8)
    return pickle_handler(cls, folder), result


def one(function: Callable[[], object]) -> Iterator[Callable[[], int]]:
    def batch() -> int:
        function()
        return 1

    while True:
        yield batch


def replacing(path: Path, function: Callable[[], object]) -> Iterator[Callable[[], int]]:
    for batch in one(function):
        path.unlink(missing_ok=True)
        yield batch


@side("save 256 MB", "ours")
def save_big(folder: Path) -> Any:
    handler, result = big_result(folder)
    yield from replacing(handler.filepath(result), lambda: handler.save_persistence(result))


@side("save 256 MB", "np.save")
def save_big_numpy(folder: Path) -> Any:
    import numpy as np

    _, result = big_result(folder)
    yield from replacing(folder / "a.npy", lambda: np.save(folder / "a.npy", result.weights))


@side("load 256 MB", "ours")
def load_big(folder: Path) -> Any:
    handler, result = big_result(folder)
    handler.save_persistence(result)
    path = handler.filepath(result)
    del result
    yield from one(lambda: handler.load_persistence(path))


@side("load 256 MB", "np.load")
def load_big_numpy(folder: Path) -> Any:
    import numpy as np

    _, result = big_result(folder)
    np.save(folder / "a.npy", result.weights)
    del result
    yield from one(lambda: np.load(folder / "a.npy"))


def peak_bytes() -> int:
    if sys.platform == "linux":  # there, getrusage of a new process begins with the peak of its parent
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@side("memory of saving 256 MB", "beyond the array")
def save_big_memory(folder: Path) -> Any:
    handler, result = big_result(folder)
    small = made(type(result), 1)
    handler.save_persistence(small)
    before = peak_bytes()
    handler.save_persistence(result)
    used = float(peak_bytes() - before)
    while True:
        yield lambda: used


@side("memory of saving 256 MB", "the array")
@side("memory of loading 256 MB", "the array")
def array_memory(folder: Path) -> Any:
    while True:
        yield lambda: float(BIG_BYTES)


@side("memory of loading 256 MB", "beyond the array")
def load_big_memory(folder: Path) -> Any:
    path = folder / "big.pkl"
    make = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import pathlib
from cases import big
handler, result = big.big_result(pathlib.Path({str(folder)!r}))
handler.save_persistence(result); handler.filepath(result).rename({str(path)!r})
result.weights = result.weights[:10]; handler.save_persistence(result)
"""
    subprocess.run([sys.executable, "-c", make], check=True)
    handler = pickle_handler(small_class(numbered=False), folder)
    handler.load_persistence(next(other_path for other_path in folder.iterdir() if other_path != path))
    before = peak_bytes()
    handler.load_persistence(path)
    used = float(peak_bytes() - before - BIG_BYTES)
    while True:
        yield lambda: used


# ------------------------------------------------------------------------------------------ mapped


def mapped(folder: Path, size: int) -> Any:
    """Open a result and read its keys and one number of its array, which stays on the disk."""
    from neuralib.persistence import PickleHandler

    handler, result = big_result(folder, size)
    handler.save_persistence(result)
    path = handler.filepath(result)
    load = PickleHandler(type(result), folder, mmap_mode="r").load_persistence

    def batch() -> int:
        for _ in range(20):
            found = load(path)
            assert (found.animal, found.run) == ("A00", 0)
            float(found.weights[-1])
        return 20

    while True:
        yield batch


@side("open mapped", "256 MB")
def mapped_big(folder: Path) -> Any:
    yield from mapped(folder, BIG_BYTES)


@side("open mapped", "1 MB")
def mapped_small(folder: Path) -> Any:
    yield from mapped(folder, 1 << 20)
