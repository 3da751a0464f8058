"""Finding, tabulating and stacking 100,000 results: ours, by hand, and by signac and joblib (10,000: making theirs takes long).

joblib finds a result by a hash of the arguments, and can't list the arguments. So its closest operation to a table is to call
the cached function again for all arguments, which the caller has to know.
"""

from __future__ import annotations

import glob
import json
import os
import pickle
import re
import time
from pathlib import Path
from typing import Any

from cases.common import made, pickle_handler, side, small_class

MANY = 100_000
SOME = 10_000
NAME = re.compile(r"cache-Result-([^-]*)-([^-]*)-plane(\d+)-([^-]*)-#(\d+)\.pkl")


def results(folder: Path, count: int) -> tuple[Any, Path]:
    """Return the class and a folder of *count* results, which all cases share and the first one makes."""
    cls = small_class()
    target = folder.parents[2] / f"results-{count}"
    if not target.exists():
        making = folder / "making"
        handler = pickle_handler(cls, making)
        handler.save_all(made(cls, number) for number in range(count))
        making.rename(target)
    os.listdir(target)
    return cls, target


def batches(batch: Any) -> Any:
    while True:
        yield batch


def found(folder: Path, count: int = MANY) -> Any:
    cls, target = results(folder, count)
    handler = pickle_handler(cls, target)
    return handler.find


@side("find all of 100000", "ours")
def find_all(folder: Path) -> Any:
    """Yield batches that find all results in order, count them, and read every name."""
    find = found(folder)

    def batch() -> int:
        hits = find()
        assert len(hits) == MANY
        for hit in hits:
            hit.name  # noqa: B018
        return 1

    yield from batches(batch)


@side("find all of 100000", "2 listdir + 0.1 s")
def budget(folder: Path) -> Any:
    """Yield batches that return the aim: twice the time of listing, and a microsecond for each name."""
    _, target = results(folder, MANY)

    def batch() -> float:
        start = time.perf_counter()
        os.listdir(target)
        return 2 * (time.perf_counter() - start) + MANY * 1e-6

    yield from batches(batch)


def by_hand(target: Path) -> list[tuple[tuple[str, str, int, str, int], str]]:
    rows = []
    for path in glob.glob(f"{target}/cache-Result-*.pkl"):
        match = NAME.fullmatch(os.path.basename(path))
        if match:
            animal, date, plane, signal, run = match.groups()
            rows.append(((animal, date, int(plane), signal, int(run)), path))
    return sorted(rows)


@side("find all of 100000", "glob and re")
def find_all_by_hand(folder: Path) -> Any:
    _, target = results(folder, MANY)

    def batch() -> int:
        assert len(by_hand(target)) == MANY
        return 1

    yield from batches(batch)


@side("table of 100000", "ours")
def table(folder: Path) -> Any:
    find = found(folder)

    def batch() -> int:
        assert find().to_columns()["run"][-1] == MANY - 1
        return 1

    yield from batches(batch)


@side("table of 100000", "glob and re")
def table_by_hand(folder: Path) -> Any:
    _, target = results(folder, MANY)

    def batch() -> int:
        columns = list(zip(*(keys for keys, _ in by_hand(target)), strict=True))
        assert columns[-1][-1] == MANY - 1
        return 1

    yield from batches(batch)


@side("table of 100000 with a score", "ours")
def scores(folder: Path) -> Any:
    find = found(folder)

    def batch() -> int:
        assert len(find().to_columns("score")["score"]) == MANY
        return 1

    yield from batches(batch)


@side("table of 100000 with a score", "glob, re and pickle")
def scores_by_hand(folder: Path) -> Any:
    _, target = results(folder, MANY)

    def batch() -> int:
        rows = []
        for keys, path in by_hand(target):
            with open(path, "rb") as file:
                rows.append((*keys, pickle.load(file)["score"]))
        assert len(next(zip(*rows, strict=True))) == MANY
        return 1

    yield from batches(batch)


@side("stack of 100000", "ours")
def stack(folder: Path) -> Any:
    find = found(folder)

    def batch() -> int:
        assert find().stack("weights").shape == (MANY, 10)
        return 1

    yield from batches(batch)


@side("stack of 100000", "glob, re and pickle")
def stack_by_hand(folder: Path) -> Any:
    import numpy as np

    _, target = results(folder, MANY)

    def batch() -> int:
        arrays = []
        for _, path in by_hand(target):
            with open(path, "rb") as file:
                arrays.append(pickle.load(file)["weights"])
        assert np.stack(arrays).shape == (MANY, 10)
        return 1

    yield from batches(batch)


@side("find some of 10000", "ours")
def find_some(folder: Path) -> Any:
    find = found(folder, SOME)

    def batch() -> int:
        assert len(find(animal="A00", run=lambda number: number >= SOME // 2)) == SOME // 2
        return 1

    yield from batches(batch)


@side("table of 10000 with a score", "ours")
def some_scores(folder: Path) -> Any:
    find = found(folder, SOME)

    def batch() -> int:
        assert len(find().to_columns("score")["score"]) == SOME
        return 1

    yield from batches(batch)


def jobs(folder: Path) -> Any:
    """Return a signac project of ``SOME`` jobs. Their files are written directly, since signac itself would take minutes."""
    import signac

    project = signac.init_project(str(folder / "project"))
    for run in range(SOME):
        point = {"animal": "A00", "date": "20230101", "plane": 3, "signal": "df_f", "run": run}
        job = Path(project.workspace) / project.open_job(point).id
        job.mkdir(parents=True)
        (job / "signac_statepoint.json").write_text(json.dumps(point))
        (job / "signac_job_document.json").write_text(json.dumps({"score": 0.5}))
    return lambda: signac.get_project(str(folder / "project"))


@side("find some of 10000", "signac")
def find_some_jobs(folder: Path) -> Any:
    project = jobs(folder)

    def batch() -> int:
        assert len(project().find_jobs({"animal": "A00", "run": {"$gte": SOME // 2}})) == SOME // 2
        return 1

    yield from batches(batch)


@side("table of 10000 with a score", "signac")
def job_scores(folder: Path) -> Any:
    project = jobs(folder)

    def batch() -> int:
        rows = [(*job.statepoint().values(), job.doc["score"]) for job in project().find_jobs()]
        assert len(rows) == SOME
        return 1

    yield from batches(batch)


@side("stack of 10000", "ours")
def stack_some(folder: Path) -> Any:
    find = found(folder, SOME)

    def batch() -> int:
        assert find().stack("weights").shape == (SOME, 10)
        return 1

    yield from batches(batch)


@side("stack of 10000", "signac")
def stack_jobs(folder: Path) -> Any:
    import numpy as np

    project = jobs(folder)
    for job in project():
        np.save(job.fn("weights.npy"), np.arange(10.0))

    def batch() -> int:
        assert np.stack([np.load(job.fn("weights.npy")) for job in project()]).shape == (SOME, 10)
        return 1

    yield from batches(batch)


def cached(folder: Path) -> Any:
    """Return a function that joblib caches, with the results of ``SOME`` calls in its cache."""
    import joblib
    import numpy as np

    def compute(animal: str, date: str, plane: int, signal: str, run: int) -> dict[str, Any]:
        return {"weights": np.arange(10.0), "score": 0.5}

    compute.__module__ = "benchmark"
    known = joblib.Memory(folder / "memory", verbose=0).cache(compute)
    for run in range(SOME):
        known("A00", "20230101", 3, "df_f", run)
    return lambda run: known("A00", "20230101", 3, "df_f", run)


@side("table of 10000 with a score", "joblib")
def cached_scores(folder: Path) -> Any:
    known = cached(folder)

    def batch() -> int:
        rows = [("A00", "20230101", 3, "df_f", run, known(run)["score"]) for run in range(SOME)]
        assert len(rows) == SOME
        return 1

    yield from batches(batch)


@side("stack of 10000", "joblib")
def cached_stack(folder: Path) -> Any:
    import numpy as np

    known = cached(folder)

    def batch() -> int:
        assert np.stack([known(run)["weights"] for run in range(SOME)]).shape == (SOME, 10)
        return 1

    yield from batches(batch)
