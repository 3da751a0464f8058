"""What the check of a file costs who loads it: a result of 1 MB, with and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cases.big import big_result
from cases.common import side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE_BYTES = 1 << 20
_LOADS = 200


def no_checksum(*_: object) -> int:
    return 0


def loading(folder: Path, *, checked: bool) -> Iterator[Callable[[], int]]:
    from neuralib.persistence._handlers import frames

    handler, result = big_result(folder, SIZE_BYTES)
    handler.save_persistence(result)
    path = handler.filepath(result)
    if not checked:
        content = path.read_bytes()
        path.write_bytes(content[:-8] + bytes(8))  # checksums of 0, as this gives for everything
        frames.checksum = no_checksum  # type: ignore[assignment]
    load = handler.load_persistence

    def batch() -> int:
        for _ in range(_LOADS):
            load(path)
        return _LOADS

    while True:
        yield batch


@side("load 1 MB", "with the check")
def load_checked(folder: Path) -> Any:
    yield from loading(folder, checked=True)


@side("load 1 MB", "without it")
def load_unchecked(folder: Path) -> Any:
    yield from loading(folder, checked=False)
