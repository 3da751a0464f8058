"""More sides for ``before_after.py``: paths that involve this package alone.

Only public names are used, so that any two builds of the package can be compared. Each side makes its own files.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from cases.big import big_result, one, replacing
from cases.common import loops, made, pickle_handler, side, small_class
from cases.compression import gzip_handler
from cases.medium import reading
from cases.series import saves

_LARGE_BYTES = 64 << 20
_LOOP = 10_000
_SERIES = 200
_MANY = 20_000
_VERIFIED = 500


@side("numbered save loop", "ours")
def numbered_loop(folder: Path) -> Any:
    yield from loops(folder, small_class(), [None] * _LOOP)


@side("200 series in turn", "ours")
def series_in_turn(folder: Path) -> Any:
    yield from saves(folder, _SERIES, loop=_LOOP)


@side("save 64 MB", "ours")
def save_large(folder: Path) -> Any:
    handler, result = big_result(folder, _LARGE_BYTES)
    yield from replacing(handler.filepath(result), lambda: handler.save_persistence(result))


@side("load 64 MB", "ours")
def load_large(folder: Path) -> Any:
    handler, result = big_result(folder, _LARGE_BYTES)
    handler.save_persistence(result)
    path = handler.filepath(result)
    del result
    yield from one(lambda: handler.load_persistence(path))


@side("load gzip, small", "ours")
def gunzip_small(folder: Path) -> Any:
    cls = small_class(numbered=False)
    handler = gzip_handler(cls, folder)
    results = [made(cls, number) for number in range(300)]
    for result in results:
        handler.save_persistence(result)
    yield from reading(handler.load_persistence, [str(handler.filepath(result)) for result in results])


def many_results(folder: Path, count: int) -> Any:
    """Return a handler of a folder with *count* results."""
    cls = small_class()
    handler = pickle_handler(cls, folder / "many")
    handler.save_all(made(cls, number) for number in range(count))
    return handler


@side("find 20000", "ours")
def find_many(folder: Path) -> Any:
    handler = many_results(folder, _MANY)

    def find() -> None:
        hits = handler.find()
        assert len(hits) == _MANY
        for hit in hits:
            hit.name  # noqa: B018

    yield from one(find)


def tables(folder: Path, *fields: str) -> Any:
    handler = many_results(folder, _MANY)

    def table() -> None:
        columns = handler.find().to_columns(*fields)
        assert all(len(columns[name]) == _MANY for name in ("run", *fields))

    yield from one(table)


side("table of 20000", "ours")(tables)
side("table of 20000 with a score", "ours")(lambda folder: tables(folder, "score"))


@side("verify 500", "ours")
def verify_small(folder: Path) -> Any:
    handler = many_results(folder, _VERIFIED)
    yield from one(partial(verify, handler, _VERIFIED))


@side("verify 64 MB", "ours")
def verify_large(folder: Path) -> Any:
    handler, result = big_result(folder, _LARGE_BYTES)
    handler.save_persistence(result)
    del result
    yield from one(partial(verify, handler, 1))


def verify(handler: Any, count: int) -> None:
    """Verify all files of *handler*, which must be *count*, and intact."""
    checks = list(handler.verify())
    assert len(checks) == count
    assert not any(check.problem for check in checks)
