"""Folders of 100,000 results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cases.common import made, pickle_handler, side, small_class


def many_names(folder: Path) -> Path:
    """Return a folder of 100,000 results, which all sides share and the first one makes.

    They are links to a few files, since only the names are read.
    """
    target = folder.parent / "many"
    if not target.exists():
        making = folder / "making"
        making.mkdir()
        cls = small_class()
        handler = pickle_handler(cls, making)
        template = made(cls, 0)
        first = handler.filepath(template)
        handler.save_persistence(template)
        for number in range(1, 100_000):
            if number % 60_000 == 0:  # a file on ext4 can have 65,000 names
                first = Path(str(first).replace("#0", f"#{number}"))
                first.write_bytes(handler.filepath(template).read_bytes())
            else:
                os.link(first, str(handler.filepath(template)).replace("#0", f"#{number}"))
        making.rename(target)
    return target


@side("one numbered save among 100000, fresh process", "ours")
def save_among_many(folder: Path) -> Any:
    target = many_names(folder)
    cls = small_class()
    result = made(cls, None)
    handler = pickle_handler(cls, target)
    os.listdir(target)
    while True:

        def batch(handler: Any = handler) -> int:
            handler.save_persistence(result)
            return 1

        yield batch
        handler = pickle_handler(cls, target)  # a new one remembers no numbers, as in a new process
        result.run = None


@side("one numbered save among 100000, fresh process", "listdir")
@side("scan of 100000", "listdir")
def list_many(folder: Path) -> Any:
    target = str(many_names(folder))

    def batch() -> int:
        os.listdir(target)
        return 1

    while True:
        yield batch


@side("scan of 100000", "ours")
def scan_many(folder: Path) -> Any:
    from neuralib.persistence import _scan

    target = str(many_names(folder))

    def batch() -> int:
        assert _scan.scan_folder(target, "cache-Result-A00-20230101-plane3-df_f-#", (".pkl",), ".x")[0] >= 99_999
        return 1

    while True:
        yield batch
