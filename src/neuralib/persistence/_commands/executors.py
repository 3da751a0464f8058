"""The executor of the option ``--executor``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.entries import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

_KNOWN = "processes:8, threads:4, dask://host:8786, ray, ray://host:10001 or slurm:timeout_min=60"


def executor_of(text: str | None) -> Callable[[], Executor] | None:
    """Return a function that makes the executor *text*; None where there is none.

    :raises UsageError: there is no such kind of executor
    """
    if text is None:
        return None
    kind, _, rest = text.partition(":")
    make = {"processes": _processes, "threads": _threads, "dask": _dask, "ray": _ray, "slurm": _slurm}.get(kind)
    if make is None:
        raise UsageError(f"--executor {text}: expected {_KNOWN}")
    asked = f"--executor {text}"
    made = make(rest, asked)

    def make_executor() -> Executor:
        try:
            return made()
        except ImportError:
            raise  # says what to install
        except Exception as error:  # of parameters that an engine does not know, or a cluster that does not answer
            raise UsageError(f"{asked}: {error}") from error

    return make_executor


def _processes(rest: str, asked: str) -> Callable[[], Executor]:
    from concurrent.futures import ProcessPoolExecutor

    workers = _workers(rest, asked)
    return lambda: ProcessPoolExecutor(workers)


def _threads(rest: str, asked: str) -> Callable[[], Executor]:
    from concurrent.futures import ThreadPoolExecutor

    workers = _workers(rest, asked)
    return lambda: ThreadPoolExecutor(workers)


def _workers(text: str, asked: str) -> int | None:
    if text and not (text.isdecimal() and int(text) > 0):
        raise UsageError(f"{asked}: {text!r} is not a number of workers; expected {_KNOWN}")
    return int(text) if text else None


def _dask(rest: str, asked: str) -> Callable[[], Executor]:
    if not rest.startswith("//"):
        raise UsageError(f"{asked}: expected the address of a scheduler, as in dask://host:8786")

    def make() -> Executor:
        try:
            from distributed import Client
        except ImportError as error:
            raise ImportError(f'{asked} needs dask: pip install "dask[distributed]" ({error})') from error
        return Client(f"tcp:{rest}").get_executor()  # type: ignore[no-any-return,no-untyped-call]

    return make


def _ray(rest: str, _: str) -> Callable[[], Executor]:
    def make() -> Executor:
        from neuralib.persistence._computing.engines import ray_executor

        return ray_executor(address=f"ray:{rest}" if rest.startswith("//") else rest or None)

    return make


def _slurm(rest: str, asked: str) -> Callable[[], Executor]:
    parameters: dict[str, Any] = {"cluster": "slurm"}
    for part in filter(None, rest.split(",")):
        name, sign, value = part.partition("=")
        if not sign:
            raise UsageError(
                f"{asked}: {part!r} is not a parameter; expected name=value, as in slurm:timeout_min=60,jobs=100"
            )
        parameters[name] = _number(value)
    folder = parameters.pop("folder", os.path.join(os.curdir, "slurm-jobs"))

    def make() -> Executor:
        from neuralib.persistence._computing.engines import submitit_executor

        return submitit_executor(folder, **parameters)

    return make


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
