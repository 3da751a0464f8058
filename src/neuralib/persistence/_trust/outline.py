"""Heads: what is in a pickle of any origin, plain data as it is, stand-ins for the rest; and where its arrays are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from neuralib.persistence._trust.allowance import Allowance, AllowanceError
from neuralib.persistence._trust.instructions import LONGEST_KEPT, Instructions
from neuralib.persistence._trust.machine import Machine
from neuralib.persistence._trust.stand_ins import TABLE, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOOK_EVERY = 4096  # instructions: how often is looked whether the names that are asked for are there


class Outline(NamedTuple):
    """What was seen of a pickle."""

    root: Any
    """The whole value where it is complete; else what was begun of it, or None."""
    fields: dict[str, Any]
    """Where it is not complete, the fields of the root that are."""
    complete: bool
    """Whether the pickle was followed to its end."""


def outline(source: bytes | BinaryIO, sizes: Iterable[int] = (), wanted: frozenset[str] | None = None) -> Outline:
    """Return what is in the pickle *source*: its bytes, or a file of which no more is read than is needed.

    :param sizes: of the large arrays that are left out of it, in bytes
    :param wanted: the fields that are needed: reading ends when they are there; None for all
    :raises ValueError: it is damaged
    :raises EOFError: it ends too early
    """
    arrays = (ObjectHead("builtins.bytearray", (), size) for size in sizes)
    machine = Machine(TABLE, None, arrays, Allowance.of_head())
    try:
        steps = Instructions(source, LONGEST_KEPT)
        complete = machine.run(steps if wanted is None else _until(steps, machine, wanted))
    except AllowanceError:
        complete = False
    if complete:
        return Outline(machine.result(), {}, complete=True)
    begun = machine.bottom()[0]
    return Outline(machine.value(begun[0]) if begun else None, _fields_begun(machine), complete=False)


def _until(steps: Iterable[tuple[int, Any]], machine: Machine, wanted: frozenset[str]) -> Iterator[tuple[int, Any]]:
    """Yield *steps* until all of *wanted* are there."""
    for count, step in enumerate(steps, 1):
        yield step
        if (type(step[1]) is ObjectHead or not count % _LOOK_EVERY) and wanted <= _fields_begun(machine).keys():
            return


def _fields_begun(machine: Machine) -> dict[str, Any]:
    """Return the fields of the root that are complete already.

    A pickle gives a dict its items all at once, by the thousand: they wait on the stack, each name before its value.
    The last one is in the making. That a value of several parts is taken for a value and a name after it would need a
    tuple of up to three parts with a large array in it, after texts that are names.
    """
    bottom, *above = machine.bottom()
    if not bottom:
        return {}
    found = bottom[-1] if type(bottom[-1]) is dict else {}
    found = {name: value for name, value in found.items() if type(name) is str}
    if above:
        waiting = above[0][:-2]
        last = ""
        for name, value in zip(waiting[::2], waiting[1::2], strict=False):
            if type(name) is not str or not name.isidentifier():
                found.pop(last, None)  # what was taken for its value is only the start of that
                break
            found[name] = machine.value(value)
            last = name
    return found
