"""Calls everything in the compiled modules with wrong arguments, to be run in a process of its own, in an empty folder.

Any error is right. What is called last is printed, so that a crash tells what it comes from.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import sys
import sysconfig
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import neuralib.persistence
from neuralib.persistence import _core, _disk, _names, _pickling, _scan, autoinc_field, field, persistence_class
from neuralib.persistence._codecs.frames import small_file


@persistence_class
class Run:
    animal: str = field(validator=True, filename=True)
    number: int = autoinc_field("#")
    score: float


class Text(str):
    """No text of the exact type."""

    __slots__ = ()


def run():
    result = Run("A", 1)
    result.score = 1.0
    return result


LAYOUT = Run._persistence_layout_
LAYOUT_VALUES = LAYOUT.__reduce__()[1]
PATTERNS = [(("cache-", "-", ".pkl"), (0, 1))]
SEALED = small_file(b"\x80\x05\x95\x04\x00\x00\x00\x00\x00\x00\x00}\x94(u.", b"{}")


def table():
    return _names.read_names(["cache-A-1.pkl", "cache-B-2.pkl"], PATTERNS, (None, None))


def file():
    return _disk.OpenFile("file", os.O_RDWR | os.O_CREAT)


def number_of(data, before=0):
    return zlib.crc32(data, before)


# By name: functions that return what is called, and right arguments for it. They are made anew for each call.
CALLS = {
    "_core.Layout": lambda: (_core.Layout, LAYOUT_VALUES),
    "_core._sent_layout": lambda: (_core._sent_layout, (SimpleNamespace(), *LAYOUT_VALUES[1:])),
    "_core.Layout.__reduce__": lambda: (_core.Layout.__reduce__, (LAYOUT,)),
    "_core.as_dict": lambda: (_core.as_dict, (run(),)),
    "_core.from_dict": lambda: (_core.from_dict, (Run, {"animal": "A", "number": 1, "score": 1.0})),
    "_core.format_name": lambda: (_core.format_name, (LAYOUT, run(), {"number": 2})),
    "_core.around_number": lambda: (_core.around_number, (LAYOUT, run(), ".pkl")),
    "_core.plain_name": lambda: (_core.plain_name, (LAYOUT, run(), ".pkl")),
    "_core.is_plainly_named": lambda: (_core.is_plainly_named, (LAYOUT, ".pkl", run(), "cache-Run-A-#1.pkl")),
    "_core.is_plain_name": lambda: (_core.is_plain_name, ("name",)),
    "_core.filename": lambda: (_core.filename, (run(),)),
    "_core.is_numbered": lambda: (_core.is_numbered, (LAYOUT, run(), {"number": 2})),
    "_names._Pattern": lambda: (_names._Pattern, (*PATTERNS[0], 2)),
    "_names._Column": lambda: (_names._Column, ([],)),
    "_names._Reader": lambda: (_names._Reader, (PATTERNS, (None, None))),
    "_names.NameTable": lambda: (_names.NameTable, (2,)),
    "_names.NameTable.__len__": lambda: (_names.NameTable.__len__, (table(),)),
    "_names.NameTable.name": lambda: (_names.NameTable.name, (table(), 0)),
    "_names.NameTable.all_names": lambda: (_names.NameTable.all_names, (table(),)),
    "_names.NameTable.doubtful": lambda: (_names.NameTable.doubtful, (table(), 0)),
    "_names.NameTable.codes_of": lambda: (_names.NameTable.codes_of, (table(), 0)),
    "_names.NameTable.agrees": lambda: (_names.NameTable.agrees, (table(), 0, ("a", "b"), {"a": "A", "b": 1})),
    "_names.NameTable.column": lambda: (_names.NameTable.column, (table(), 0, [0, 1])),
    "_names.NameTable.groups": lambda: (_names.NameTable.groups, (table(), 0)),
    "_names.NameTable.select": lambda: (_names.NameTable.select, (table(), (b"\0\1\1", None), (None, [1, 0]))),
    "_names.read_names": lambda: (
        _names.read_names,
        (["cache-A-1.pkl", "cache-ä-2.pkl"], PATTERNS, (frozenset({"A"}), None)),
    ),
    "_names.are_packed": lambda: (_names.are_packed, (b"a/b", 2, 255)),
    "_names.rank_numbers": lambda: (_names.rank_numbers, (["1", "0"],)),
    "_scan.scan_folder": lambda: (_scan.scan_folder, (os.curdir, "cache-", (".pkl", ".gz"), ".x")),
    "_scan.index_series": lambda: (_scan.index_series, (["a-1", "a-2"], "-", "", 5)),
    "_scan.Counter": lambda: (_scan.Counter, (1, 1)),
    "_scan.Counter.take": lambda: (_scan.Counter.take, (_scan.Counter(1, 1), 1)),
    "_scan.Counter.give_back": lambda: (_scan.Counter.give_back, (_scan.Counter(1, 1), 1)),
    "_scan.Counter.save": lambda: (_scan.Counter.save, (_scan.Counter(1, 1), 1, 1)),
    "_disk.OpenFile": lambda: (_disk.OpenFile, ("file", os.O_RDONLY, 0o666, None)),
    "_disk.OpenFile.close": lambda: (_disk.OpenFile.close, (file(),)),
    "_disk.Stamp": lambda: (_disk.Stamp, ()),
    "_disk.Stamp.is_unchanged": lambda: (_disk.Stamp.is_unchanged, (_disk.Stamp(), _disk.Stamp())),
    "_disk._open_locks": lambda: (_disk._open_locks, ()),
    "_disk.read_small": lambda: (_disk.read_small, ("file", 100, [bytearray(10)])),
    "_disk.read_former": lambda: (_disk.read_former, ("file", 100)),
    "_disk.write_unnamed": lambda: (_disk.write_unnamed, (os.curdir, b"data")),
    "_disk.publish_unnamed": lambda: (
        _disk.publish_unnamed,
        (os.curdir, "new", b"data", True, _disk.folder_stamp(os.curdir), file(), False),
    ),
    "_disk.replace_file": lambda: (_disk.replace_file, ("hidden", "target", b"data", 0o666, 0)),
    "_disk.rename_exclusively": lambda: (_disk.rename_exclusively, ("target", "other")),
    "_disk.sync_file_system": lambda: (_disk.sync_file_system, (-1,)),  # to sync a whole one would take long
    "_disk.reserve": lambda: (_disk.reserve, (-1, 0, 1)),
    "_disk.folder_stamp": lambda: (_disk.folder_stamp, (os.curdir,)),
    "_disk.leads_to": lambda: (_disk.leads_to, ("file", 1, 1)),
    "_pickling.know_array_codes": lambda: (_pickling.know_array_codes, ({np.dtype("<f8"): "<f8"},)),
    "_pickling.reduce_array": lambda: (_pickling.reduce_array, (np.arange(3.0),)),
    "_pickling.reduce_dtype": lambda: (_pickling.reduce_dtype, (np.dtype([("a", "<f8")]),)),
    "_pickling.reduce_object": lambda: (_pickling.reduce_object, (run(),)),
    "_pickling.Reducers": lambda: (_pickling.Reducers, ({}, {}.get)),
    "_pickling.Reducers.__len__": lambda: (_pickling.Reducers.__len__, (_pickling.Reducers({}, {}.get),)),
    "_pickling.Reducers.__setitem__": lambda: (
        _pickling.Reducers.__setitem__,
        (_pickling.Reducers({}, {}.get), int, repr),
    ),
    "_pickling.FirstChunk": lambda: (_pickling.FirstChunk, (100, list, _pickling.Reducers({}, {}.get))),
    "_pickling.FirstChunk.write": lambda: (
        _pickling.FirstChunk.write,
        (_pickling.FirstChunk(100, list, _pickling.Reducers({}, {}.get)), b"data"),
    ),
    "_pickling.FirstChunk.dump": lambda: (
        _pickling.FirstChunk.dump,
        (_pickling.FirstChunk(100, list, _pickling.Reducers({}, {}.get)), [1]),
    ),
    "_pickling.FirstChunk.__getitem__": lambda: (
        _pickling.FirstChunk.__getitem__,
        (_pickling.FirstChunk(100, list, _pickling.Reducers({}, {}.get)), int),
    ),
    "_pickling.PickleWriter": lambda: (_pickling.PickleWriter, (sys.stdout.buffer, number_of, number_of, 100)),
    "_pickling.PickleWriter.write": lambda: (
        _pickling.PickleWriter.write,
        (_pickling.PickleWriter(SimpleNamespace(write=len), number_of, number_of, 100), b"data"),
    ),
    "_pickling.is_sealed": lambda: (_pickling.is_sealed, (SEALED, b"{}" + SEALED[-28:-20], zlib.crc32)),
    "_pickling.begins_alike": lambda: (_pickling.begins_alike, (SEALED, SEALED, 1, zlib.crc32)),
    "__init__.__getattr__": lambda: (neuralib.persistence.__getattr__, ("save",)),
    "__init__.__dir__": lambda: (neuralib.persistence.__dir__, ()),
}

WRONG = (
    None,
    0,
    -1,
    (1 << 63) - 1,
    1 << 70,
    1.5,
    "",
    "text",
    "\0",
    "ümläut",
    "\ud800",
    "9" * 30,
    Text("1"),
    b"",
    b"1",
    bytes((1 << 20) + 64),  # as much as a spare piece of memory
    bytearray(b"\x80" * 100),
    memoryview(b"12345678")[::2],
    (),
    [],
    {},
    frozenset(),
    object(),
    int,
    Run,
    run,
    LAYOUT,
    np.arange(3),
)


def wrong_values(right):
    """Yield what is wrong in the place of *right*: other values, and, in a collection, other items."""
    yield from WRONG
    if type(right) in {tuple, list}:
        for place, value in enumerate(right):
            for wrong in wrong_values(value):
                yield type(right)([*right[:place], wrong, *right[place + 1 :]])
        for wrong in WRONG:
            yield type(right)([wrong])
            yield type(right)([*right, wrong])
        yield iter(right)
    elif type(right) in {dict, frozenset, set}:
        for wrong in WRONG:
            with contextlib.suppress(TypeError):  # no hash
                yield {wrong: wrong} if type(right) is dict else type(right)([wrong])


def compiled_names():
    """Yield the names of all that is defined in compiled modules, with those of their methods."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for path in sorted(Path(_core.__file__).parent.glob(f"*{suffix}")):
        stem = path.name.removesuffix(suffix)
        name = "neuralib.persistence" + ("" if stem == "__init__" else f".{stem}")
        for key, value in vars(importlib.import_module(name)).items():
            if getattr(value, "__module__", None) != name or not callable(value):
                continue
            yield f"{stem}.{key}"
            own = vars(value) if isinstance(value, type) else {}
            for each, member in own.items():
                is_method = type(member).__name__ in {"method_descriptor", "cython_function_or_method"}
                if is_method or each in {"__len__", "__getitem__", "__setitem__"}:
                    yield f"{stem}.{key}.{each}"


def call(function, arguments):
    with contextlib.suppress(Exception):
        function(*arguments)


def use(made):
    """Call what takes an object, by what it has: it may have been made of wrong values."""
    kind = type(made)
    for name, prepare in CALLS.items():
        function, arguments = prepare()
        for place, value in enumerate(arguments):
            if type(value) is kind:
                print(name, "with the made", kind.__name__, flush=True)
                call(function, [*arguments[:place], made, *arguments[place + 1 :]])


def try_call(name):
    prepare = CALLS[name]
    function, right = prepare()
    if name != "_disk.sync_file_system":
        function(*right)
    if isinstance(function, type):
        print(name, "not initialised", flush=True)
        with contextlib.suppress(TypeError):
            use(function.__new__(function))
    for place in range(len(right)):
        for number in itertools.count():
            function, arguments = prepare()
            wrong = next(itertools.islice(wrong_values(arguments[place]), number, None), wrong_values)
            if wrong is wrong_values:
                break
            arguments = [*arguments[:place], wrong, *arguments[place + 1 :]]
            print(name, place, number, repr(wrong)[:100].encode("ascii", "backslashreplace").decode(), flush=True)
            if not isinstance(function, type):
                call(function, arguments)
                continue
            with contextlib.suppress(Exception):
                made = function(*arguments)
                use(made)
        call(prepare()[0], right[:place])


if __name__ == "__main__":
    Path("file").write_bytes(b"content" * 100)
    missing = set(compiled_names()) ^ set(CALLS)
    if missing:
        sys.exit(f"give right arguments, or none, for {missing}")
    for each in CALLS:
        if not sys.argv[1:] or each in sys.argv[1:]:
            try_call(each)
