"""The share of one task in a job array: which of all results that are wanted are its own, whatever is there already. And counts."""

from __future__ import annotations

import operator
import os
from typing import Any, NamedTuple, TypeAlias

Share: TypeAlias = "tuple[int, int] | str"
"""Number *i*, from 0, of *n* tasks; or the scheduler whose environment variables say so."""


class _Scheduler(NamedTuple):
    """The environment variables of one task of a job array."""

    task: str
    first: str = ""
    """The lowest index of the array; without such a variable, it must be :attr:`default_first`."""
    last: str = ""
    step: str = ""
    tasks: str = ""
    default_first: int = 0


SCHEDULERS = {
    "slurm": _Scheduler(
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
        "SLURM_ARRAY_TASK_COUNT",
    ),
    "pbs": _Scheduler("PBS_ARRAY_INDEX"),
    "sge": _Scheduler("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    "lsf": _Scheduler("LSB_JOBINDEX", last="LSB_JOBINDEX_END", step="LSB_JOBINDEX_STEP", default_first=1),
}
"""How each scheduler numbers the tasks of an array."""


def share_of(share: Share | None) -> tuple[int, int]:
    """Return *share* as numbers *i* and *n*: of *n* tasks, the one that takes every result whose place is *i* modulo *n*.

    :raises ValueError: there is no such task; this process is no task of a job array; or the array has gaps, so that some
        results would belong to no task
    """
    if share is None:
        return 0, 1  # of one task, which does all
    if isinstance(share, str):
        return _from_environment(share)
    try:
        place, count = (whole_number("share", part) for part in share)
    except (TypeError, ValueError):
        place = count = 0
    if not 0 <= place < count:
        raise ValueError(f"share={share!r}: expected (i, n) with i from 0 to n - 1, as in share=(0, 4) to share=(3, 4)")
    return place, count


def whole_number(name: str, value: Any) -> int:
    """Return the argument *value*, which is called *name* and counts something.

    :raises ValueError: it is no whole number from 0
    """
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"{name}={value!r}: expected a whole number from 0")
    return number


def _from_environment(share: str) -> tuple[int, int]:
    name, sign, given = share.partition(":")
    scheduler = SCHEDULERS.get(name)
    if scheduler is None or (sign and not (given.isdecimal() and int(given) > 0)):
        known = ", ".join(repr(known) for known in SCHEDULERS)
        raise ValueError(f"share={share!r}: expected (i, n), or one of {known}, with :n where n tasks were submitted")
    index = _number(share, scheduler.task)
    first = _number(share, scheduler.first) if scheduler.first else scheduler.default_first
    step = _number(share, scheduler.step, least=1) if scheduler.step else 1
    place, off_step = divmod(index - first, step)
    if given:
        count = int(given)
    elif scheduler.last:
        count = (_number(share, scheduler.last) - first) // step + 1
    else:
        problem = f"{name} does not tell how many tasks the array has: say it, as in share='{name}:100'"
        raise ValueError(f"share={share!r}: {problem}")
    tasks = _number(share, scheduler.tasks) if scheduler.tasks else count
    if off_step or not 0 <= place < count or tasks != count:
        raise ValueError(
            f"share={share!r}: task {index} is none of {count} tasks that are numbered from {first} in steps of {step}, "
            f"so some results would belong to no task; submit an array without gaps, or pass share=(i, n)"
        )
    return place, count


def _number(share: str, variable: str, *, least: int = 0) -> int:
    text = os.environ.get(variable, "")
    if not text.isdecimal() or int(text) < least:
        found = f"is {text!r}" if text else "is not set"
        raise ValueError(f"share={share!r}: {variable} {found}; is this process a task of a job array?")
    return int(text)
