"""A run through a pickle of any origin that tells what is in it: plain data as it is, stand-ins for the rest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._trust import plain_data
from neuralib.persistence._trust.allowance import Allowance, AllowanceError
from neuralib.persistence._trust.instructions import Left
from neuralib.persistence._trust.machine import Machine
from neuralib.persistence._trust.plain_values import Unbuilt
from neuralib.persistence._trust.stand_ins import TABLE, ArrayBegun, ArrayHead, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST_INSTRUCTIONS = 300_000
"""After so many instructions of the pickle, reading ends: what there is by then is the head."""
_MOST_BYTES = 1 << 25  # of the values of one head, about
_LOOK_EVERY = 4096  # instructions: how often is looked whether the names that are asked for are there
_ALLOWED_FOR = 1 << 20  # bytes: a head may cost what a file of this size may


class _Known(ObjectHead):
    """A function or class of the closed list, on the stack."""

    __slots__ = ()

    @property
    def make(self) -> Callable[..., Any]:
        return TABLE[self.type_name]


class Outline(Machine):
    """One run through one pickle that makes stand-ins of what is not on the closed list."""

    def __init__(self, buffers: Iterator[Left]) -> None:
        super().__init__({}, buffers, Allowance(_ALLOWED_FOR))
        self._bytes_left = _MOST_BYTES

    def run_until(self, steps: Iterable[tuple[str, Any]], wanted: frozenset[str] | None) -> bool:
        """Run *steps* until there are no more, or too many, or all of *wanted* are there; return whether it was all."""
        for count, (name, arg) in enumerate(steps, 1):
            if name == "STOP":
                return True
            kind = type(arg)
            if kind is str or kind is bytes or kind is bytearray:
                self._bytes_left -= len(arg)
            elif kind is int:
                self._bytes_left -= arg.bit_length() >> 3
            try:
                self.step(name, arg)
            except AllowanceError:
                return False
            if self._bytes_left < 0 or count >= MOST_INSTRUCTIONS:
                return False
            may_end = wanted is not None and (kind is Left or not count % _LOOK_EVERY)
            if may_end and wanted <= self._begun().keys():  # type: ignore[operator]
                return False
        raise EOFError("it ends too early")

    def step(self, name: str, arg: Any) -> None:
        """Run the instruction *name*."""
        if type(arg) is Left:
            self._stack.append(_head_of_left(arg))
        elif name in _OWN_METHODS:
            try:
                _OWN_METHODS[name](self, arg)
            except (IndexError, StopIteration) as error:
                raise ValueError(f"its instruction {name} finds no value to work on") from error
        else:
            super().step(name, arg)

    def next_buffer(self, _: Any) -> None:
        """Tell of an array's memory, which was stepped over."""
        self._stack.append(_head_of_left(next(self._buffers)))

    def foreign(self, arg: Any) -> None:
        """Tell of an object that the writer's program keeps elsewhere."""
        self._stack.append(ObjectHead("a persistent id", (self._stack.pop() if arg is None else arg,)))

    def registered(self, arg: Any) -> None:
        """Tell of a class that only the writer's registry knows."""
        self._stack.append(ObjectHead(f"a class of the extension registry, number {arg}"))

    def root(self, *, complete: bool) -> tuple[Any, dict[str, Any]]:
        """Return the value of the whole pickle, and those of its fields that are there where it is not complete."""
        levels = [*self._marks, self._stack]
        if complete:
            if len(levels) != 1 or len(levels[0]) != 1:
                raise ValueError(f"it ends with {len(self._stack)} values in place of one")
            return levels[0][0], {}
        return (levels[0][0] if levels[0] else None), self._begun()

    def _begun(self) -> dict[str, Any]:
        """Return the fields of the root that are complete already.

        A pickle gives a dict its items all at once, by the thousand: they wait on the stack, each name before its value.
        The last one is in the making. That a value of several parts is taken for a value and a name after it would
        need a tuple of up to three parts with a large array in it, after texts that are names.
        """
        levels = [*self._marks, self._stack]
        bottom = levels[0]
        if not bottom:
            return {}
        found = bottom[-1] if type(bottom[-1]) is dict else {}
        found = {name: value for name, value in found.items() if type(name) is str}
        if len(levels) > 1:
            waiting = levels[1][:-2]
            last = ""
            for name, value in zip(waiting[::2], waiting[1::2], strict=False):
                if type(name) is not str or not name.isidentifier():
                    found.pop(last, None)  # what was taken for its value is only the start of that
                    break
                found[name] = value
                last = name
        return found

    def _looked_up(self, module: str, name: str) -> ObjectHead:
        full = f"{plain_data.RENAMED_MODULES.get(module, module)}.{name}"
        return _Known(full) if full in TABLE else ObjectHead(full)

    def _refuse_unbuilt(self, items: list[Any] | tuple[Any, ...]) -> None:
        pass  # what contains itself is shown as far as it goes

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, ObjectHead):
            super()._append(items)
        elif type(target.content) is list:
            target.content.extend(items)
        else:
            target.content = items

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, ObjectHead):
            if type(target.content) is not dict:
                target.content = {}
            self._stack[-1] = target.content
            super()._set_items(items)
            self._stack[-1] = target
        else:
            super()._set_items(items)

    def _push_tuple(self, items: tuple[Any, ...]) -> None:
        self._push_new(items)

    def add_items(self, _: Any) -> None:
        """Add to a set, or to what is one by its class."""
        if isinstance(self._stack[-1], ObjectHead):
            self._append(self._pop_mark())
        else:
            super().add_items(_)

    def _called(self, callee: Any, arguments: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if type(arguments) is not tuple:
            raise ValueError("it calls with arguments that are none")
        if not isinstance(callee, ObjectHead):
            raise ValueError(f"it calls a {type(callee).__name__}")  # noqa: TRY004 - of the file, not of an argument
        first = arguments[0] if arguments else None
        if callee.type_name in plain_data.FIRST_IS_CLASS and isinstance(first, ObjectHead):
            if not isinstance(first, _Known):
                return self._made_by(callee.type_name, first, arguments[1:])
            arguments = tuple(it.type_name if isinstance(it, _Known) else it for it in arguments)
        if isinstance(callee, _Known):
            try:
                made = callee.make(*arguments)
            except MemoryError:
                raise
            except Exception:  # what the closed list does not make of these arguments is told of only
                return ObjectHead(callee.type_name, arguments)
            self._bytes_left -= _size_of(made)
            return made
        return ObjectHead(callee.type_name, arguments)

    def _made_by(self, name: str, kind: Any, arguments: tuple[Any, ...]) -> Any:
        if name == "builtins.getattr" and len(arguments) == 1 and type(arguments[0]) is str:
            return ObjectHead(f"{kind.type_name}.{arguments[0]}")
        if name in {"copyreg._reconstructor", "copyreg.__newobj__"}:
            return ObjectHead(kind.type_name, () if name == "copyreg._reconstructor" else arguments)
        if name == "numpy._core.multiarray._reconstruct":
            return ArrayBegun()
        return ObjectHead(name, (kind, *arguments))

    def _made(self, callee: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return self._called(callee, (*arguments, named) if named else arguments)

    def _built(self, value: Any, state: Any) -> Any:
        if isinstance(value, Unbuilt):
            if isinstance(state, tuple):
                self._bytes_left -= sum(64 * len(it) for it in state if isinstance(it, (tuple, list, dict)))
            try:
                return value.built(state)
            except MemoryError:
                raise
            except Exception:  # the same
                value = ObjectHead(f"numpy.{type(value).__name__.strip('_').lower()}", ())
        if isinstance(value, ObjectHead):
            value.state = state
        return value


_OWN_METHODS: dict[str, Callable[[Outline, Any], None]] = {
    "NEXT_BUFFER": Outline.next_buffer,
    "READONLY_BUFFER": Outline.nothing,
    "PERSID": Outline.foreign,
    "BINPERSID": Outline.foreign,
    "EXT1": Outline.registered,
    "EXT2": Outline.registered,
    "EXT4": Outline.registered,
}


def _size_of(made: object) -> int:
    """Return about how much memory *made* takes, which one of the closed list's functions made."""
    if isinstance(made, ArrayHead):
        return len(made.data or b"")
    return 0 if isinstance(made, Unbuilt) else sys.getsizeof(made)


def _head_of_left(left: Left) -> ObjectHead:
    return ObjectHead(f"builtins.{left.kind}", (), left.size_bytes)
