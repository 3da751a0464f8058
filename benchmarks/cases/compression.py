"""Compressed results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.common import FILES, KEYS, Unavailable, made, saving, side, small_class

if TYPE_CHECKING:
    from collections.abc import Callable

TRACES_BYTES = 32 << 20


def traces() -> Any:
    """Return 32 MB of calcium traces as an imaging pipeline leaves them: (F - F0) / F0 of photon counts, float32."""
    import numpy as np

    rng = np.random.default_rng(1)
    cells = 64
    frames = TRACES_BYTES // 4 // cells
    spikes = rng.random((cells, frames)) < 0.005
    decay = np.exp(-np.arange(120) / 30)
    baseline = rng.integers(80, 200, (cells, 1))
    clean = np.stack([np.convolve(cell_spikes, decay)[:frames] for cell_spikes in spikes])
    counts = rng.poisson(baseline * (1 + clean))
    return ((counts - baseline) / baseline).astype(np.float32)


def gzip_handler(cls: Any, folder: Path) -> Any:
    from neuralib.persistence import GzipHandler

    return GzipHandler(cls, folder)


def zstd_handler(cls: Any, folder: Path) -> Any:
    try:
        from neuralib.persistence import ZstdHandler
    except ImportError:
        raise Unavailable("this version of the package has no ZstdHandler") from None
    try:
        return ZstdHandler(cls, folder)
    except ImportError as error:  # raised if the optional package that compresses is missing
        raise Unavailable(str(error)) from error


@side("zstd 32 MB", "gzip")
@side("gzip 32 MB", "existing")
@side("gzip 32 MB", "ours")
def gzip_traces(folder: Path) -> Any:
    yield from saved_traces(folder, gzip_handler)


@side("zstd 32 MB", "zstd")
def zstd_traces(folder: Path) -> Any:
    yield from saved_traces(folder, zstd_handler)


def saved_traces(folder: Path, make_handler: Callable[[Any, Path], Any]) -> Any:
    cls = small_class(numbered=False)
    handler = make_handler(cls, folder)
    result = made(cls, 0)
    result.weights = traces()
    while True:

        def batch() -> int:
            handler.save_persistence(result)
            return 1

        yield batch
        result.run += 1


@side("zstd 32 MB, size", "gzip")
@side("gzip 32 MB, size", "existing")
@side("gzip 32 MB, size", "ours")
def gzip_traces_size(folder: Path) -> Any:
    yield from size_of_traces(folder, gzip_handler)


@side("zstd 32 MB, size", "zstd")
def zstd_traces_size(folder: Path) -> Any:
    yield from size_of_traces(folder, zstd_handler)


def size_of_traces(folder: Path, make_handler: Callable[[Any, Path], Any]) -> Any:
    for batch in saved_traces(folder, make_handler):
        batch()
        size = float(next(folder.iterdir()).stat().st_size)
        yield lambda size=size: size


@side("load zstd 32 MB", "gzip")
@side("load gzip 32 MB", "existing")
@side("load gzip 32 MB", "ours")
def gunzip_traces(folder: Path) -> Any:
    yield from loaded_traces(folder, gzip_handler)


@side("load zstd 32 MB", "zstd")
def unzstd_traces(folder: Path) -> Any:
    yield from loaded_traces(folder, zstd_handler)


def loaded_traces(folder: Path, make_handler: Callable[[Any, Path], Any]) -> Any:
    next(saved_traces(folder, make_handler))()
    path = next(folder.iterdir())
    handler = make_handler(small_class(numbered=False), folder)

    def batch() -> int:
        handler.load_persistence(path)
        return 1

    while True:
        yield batch


@side("gzip, small", "existing")
@side("gzip, small", "ours")
def gzip_small(folder: Path) -> Any:
    def save_all(results: list[Any], target: Path) -> None:
        handler = gzip_handler(type(results[0]), target)
        for result in results:
            handler.save_persistence(result)

    yield from saving(folder, small_class(numbered=False), range(FILES), save_all)


# ------------------------------------------------------------------------------------------ threads


def saved_by_threads(folder: Path, threads: int) -> Any:
    """Yield batches that save 32 compressed results of 1 MB by this many threads, which share a handler."""
    import numpy as np

    cls = small_class(numbered=False)
    weights = traces().reshape(-1)[: 32 * (1 << 18)].reshape(32, -1)

    def save_all(results: list[Any], target: Path) -> None:
        handler = gzip_handler(cls, target)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(handler.save_persistence, results))

    for batch in saving(folder, cls, range(32), save_all):
        for result, row in zip(batch.__defaults__[0], weights, strict=True):
            result.weights = np.ascontiguousarray(row)
        yield batch


@side("gzip 32 results of 1 MB", "2 threads")
def saved_by_two_threads(folder: Path) -> Any:
    yield from saved_by_threads(folder, 2)


@side("gzip 32 results of 1 MB", "1 thread")
def saved_by_one_thread(folder: Path) -> Any:
    yield from saved_by_threads(folder, 1)


def loaded_by_threads(folder: Path, threads: int) -> Any:
    from neuralib.persistence import GzipHandler, missing

    next(saved_by_threads(folder, 1))()
    handler = GzipHandler(small_class(numbered=False), folder / "0", threads=threads)
    template = handler.persistence_class(*KEYS, missing)

    def batch() -> int:
        return sum(1 for _ in handler.load_all(template))

    while True:
        yield batch


@side("load_all of these", "2 threads")
def loaded_by_two_threads(folder: Path) -> Any:
    yield from loaded_by_threads(folder, 2)


@side("load_all of these", "1 thread")
def loaded_by_one_thread(folder: Path) -> Any:
    yield from loaded_by_threads(folder, 1)
