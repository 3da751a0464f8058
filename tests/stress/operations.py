"""Apply every operation to the files of a folder, and print the outcome of each as a line of JSON: ``operations.py [--folder] FOLDER``.

With ``--folder``, the operations on folders are applied to the folder itself. An archive gets the operations on its results and those
on archives. With ``--buckets COUNT SIZE``, the buckets ``b0``, ``b1`` and so on of a hostile server get these too. Memory is limited, so that an operation that takes too much of it fails.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import types
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import checks
import hostile_files
import numpy as np  # noqa: F401 - imported here so that its memory is not measured
from checks import Pair, Run, filled
from memory import peak_bytes

from neuralib.persistence import PersistenceError, PickleHandler, missing, read_head, results_equal
from neuralib.persistence._commands import conversion, entry
from neuralib.persistence._messages import printable
from neuralib.persistence._showing.html import result_html

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS_SPACE = 6 << 30
SECONDS = int(os.environ.get("SECONDS", "600"))
EXPECTED_ERRORS = (PersistenceError, OSError)
entry.parser = functools.cache(entry.parser)  # making the parser takes longer than most operations
scratch = ""
"""The folder where operations on buckets write."""
log = io.StringIO()
logging.getLogger("neuralib.persistence").addHandler(logging.StreamHandler(log))


def run_command(*words: str) -> str:
    """Return the output of a command, whose exit status must be a documented one."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = entry.main(list(words))
    assert status in {0, 1, 2}, status
    return out.getvalue() + err.getvalue()


def load(path: str) -> str:
    """Load the file without trust, show it as HTML, and compare it with itself."""
    handler = PickleHandler(Pair, os.path.dirname(path), trusted=False)
    given = path if "://" in path else Path(path)
    result = handler.load_persistence(given)
    results_equal(result, handler.load_persistence(given))
    return f"{result!r}{result!s}{result_html(result)}"


def load_all(path: str) -> str:
    """Load all results; return the problems given to ``on_corrupt``."""
    problems: list[str] = []
    handler = PickleHandler(Pair, os.path.dirname(path), trusted=False)
    for _ in handler.load_all(a=missing, b=missing, on_corrupt=lambda error: problems.append(str(error))):
        pass
    return "\n".join(problems)


def make_tables(path: str) -> str:
    found = PickleHandler(Pair, os.path.dirname(path), trusted=False).find()
    return f"{found!r}{found._repr_html_()}{[len(column) for column in found.to_columns('c').values()]}"


def save_over(path: str) -> str:
    """Save a result over the file, by a handler that trusts its folder."""
    PickleHandler(Pair, os.path.dirname(path)).save_persistence(filled(Pair(1, os.path.basename(path)[13:-4]), data=1))
    return ""


def convert(path: str) -> str:
    from neuralib.persistence._codecs.gzipped import GZIP

    conversion.convert_file(path, f"{path}.gz", compression=GZIP, level=1, keep=True)
    return ""


def copy_of(path: str) -> str:
    """Return the path of a file with the same content."""
    return f"{path}.copy" if os.path.lexists(f"{path}.copy") else path


def folder_above(path: str) -> str:
    """Return the folder of the archive that *path* is in; for a bucket, the scratch folder."""
    return scratch if "://" in path else os.path.dirname(os.path.dirname(path))


def pack(path: str) -> str:
    """Pack a result of a folder into the archive."""
    folder = f"{folder_above(path)}/results"
    PickleHandler(Pair, folder).save_persistence(filled(Pair(1, "packed"), data=1))
    return run_command("pack", "--keep", folder, os.path.dirname(path))


def save_numbered(path: str) -> str:
    handler = PickleHandler(Run, os.path.dirname(path))
    handler.save_persistence(filled(Run("A"), data=1))
    handler.save_persistence(filled(Run("A"), data=2))
    return str(len(handler.find()))


def save_batch(path: str) -> str:
    handler = PickleHandler(Pair, os.path.dirname(path), durable=True)
    handler.save_all(filled(Pair(1, number), data=1) for number in range(3))
    return ""


def delete(path: str) -> str:
    return str(len(PickleHandler(Pair, os.path.dirname(path), trusted=False).find().delete(dry_run=False)))


OPERATIONS = {
    "load": load,
    "load all": load_all,
    "verify by the handler": lambda path: str(
        [str(check.problem) for check in PickleHandler(Pair, os.path.dirname(path), trusted=False).verify()]
    ),
    "head": lambda path: repr(read_head(path)),
    "ls": lambda path: run_command("ls", "--heads", os.path.dirname(path)),
    "ls --json": lambda path: run_command("ls", "--json", os.path.dirname(path)),
    "ls --csv": lambda path: run_command("ls", "--csv", os.path.dirname(path)),
    "ls --csv-safe": lambda path: run_command("ls", "--csv-safe", os.path.dirname(path)),
    "ls --summary": lambda path: run_command("ls", "--summary", os.path.dirname(path)),
    "show": lambda path: run_command("show", path),
    "show --json": lambda path: run_command("show", "--json", path),
    "verify": lambda path: run_command("verify", path),
    "verify --json": lambda path: run_command("verify", "--json", path),
    "du": lambda path: run_command("du", "--by", "a", os.path.dirname(path)),
    "diff": lambda path: run_command("diff", path, copy_of(path)),
    "diff --json": lambda path: run_command("diff", "--json", path, copy_of(path)),
    "tables": make_tables,
    "convert": convert,
    "save over": save_over,
}
ARCHIVE_OPERATIONS = {
    **OPERATIONS,
    "verify the archive": lambda path: run_command("verify", os.path.dirname(path)),
    "verify --json the archive": lambda path: run_command("verify", "--json", os.path.dirname(path)),
    "unpack": lambda path: run_command(
        "unpack", "--all", "--keep", os.path.dirname(path), f"{folder_above(path)}/unpacked"
    ),
    "merge": lambda path: run_command("merge", os.path.dirname(path), "-o", f"{folder_above(path)}/merged.sqlar"),
    "pack": pack,
    "number": save_numbered,
    "save many": save_batch,
    "migrate": lambda path: run_command("migrate", os.path.dirname(path), "--class", f"{checks.__file__}:Pair", "-n"),
    "rm -n": lambda path: run_command("rm", os.path.dirname(path), "--all", "-n"),
    "delete": delete,
}
BUCKET_OPERATIONS = {
    **ARCHIVE_OPERATIONS,
    "rm": lambda path: run_command("rm", os.path.dirname(path), "--all", "-y"),
}
FOLDER_OPERATIONS = [
    "ls",
    "ls --json",
    "ls --csv",
    "ls --csv-safe",
    "ls --summary",
    "du",
    "load all",
    "verify by the handler",
    "tables",
]


def run(operation: str, path: str) -> dict[str, object]:
    """Return the outcome of *operation* on the file *path*, with its time, memory and output."""
    if os.path.dirname(path).endswith(".sqlar"):
        file, operations = os.path.dirname(path), ARCHIVE_OPERATIONS
    else:
        file, operations = path, OPERATIONS
    return outcome_of(operation, operations, path, os.path.basename(file), os.path.getsize(file))


def outcome_of(
    operation: str, operations: dict[str, Callable[[str], str]], path: str, name: str, size: int
) -> dict[str, object]:
    """Return the outcome of *operation* on *path*, which is a part of the file or bucket *name* of *size* bytes."""
    log.seek(0)
    log.truncate()
    reset_peak()
    before, start = peak_bytes(), time.process_time()
    try:
        text = operations[operation](path)
        outcome = "ended well"
    except TimeoutError as error:
        text, outcome = "", f"TimeoutError: {error}"
    except EXPECTED_ERRORS as error:
        text, outcome = f"{error}\n", "ended well"
    except BaseException as error:
        text, outcome = "", f"{type(error).__name__}: {str(error)[:300]}"
    seconds = time.process_time() - start
    text += log.getvalue()
    unprintable = sorted(
        character for character in set(text) if character != "\n" and printable(character) != character
    )
    return {
        "file": name,
        "operation": operation,
        "outcome": outcome,
        "seconds": round(seconds, 3),
        "peak": peak_bytes() - before,
        "output": len(text),
        "unprintable": unprintable,
        "size": size,
    }


def reset_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def raise_timeout(*_: object) -> None:
    raise TimeoutError("the operation takes too long")


def apply_all(path: Path) -> None:
    """Apply all operations to a file, in a new folder that holds it alone."""
    folder = tempfile.mkdtemp()
    gc.collect()
    try:
        alone = f"{folder}/{path.name}"
        os.link(path, alone) if path.stat().st_dev == os.stat(folder).st_dev else shutil.copy(path, alone)
        if path.suffix == ".sqlar":
            operations, alone = ARCHIVE_OPERATIONS, f"{alone}/{hostile_files.RESULT_NAME}"
        else:
            operations = OPERATIONS
            os.link(alone, f"{alone}.copy")
        for operation in operations:
            signal.alarm(SECONDS)
            print(json.dumps(run(operation, alone)), flush=True)
            signal.alarm(0)
    finally:
        shutil.rmtree(folder)


def apply_all_to_buckets(count: int, size: int) -> None:
    """Apply all operations to each bucket of the server, every time as it was at first."""
    attempts.time = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None)  # type: ignore[assignment]
    objects._MOST_LISTED_BYTES = 1 << 20
    for number in range(count):
        for operation in BUCKET_OPERATIONS:
            request = urllib.request.Request(f"{os.environ['AWS_ENDPOINT']}/b{number}", method="POST")
            urllib.request.urlopen(request, timeout=10).close()
            shutil.rmtree(scratch, ignore_errors=True)
            os.mkdir(scratch)
            signal.alarm(SECONDS)
            path = f"s3://b{number}/{hostile_buckets.PREFIX}/{hostile_files.RESULT_NAME}"
            print(json.dumps(outcome_of(operation, BUCKET_OPERATIONS, path, f"b{number}", size)), flush=True)
            signal.alarm(0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    signal.signal(signal.SIGALRM, raise_timeout)
    place = Path(sys.argv[-1])
    warm_up = Path(tempfile.mkdtemp())
    PickleHandler(Pair, warm_up).save_persistence(filled(Pair(1, 2), data=np.arange(3)))
    for path in sorted(warm_up.iterdir()):
        with contextlib.redirect_stdout(io.StringIO()):
            apply_all(path)
    gc.freeze()  # so that collections skip what was imported
    if sys.argv[1] == "--buckets":
        import hostile_buckets

        from neuralib.persistence._stores import attempts, objects

        scratch = tempfile.mkdtemp()
        try:
            apply_all_to_buckets(*map(int, sys.argv[2:]))
        finally:
            shutil.rmtree(scratch)
    elif sys.argv[1] == "--folder":
        for name in FOLDER_OPERATIONS:
            print(json.dumps(run(name, str(place / "cache-Pair-1-0.pkl"))), flush=True)
        print(json.dumps({**run("verify", str(place)), "operation": "verify the folder"}), flush=True)
    else:
        for path in sorted(place.iterdir()):
            apply_all(path)
