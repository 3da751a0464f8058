"""The executor of the option ``--executor``."""

from __future__ import annotations

import os
from functools import partial
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
    asked = f"--executor {text}"
    kind, _, rest = text.partition(":")
    made: Callable[[], Executor]
    if kind in {"processes", "threads"}:
        made = partial(_pool, kind, _workers(rest, asked))
    elif kind == "dask":
        if not rest.startswith("//"):
            raise UsageError(f"{asked}: expected the address of a scheduler, as in dask://host:8786")
        made = partial(_dask, rest, asked)
    elif kind == "ray":
        made = partial(_ray, f"ray:{rest}" if rest.startswith("//") else rest or None)
    elif kind == "slurm":
        made = partial(_slurm, _parameters(rest, asked))
    else:
        raise UsageError(f"{asked}: expected {_KNOWN}")

    def make_executor() -> Executor:
        try:
            return made()
        except ImportError:
            raise  # says what to install
        except Exception as error:  # of parameters that an engine does not know, or a cluster that does not answer
            raise UsageError(f"{asked}: {error}") from error

    return make_executor


def _pool(kind: str, workers: int | None) -> Executor:
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    return (ProcessPoolExecutor if kind == "processes" else ThreadPoolExecutor)(workers)


def _workers(text: str, asked: str) -> int | None:
    if text and not (text.isdecimal() and int(text) > 0):
        raise UsageError(f"{asked}: {text!r} is not a number of workers; expected {_KNOWN}")
    return int(text) if text else None


def _dask(address: str, asked: str) -> Executor:
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(f'{asked} needs dask: pip install "dask[distributed]" ({error})') from error
    return Client(f"tcp:{address}").get_executor()  # type: ignore[no-any-return,no-untyped-call]


def _ray(address: str | None) -> Executor:
    from neuralib.persistence._computing.engines import ray_executor

    return ray_executor(address=address)


def _slurm(parameters: dict[str, Any]) -> Executor:
    from neuralib.persistence._computing.engines import submitit_executor

    defaults: dict[str, Any] = {"folder": os.path.join(os.curdir, "slurm-jobs"), "cluster": "slurm"}
    return submitit_executor(**{**defaults, **parameters})


def _parameters(text: str, asked: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, sign, value = part.partition("=")
        if not sign:
            raise UsageError(
                f"{asked}: {part!r} is not a parameter; expected name=value, as in slurm:timeout_min=60,jobs=100"
            )
        parameters[name] = _number(value)
    return parameters


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
