"""What is measured: for each case, the sides that do the same work, each as a function that prepares one batch.

A side's function takes a folder of its own and returns the batch: a function without arguments that returns how many
operations it did, or, where time is not the figure, the figure itself as a float. What a batch must find ready is made
by a generator's first part::

    @side("load", "by hand", operations=500)
    def load_by_hand(folder):
        ...                     # not measured, once a process
        while True:
            ...                 # not measured, before each batch
            yield batch         # measured when it is called
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
import time
import timeit
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIDES: dict[str, dict[str, Callable[[Path], Iterator[Callable[[], object]]]]] = {}
SMALL = 20_000
FILES = 300
TRACES_BYTES = 32 << 20
BIG_BYTES = 256 << 20


def side(case: str, name: str) -> Callable[[Any], Any]:
    def register(prepare: Any) -> Any:
        SIDES.setdefault(case, {})[name] = prepare
        return prepare

    return register


def small_class(*, numbered: bool = True) -> Any:
    """Five keys of which four show in the name, an auto-increment key, a 10-value array, a float."""
    from neuralib.persistence import autoinc_field, field, persistence_class

    class Result:
        animal: str = field(validator=True, filename=True)
        date: str = field(validator=True, filename=True)
        plane: int = field(filename_prefix="plane", filename=True)
        signal: str = field(filename=True)
        selection: str = field()
        if numbered:
            run: int = autoinc_field("#")
        else:
            run: int = field(filename_prefix="#", filename=True)
        weights: Any
        score: float

    return persistence_class(Result)


KEYS = ("A00", "20230101", 3, "df_f", "all")


def fields(run: int | None = 17) -> dict[str, Any]:
    import numpy as np

    names = ("animal", "date", "plane", "signal", "selection")
    return {**dict(zip(names, KEYS, strict=True)), "run": run, "weights": np.arange(10.0), "score": 0.5}


def made(cls: Any, run: int | None) -> Any:
    result = cls(*KEYS, run)
    values = fields()
    result.weights, result.score = values["weights"], values["score"]
    return result


@dataclasses.dataclass
class Plain:
    """The same fields as a dataclass."""

    animal: str
    date: str
    plane: int
    signal: str
    selection: str
    run: int | None
    weights: Any
    score: float


@dataclasses.dataclass
class PlainKeys:
    """The keys alone, as a dataclass."""

    animal: str
    date: str
    plane: int
    signal: str
    selection: str
    run: int | None = None


def repeated(statement: str, **names: Any) -> Iterator[Callable[[], object]]:
    """Time *statement* alone, in a loop without a call of its own."""
    timer = timeit.Timer(statement, globals=names)

    def batch() -> float:
        return timer.timeit(SMALL) / SMALL

    while True:
        yield batch


# ------------------------------------------------------------------------------------------ small paths


@side("as_dict", "ours")
def as_dict_ours(folder: Path) -> Any:
    from neuralib.persistence import as_dict

    result = made(small_class(), 17)
    yield from repeated("as_dict(result)", as_dict=as_dict, result=result)


@side("as_dict", "msgspec")
def as_dict_msgspec(folder: Path) -> Any:
    import msgspec

    struct = msgspec.defstruct("Struct", [(name, Any) for name in fields()])(**fields())
    asdict = msgspec.structs.asdict
    yield from repeated("asdict(struct)", asdict=asdict, struct=struct)


@side("from_dict", "ours")
def from_dict_ours(folder: Path) -> Any:
    from neuralib.persistence import from_dict

    cls, values = small_class(), pickle.loads(pickle.dumps(fields()))
    yield from repeated("from_dict(cls, values)", from_dict=from_dict, cls=cls, values=values)


@side("from_dict", "dataclass")
def from_dict_dataclass(folder: Path) -> Any:
    values = pickle.loads(pickle.dumps(fields()))
    yield from repeated("Plain(**values)", Plain=Plain, values=values)


@side("filename", "ours")
def filename_ours(folder: Path) -> Any:
    from neuralib.persistence import filename

    result = made(small_class(), 17)
    yield from repeated("filename(result)", filename=filename, result=result)


@side("filename", "f-string")
def filename_by_hand(folder: Path) -> Any:
    r = Plain(**fields())
    yield from repeated("f'cache-Result-{r.animal}-{r.date}-plane{r.plane}-{r.signal}-#{r.run}'", r=r)


@side("__init__", "ours")
def init_ours(folder: Path) -> Any:
    cls = small_class()
    yield from repeated("cls('A00', '20230101', 3, 'df_f', 'all', 17)", cls=cls)


@side("__init__", "dataclass")
def init_dataclass(folder: Path) -> Any:
    yield from repeated("cls('A00', '20230101', 3, 'df_f', 'all', 17)", cls=PlainKeys)


# ------------------------------------------------------------------------------------------ saving and loading


def pickle_handler(cls: Any, folder: Path) -> Any:
    from neuralib.persistence import PickleHandler

    folder.mkdir(parents=True, exist_ok=True)
    return PickleHandler(cls, folder)


def save_by_hand(result: Any, folder: str) -> None:
    """Write a temporary file and rename it, as a careful person would."""
    name = f"cache-Result-{result.animal}-{result.date}-plane{result.plane}-{result.signal}-#{result.run}.pkl"
    temporary = f"{folder}/.{name}.tmp"
    data = pickle.dumps(result.__dict__, protocol=5)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.rename(temporary, f"{folder}/{name}")


def saving(folder: Path, cls: Any, numbers: Any, save_all: Callable[[list[Any], Path], object]) -> Any:
    """Batches of new results, each batch into a folder of its own that exists."""
    batch_number = 0
    while True:
        target = folder / str(batch_number)
        target.mkdir()
        results = [made(cls, it) for it in numbers]
        batch_number += 1

        def batch(results: list[Any] = results, target: Path = target) -> int:
            save_all(results, target)
            return len(results)

        yield batch


def save_with_handler(results: list[Any], target: Path) -> None:
    from neuralib.persistence import PickleHandler

    save = PickleHandler(type(results[0]), target).save_persistence
    for it in results:
        save(it)


@side("save", "ours")
def save_ours(folder: Path) -> Any:
    yield from saving(folder, small_class(numbered=False), range(FILES), save_with_handler)


@side("save", "by hand")
def save_hand(folder: Path) -> Any:
    def save_all(results: list[Any], target: Path) -> None:
        for it in results:
            save_by_hand(it, str(target))

    yield from saving(folder, Plain2, range(FILES), save_all)


@side("save, numbered", "existing")
@side("save, numbered", "ours")
def save_numbered(folder: Path) -> Any:
    yield from saving(folder, small_class(), [None] * 100, save_with_handler)


class Plain2(PlainKeys):
    """With room for the data, set after construction."""


def loop_case(count: int) -> None:
    @side(f"save, loop of {count}", "numbered")
    def numbered(folder: Path) -> Any:
        yield from saving(folder, small_class(), [None] * count, save_with_handler)

    @side(f"save, loop of {count}", "not numbered")
    def not_numbered(folder: Path) -> Any:
        yield from saving(folder, small_class(numbered=False), range(count), save_with_handler)


for _count in (1_000, 20_000, 100_000):
    loop_case(_count)


def filled_folder(folder: Path, count: int) -> tuple[Any, Path]:
    target = folder / "filled"
    cls = small_class()
    target.mkdir()
    save_with_handler([made(cls, it) for it in range(count)], target)
    return cls, target


@side("load", "existing")
@side("load", "ours")
def load_ours(folder: Path) -> Any:
    cls, target = filled_folder(folder, FILES)
    handler = pickle_handler(cls, target)
    paths = [str(it) for it in sorted(target.iterdir())]
    load = handler.load_persistence
    as_paths: list[Any] = [Path(it) for it in paths] if takes_no_text(load, paths[0]) else list(paths)

    def batch() -> int:
        for it in as_paths:
            load(it)
        return len(as_paths)

    while True:
        yield batch


def takes_no_text(load: Any, path: str) -> bool:
    try:
        load(path)
    except Exception:
        return True
    return False


@side("load", "by hand")
def load_by_hand(folder: Path) -> Any:
    paths = hand_made(folder, FILES)

    def batch() -> int:
        for it in paths:
            with open(it, "rb") as file:
                pickle.load(file)
        return len(paths)

    while True:
        yield batch


def hand_made(folder: Path, count: int) -> list[str]:
    for it in range(count):
        result = made(Plain2, it)
        save_by_hand(result, str(folder))
    return [f"{folder}/{it}" for it in sorted(os.listdir(folder))]


@side("load_all of 5000", "ours")
def load_all_ours(folder: Path) -> Any:
    from neuralib.persistence import missing

    cls, target = filled_folder(folder, 5_000)
    handler = pickle_handler(cls, target)
    template = cls(*KEYS, missing)

    def batch() -> int:
        return sum(1 for _ in handler.load_all(template))

    while True:
        yield batch


@side("load_all of 5000", "by hand")
def load_all_by_hand(folder: Path) -> Any:
    hand_made(folder, 5_000)

    def batch() -> int:
        results = []
        for name in sorted(os.listdir(folder)):
            if name.endswith(".pkl"):
                with open(f"{folder}/{name}", "rb") as file:
                    results.append(pickle.load(file))
        return len(results)

    while True:
        yield batch


# ------------------------------------------------------------------------------------------ folders of 100,000


def many_names(folder: Path) -> Path:
    """Return a folder of 100,000 results, made by whoever comes first; linked, because only names are read."""
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
            if number % 60_000 == 0:  # ext4 lets a file have 65,000 names
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
        handler = pickle_handler(cls, target)  # remembers nothing, like a fresh process
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
    from neuralib.persistence import _core

    target = str(many_names(folder))

    def batch() -> int:
        assert _core.scan_folder(target, "cache-Result-A00-20230101-plane3-df_f-#", ".pkl", ".x")[0] >= 99_999
        return 1

    while True:
        yield batch


# ------------------------------------------------------------------------------------------ compression


def traces() -> Any:
    """Return 32 MB of calcium traces as an imaging pipeline leaves them: (F - F0) / F0 of photon counts, float32."""
    import numpy as np

    rng = np.random.default_rng(1)
    cells = 64
    frames = TRACES_BYTES // 4 // cells
    spikes = rng.random((cells, frames)) < 0.005
    decay = np.exp(-np.arange(120) / 30)
    baseline = rng.integers(80, 200, (cells, 1))
    clean = np.stack([np.convolve(it, decay)[:frames] for it in spikes])
    counts = rng.poisson(baseline * (1 + clean))
    return ((counts - baseline) / baseline).astype(np.float32)


def gzip_handler(cls: Any, folder: Path) -> Any:
    from neuralib.persistence import GzipHandler

    return GzipHandler(cls, folder)


@side("gzip 32 MB", "existing")
@side("gzip 32 MB", "ours")
def gzip_traces(folder: Path) -> Any:
    cls = small_class(numbered=False)
    handler = gzip_handler(cls, folder)
    result = made(cls, 0)
    result.weights = traces()
    while True:

        def batch() -> int:
            handler.save_persistence(result)
            return 1

        yield batch
        result.run += 1


@side("gzip 32 MB, size", "existing")
@side("gzip 32 MB, size", "ours")
def gzip_traces_size(folder: Path) -> Any:
    for batch in gzip_traces(folder):
        batch()
        size = float(next(folder.iterdir()).stat().st_size)
        yield lambda size=size: size


@side("load gzip 32 MB", "existing")
@side("load gzip 32 MB", "ours")
def gunzip_traces(folder: Path) -> Any:
    next(gzip_traces(folder))()
    path = next(folder.iterdir())
    handler = gzip_handler(small_class(numbered=False), folder)

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
        for it in results:
            handler.save_persistence(it)

    yield from saving(folder, small_class(numbered=False), range(FILES), save_all)


# ------------------------------------------------------------------------------------------ big arrays


def big_result(folder: Path) -> tuple[Any, Any]:
    import numpy as np

    cls = small_class(numbered=False)
    result = made(cls, 0)
    result.weights = np.random.default_rng(0).random(BIG_BYTES // 8)
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
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import pathlib, sides
handler, result = sides.big_result(pathlib.Path({str(folder)!r}))
handler.save_persistence(result); handler.filepath(result).rename({str(path)!r})
result.weights = result.weights[:10]; handler.save_persistence(result)
"""
    subprocess.run([sys.executable, "-c", make], check=True)
    handler = pickle_handler(small_class(numbered=False), folder)
    handler.load_persistence(next(it for it in folder.iterdir() if it != path))
    before = peak_bytes()
    handler.load_persistence(path)
    used = float(peak_bytes() - before - BIG_BYTES)
    while True:
        yield lambda: used


# ------------------------------------------------------------------------------------------ starting


def starting(code: str) -> Any:
    def batch() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    while True:
        yield batch


@side("import", "existing")
@side("import", "ours")
def import_package(folder: Path) -> Any:
    yield from starting("import neuralib.persistence")


@side("import", "bare interpreter")
def bare_interpreter(folder: Path) -> Any:
    yield from starting("pass")
