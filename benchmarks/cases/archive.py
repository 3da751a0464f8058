"""Archives beside folders, and beside SQLite by hand: the same table, the same settings, the same number of bytes in a row."""

from __future__ import annotations

import itertools
import os
import pickle
import sqlite3
import struct
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

from cases.checking import forget
from cases.common import PART, made, save_each, scaled, side, small_class
from cases.series import results_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MANY = 100_000
FROM_DISK = 20_000
GROUP = 2_000  # results of a transaction, as those of an archive
PROCESSES = 4
_TABLE = "CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)"
_INSERT = "INSERT INTO sqlar VALUES(?, ?, ?, ?, ?)"
_CARD = bytes(300)  # about what the card of the class takes


def handler_at(cls: Any, place: Path) -> Any:
    from neuralib.persistence import PickleHandler

    return PickleHandler(cls, place)


def row_by_hand(result: Any) -> tuple[Any, ...]:
    """Return a row of the same size with a checksum, as a careful person would write it."""
    data = pickle.dumps(result.__dict__, protocol=5)
    data += _CARD + struct.pack("<I", zlib.crc32(data))
    name = f"cache-Result-{result.animal}-{result.date}-plane{result.plane}-{result.signal}-#{result.run}.pkl"
    return name, 0o100644, int(time.time()), len(data), data


def database(path: Path) -> sqlite3.Connection:
    found = sqlite3.connect(path)
    found.execute("PRAGMA journal_mode=WAL")
    found.execute("PRAGMA synchronous=NORMAL")
    found.execute(_TABLE)
    return found


def batches(folder: Path, save_all: Callable[[Any, list[Any], Path], object], *, numbered: bool = False) -> Any:
    """Batches of many results, each into a place of its own; a small one to warm up first."""
    cls = small_class(numbered=numbered)
    for number in itertools.count():
        count = scaled(MANY, at_least=2 * GROUP) if number else PART
        results = [made(cls, None if numbered else number) for number in range(count)]
        yield partial(_counted, save_all, cls, results, folder / f"{number}")


def _counted(save_all: Any, cls: Any, results: list[Any], place: Path) -> int:
    save_all(cls, results, place)
    return len(results)


def into_archive(cls: Any, results: list[Any], place: Path) -> None:
    handler = handler_at(cls, place.with_suffix(".sqlar"))
    handler.save_all(results)
    handler.store.close()


def into_batch(cls: Any, results: list[Any], place: Path) -> None:
    handler = handler_at(cls, place.with_suffix(".sqlar"))
    with handler.batch():
        save_each(results, handler.save_persistence)
    handler.store.close()


def into_folder(cls: Any, results: list[Any], place: Path) -> None:
    handler_at(cls, place).save_all(results)


def by_hand(cls: Any, results: list[Any], place: Path) -> None:
    connection = database(place.with_suffix(".db"))
    for start in range(0, len(results), GROUP):
        with connection:
            connection.executemany(_INSERT, map(row_by_hand, results[start : start + GROUP]))
    connection.close()


def rows_alone(folder: Path) -> Any:
    """The very rows of an archive, which are there already: what SQLite takes of the time."""
    cls = small_class(numbered=False)
    for number in itertools.count():
        count = scaled(MANY, at_least=2 * GROUP) if number else PART
        made_of = folder / f"{number}.sqlar"
        into_archive(cls, [made(cls, number) for number in range(count)], made_of)
        connection = sqlite3.connect(made_of)
        rows = connection.execute("SELECT name, mode, mtime, sz, data FROM sqlar").fetchall()
        connection.close()
        yield partial(_rows_inserted, rows, folder / f"{number}.db")


def _rows_inserted(rows: list[Any], place: Path) -> int:
    connection = database(place)
    for start in range(0, len(rows), GROUP):
        with connection:
            connection.executemany(_INSERT, rows[start : start + GROUP])
    connection.close()
    return len(rows)


CASE = f"save_all of {MANY} into an archive"
side(CASE, "rows alone")(rows_alone)
side(CASE, "archive")(partial(batches, save_all=into_archive))
side(CASE, "handler.batch()")(partial(batches, save_all=into_batch))
side(CASE, "numbered")(partial(batches, save_all=into_archive, numbered=True))
side(CASE, "folder")(partial(batches, save_all=into_folder))
side(CASE, "executemany")(partial(batches, save_all=by_hand))


@side("save into an archive", "archive")
def save_alone(folder: Path) -> Any:
    yield from _alone(folder, numbered=False)


@side("save into an archive", "numbered")
def save_numbered_alone(folder: Path) -> Any:
    yield from _alone(folder, numbered=True)


def _alone(folder: Path, *, numbered: bool) -> Iterator[Callable[[], object]]:
    cls = small_class(numbered=numbered)
    save = handler_at(cls, folder / "results.sqlar").save_persistence
    for start in itertools.count(0, PART):
        results = [made(cls, None if numbered else start + number) for number in range(PART)]
        yield partial(save_each, results, save)


@side("save into an archive", "insert")
def insert_alone(folder: Path) -> Any:
    cls = small_class(numbered=False)
    folder.mkdir(exist_ok=True)
    connection = database(folder / "by hand.db")

    def insert(result: Any) -> None:
        with connection:
            connection.execute(_INSERT, row_by_hand(result))

    for start in itertools.count(0, PART):
        yield partial(save_each, [made(cls, start + number) for number in range(PART)], insert)


def in_turn(folder: Path, series: int) -> Any:
    """Parts of a loop of numbered saves into an archive that has a million results after a thousand parts."""
    cls = small_class()
    save = handler_at(cls, folder / "results.sqlar").save_persistence
    for start in itertools.count(0, PART):
        yield partial(save_each, results_in_turn(cls, series, PART, start), save)


side("save in turn into an archive", "1000 series")(partial(in_turn, series=1000))
side("save in turn into an archive", "one series")(partial(in_turn, series=1))


def among_a_million(folder: Path, *, numbered: bool) -> Any:
    """Parts of a loop of saves into an archive of a million numbered results in 1,000 series."""
    cls = small_class()
    handler = handler_at(cls, folder / "results.sqlar")
    count = scaled(1_000_000, at_least=PART)
    for start in range(0, count, PART):
        handler.save_all(results_in_turn(cls, 1000, min(PART, count - start), start))
    for start in itertools.count(count, PART):
        results = results_in_turn(cls, 1000, PART, start)
        if not numbered:
            for place, result in enumerate(results, start):
                result.run = place // 1000 + 1_000_000
        yield partial(save_each, results, handler.save_persistence)


side("save among a million in an archive", "numbered")(partial(among_a_million, numbered=True))
side("save among a million in an archive", "not numbered")(partial(among_a_million, numbered=False))


def reading(folder: Path, read: Callable[[Any], object], *, place: str, from_disk: bool = False) -> Any:
    cls = small_class(numbered=False)
    count = scaled(FROM_DISK if from_disk else MANY, at_least=PART)
    handler = handler_at(cls, folder / place)
    handler.save_all(made(cls, number) for number in range(count))
    if place.endswith(".sqlar"):
        handler.store.close()
    while True:
        if from_disk:
            forget_all(folder / place)
        yield partial(_read, read, cls, folder / place, count)


def forget_all(place: Path) -> None:
    """Drop the content of a file, or of each file of a folder, from the system's cache, which keeps where they are."""
    os.sync()  # in one step for all
    for path in [place] if place.is_file() else list(place.iterdir()):
        forget(path)


def _read(read: Any, cls: Any, place: Path, count: int) -> int:
    found = read(handler_at(cls, place))
    assert found == count
    return count


def load_all(handler: Any) -> int:
    from neuralib.persistence import missing

    return sum(
        1 for _ in handler.load_all(None, **dict.fromkeys(("animal", "date", "plane", "signal", "run"), missing))
    )


def table(handler: Any) -> int:
    return len(handler.find().to_columns("score")["score"])


def find_all(handler: Any) -> int:
    return len(handler.find())


def todo(handler: Any) -> int:
    from cases.common import KEYS

    names = ("animal", "date", "plane", "signal", "selection")
    count = scaled(MANY, at_least=PART)
    wanted = {**dict(zip(names, KEYS, strict=True)), "run": range(count)}
    assert not list(handler.todo(wanted))
    return count


def find_one(handler: Any) -> int:
    for number in range(100):
        assert len(handler.find(animal="A00", date="20230101", plane=3, signal="df_f", run=number)) == 1
    return scaled(MANY, at_least=PART)


for title, read in (
    (f"load_all of {MANY} in an archive", load_all),
    (f"table of {MANY} in an archive", table),
    (f"find {MANY} in an archive", find_all),
    (f"todo of {MANY} in an archive", todo),
    (f"find one of {MANY} 100 times in an archive", find_one),
):
    side(title, "archive")(partial(reading, read=read, place="results.sqlar"))
    side(title, "folder")(partial(reading, read=read, place="results"))

for title, read in (
    (f"load_all of {FROM_DISK} from the disk in an archive", load_all),
    (f"table of {FROM_DISK} from the disk in an archive", table),
):
    side(title, "archive")(partial(reading, read=read, place="results.sqlar", from_disk=True))
    side(title, "folder")(partial(reading, read=read, place="results", from_disk=True))


def processes(folder: Path, count: int) -> Any:
    """Batches in which so many processes save into one archive, each as many results of its own; the seconds are those of all."""
    from concurrent.futures import ProcessPoolExecutor

    per_process = scaled(MANY, at_least=2 * GROUP) // 5
    with ProcessPoolExecutor(count) as pool:
        list(pool.map(_save_as, [str(folder / "warm.sqlar")] * count, range(count), [GROUP] * count))
        for number in itertools.count():
            file = str(folder / f"{number}.sqlar")
            yield partial(_saved_by, pool, file, count, per_process)


def _saved_by(pool: Any, file: str, count: int, per_process: int) -> int:
    list(pool.map(_save_as, [file] * count, range(count), [per_process] * count))
    return per_process


def _save_as(file: str, who: int, count: int) -> None:
    from pathlib import Path

    cls = small_class(numbered=False)
    results = [made(cls, number) for number in range(count)]
    for result in results:
        result.animal = f"P{who}"
    handler_at(cls, Path(file)).save_all(results)


side("save_all into one archive", "4 processes")(partial(processes, count=PROCESSES))
side("save_all into one archive", "1 process")(partial(processes, count=1))
