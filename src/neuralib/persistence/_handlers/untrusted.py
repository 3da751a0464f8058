"""Reading pickles of unknown origin: a closed list of types, and no code of the file's choosing.

A pickle is a program. This runs its instructions on a stack of its own: what calls something is looked up in a table of
functions that check their arguments and can only make data. Nothing is imported by name, no attribute is looked up, and
memory is taken for bytes that are there, never for a number that says how many there would be. There is no way back to
:mod:`pickle` for what is not known here.

The instructions are decoded by :mod:`pickletools`, and are described there. What each means for the stack is that of the
standard library's reader.
"""

from __future__ import annotations

import enum
import io
import mmap
import typing
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._errors import UntrustedTypeError, shown
from neuralib.persistence._handlers import plain_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_DEEPEST_KEY = 500  # hashing deeper tuples could overflow the stack of C


class Reader:
    """Reads pickles that hold plain data, numpy arrays, and instances of *admitted* classes.

    :param admitted: classes that may be made anew, by calling them and by setting their attributes
    """

    def __init__(self, admitted: Iterable[type]) -> None:
        self.admitted = {f"{it.__module__}.{it.__qualname__}": it for it in admitted}

    def __call__(self, data: Any, buffers: Iterable[Any]) -> Any:
        """Return what the pickle *data* holds: bytes, or a file that is open.

        :raises UntrustedTypeError: it needs something beyond the closed list
        :raises ValueError: it is damaged
        """
        size = len(memoryview(data)) if not isinstance(data, io.BufferedReader) else 0
        if isinstance(data, io.BufferedReader):
            # Mapped: the file is no memory of this process then, and no more is read than is there.
            data = mmap.mmap(data.fileno(), 0, access=mmap.ACCESS_READ)
            size = len(data)
        elif not isinstance(data, (bytes, bytearray)):
            data = io.BytesIO(data)
        return Run(self.admitted, iter(buffers), size).run(data)


def classes_of(annotation: Any) -> Iterator[type]:
    """Yield the classes that *annotation* names, also within ``list[...]``, ``X | None`` and the like."""
    for part in typing.get_args(annotation):
        yield from classes_of(part)
    kind = typing.get_origin(annotation) or annotation
    if isinstance(kind, type) and kind.__module__ not in {"builtins", "typing", "types", "collections.abc"}:
        yield kind


class Call(NamedTuple):
    """A function of the table, on the stack."""

    name: str
    make: Callable[..., Any]


class Run:
    """One run through one pickle, instruction by instruction."""

    table = plain_data.TABLE
    """By full name, what may be called."""

    # What the instructions do is in methods of their own, named for it; the table at the end says which is whose.

    def __init__(self, admitted: dict[str, type], buffers: Iterator[Any], size: int) -> None:
        self._admitted = admitted
        self._buffers = buffers
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._places: dict[int, list[int]] = {}  # by the identity of what is not built yet: where the memo has it
        self._steps_left = 10 * size + 10_000  # for looking through keys
        self._loose_calls = 0  # functions and classes that were named, less those that were used

    def run(self, data: Any) -> Any:
        """Run the pickle *data*, and return what it holds."""
        import pickletools

        for opcode, arg, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                break
            self.step(opcode.name, arg)
        return self.result()

    def step(self, name: str, arg: Any) -> None:
        """Run the instruction *name*."""
        if name in _LITERALS:
            self._stack.append(arg)
            return
        method: Callable[[Run, Any], None] | None = METHODS.get(name)
        if method is None:
            raise UntrustedTypeError("", _UNKNOWN.get(name, f"the instruction {name}"))
        try:
            method(self, arg)
        except (IndexError, StopIteration) as error:
            raise ValueError(f"its instruction {name} finds no value to work on") from error

    def result(self) -> Any:
        """Return the one value that is there after the last instruction."""
        if len(self._stack) != 1 or self._marks:
            raise ValueError(f"it ends with {len(self._stack)} values in place of one")
        if self._loose_calls or isinstance(self._stack[0], plain_data.Unbuilt):
            raise UntrustedTypeError("", "a function or class as a value")
        return self._stack[0]

    # ---------------------------------------------------------------------------------------- stack and memo

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def mark(self, _: Any) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def pop(self, _: Any) -> None:
        if self._stack:
            self._used(self._stack.pop())
        else:
            self._pop_mark()

    def pop_mark(self, _: Any) -> None:
        for it in self._pop_mark():
            self._used(it)

    def dup(self, _: Any) -> None:
        self._push(self._stack[-1])

    def memoize(self, _: Any) -> None:
        self.put(len(self._memo))

    def put(self, place: int) -> None:
        value = self._memo[place] = self._stack[-1]
        if isinstance(value, plain_data.Unbuilt):
            self._places.setdefault(id(value), []).append(place)

    def get(self, place: int) -> None:
        try:
            self._push(self._memo[place])
        except KeyError:
            raise ValueError(f"it refers to value {place}, which it does not have") from None

    def _push(self, value: Any) -> None:
        if isinstance(value, (Call, type)):
            self._loose_calls += 1
        self._stack.append(value)

    def _used(self, value: Any) -> None:
        if isinstance(value, (Call, type)):
            self._loose_calls -= 1

    # ---------------------------------------------------------------------------------------- values

    def nothing(self, _: Any) -> None:
        pass

    def constant(self, make: Callable[[], Any]) -> None:
        self._stack.append(make())

    def next_buffer(self, _: Any) -> None:
        self._stack.append(next(self._buffers))

    def readonly_buffer(self, _: Any) -> None:
        self._stack[-1] = memoryview(self._stack[-1]).toreadonly()

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(items)

    def tuple_from_mark(self, _: Any) -> None:
        items = tuple(self._pop_mark())
        self._stack.append(items)

    def list_from_mark(self, _: Any) -> None:
        items = self._pop_mark()
        self._stack.append(items)

    def dict_from_mark(self, _: Any) -> None:
        items = self._pop_mark()
        self._stack.append({})
        self._set_items(items)

    def frozenset_from_mark(self, _: Any) -> None:
        items = self._pop_mark()
        self._check_keys(items)
        self._stack.append(frozenset(items))

    def append(self, _: Any) -> None:
        item = self._stack.pop()
        self._append([item])

    def appends(self, _: Any) -> None:
        self._append(self._pop_mark())

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in plain_data.LISTS:
            raise ValueError(f"it adds to a {type(target).__name__} as to a list")
        self._refuse_unbuilt(items)
        target.extend(items)

    def set_item(self, _: Any) -> None:
        value = self._stack.pop()
        key = self._stack.pop()
        self._set_items([key, value])

    def set_items(self, _: Any) -> None:
        self._set_items(self._pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in plain_data.DICTS or len(items) % 2:
            raise ValueError(f"it adds to a {type(target).__name__} as to a dict")
        self._refuse_unbuilt(items)
        keys = items[::2]
        self._check_keys(keys)
        target.update(zip(keys, items[1::2], strict=True))

    def add_items(self, _: Any) -> None:
        items = self._pop_mark()
        if type(self._stack[-1]) is not set:
            raise ValueError(f"it adds to a {type(self._stack[-1]).__name__} as to a set")
        self._check_keys(items)
        self._stack[-1].update(items)

    def _refuse_unbuilt(self, items: list[Any]) -> None:
        for it in items:
            if isinstance(it, plain_data.Unbuilt):
                raise UntrustedTypeError("", "an array or object that contains itself")

    def _check_keys(self, keys: list[Any]) -> None:
        """Refuse keys that can't be hashed, or would take ages or a deep stack to hash."""
        for key in keys:
            if type(key) in {str, int}:
                continue
            todo = [(key, 0)]
            while todo:
                value, depth = todo.pop()
                self._steps_left -= 1
                if depth > _DEEPEST_KEY or self._steps_left < 0:
                    raise ValueError("its keys are nested too deeply")
                if isinstance(value, (list, dict, set, bytearray)):
                    raise TypeError(f"it has a {type(value).__name__} as a key")
                if isinstance(value, (tuple, frozenset)):
                    todo.extend((it, depth + 1) for it in value)

    # ---------------------------------------------------------------------------------------- what makes objects

    def named(self, arg: str) -> None:
        module, _, name = arg.partition(" ")
        self._push(self._looked_up(module, name))

    def named_by_stack(self, _: Any) -> None:
        name = self._stack.pop()
        module = self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("it names a type by something that is no text")
        self._push(self._looked_up(module, name))

    def _looked_up(self, module: str, name: str) -> Any:
        full = f"{plain_data.RENAMED_MODULES.get(module, module)}.{name}"
        make = self.table.get(full)
        if make is not None:
            return Call(full, make)
        found = self._admitted.get(full)
        if found is None:
            raise UntrustedTypeError("", f"{module}.{name}")
        return found

    def reduce(self, _: Any) -> None:
        arguments = self._stack.pop()
        callee = self._stack.pop()
        self._stack.append(self._called(callee, arguments))

    def new_object(self, _: Any) -> None:
        self.reduce_new(self._stack.pop(), {})

    def new_object_with_names(self, _: Any) -> None:
        named = self._stack.pop()
        self.reduce_new(self._stack.pop(), named)

    def reduce_new(self, arguments: Any, named: Any) -> None:
        callee = self._stack.pop()
        if type(arguments) is not tuple or type(named) is not dict or not all(type(it) is str for it in named):
            raise ValueError("it makes an object of arguments that are none")
        self._stack.append(self._made(callee, arguments, named))

    def instance(self, arg: str) -> None:
        arguments = tuple(self._pop_mark())
        self.named(arg)
        self._stack.append(self._called(self._stack.pop(), arguments))

    def instance_by_stack(self, _: Any) -> None:
        callee, *arguments = self._pop_mark()
        self._stack.append(self._called(callee, tuple(arguments)))

    def _called(self, callee: Any, arguments: Any) -> Any:
        if type(arguments) is not tuple:
            raise ValueError("it calls with arguments that are none")
        self._refuse_unbuilt([it for it in arguments if not isinstance(it, plain_data.Settled)])
        self._used(callee)
        if isinstance(callee, Call):
            if callee.name in plain_data.FIRST_IS_CLASS:
                for it in arguments:
                    self._used(it)
                arguments = tuple(it.name if isinstance(it, Call) else it for it in arguments)
                if arguments and isinstance(arguments[0], type):
                    return self._made_by(callee.name, arguments[0], arguments[1:])
            try:
                return callee.make(*arguments)
            except UntrustedTypeError:
                raise
            except TypeError as error:
                raise ValueError(f"it calls {callee.name} with arguments that don't fit: {error}") from error
        if self._is_admitted(callee):
            if issubclass(callee, enum.Enum):
                self._check_keys(list(arguments))  # it looks its members up by value
            return callee(*arguments)
        raise UntrustedTypeError("", f"a call of {shown(callee)}")

    def _is_admitted(self, kind: Any) -> bool:
        return isinstance(kind, type) and any(kind is it for it in self._admitted.values())

    def _made_by(self, name: str, kind: type, arguments: tuple[Any, ...]) -> Any:
        """Return what the function *name* of the standard library makes of the admitted class *kind*."""
        if self._is_admitted(kind):
            if name == "copyreg._reconstructor" and len(arguments) == 2:
                base, state = arguments
                if state is None:
                    return object.__new__(kind)
                if base == "builtins.tuple" and issubclass(kind, tuple) and type(state) is tuple:
                    return tuple.__new__(kind, state)
            if name == "copyreg.__newobj__":
                return kind.__new__(kind, *arguments)
            if name == "builtins.getattr" and issubclass(kind, enum.Enum) and all(type(it) is str for it in arguments):
                return kind.__members__[arguments[0]]
        raise UntrustedTypeError("", f"a call of {name} on {kind.__qualname__}")

    def _made(self, callee: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._used(callee)
        self._refuse_unbuilt([*arguments, *named.values()])
        if self._is_admitted(callee):
            return callee.__new__(callee, *arguments, **named)
        if isinstance(callee, Call) and not named:
            return callee.make(*arguments)
        raise UntrustedTypeError("", f"a new object of {shown(callee)}")

    def build(self, _: Any) -> None:
        state = self._stack.pop()
        value = self._stack.pop()
        built = self._built(value, state)
        self._stack.append(built)
        for place in self._places.pop(id(value), ()):
            self._memo[place] = built

    def _built(self, value: Any, state: Any) -> Any:
        if isinstance(value, plain_data.Unbuilt):
            return value.built(state)
        if not self._is_admitted(type(value)):
            raise UntrustedTypeError("", f"the state of a {type(value).__qualname__}")
        set_state = getattr(value, "__setstate__", None)
        if set_state is not None:
            set_state(state)
            return value
        attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
        for it in (attributes or {}, slots or {}):
            if type(it) is not dict or not all(type(name) is str for name in it):
                raise ValueError(f"the state of a {type(value).__qualname__} in it is none")
        if attributes:
            vars(value).update(attributes)
        for name, it in (slots or {}).items():
            setattr(value, name, it)
        return value


_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
METHODS: dict[str, Any] = {
    "PROTO": Run.nothing,
    "FRAME": Run.nothing,
    "NONE": lambda run, _: run.constant(lambda: None),
    "NEWTRUE": lambda run, _: run.constant(lambda: True),
    "NEWFALSE": lambda run, _: run.constant(lambda: False),
    "EMPTY_LIST": lambda run, _: run.constant(list),
    "EMPTY_TUPLE": lambda run, _: run.constant(tuple),
    "EMPTY_DICT": lambda run, _: run.constant(dict),
    "EMPTY_SET": lambda run, _: run.constant(set),
    "TUPLE1": lambda run, _: run.tuple_of(1),
    "TUPLE2": lambda run, _: run.tuple_of(2),
    "TUPLE3": lambda run, _: run.tuple_of(3),
    "TUPLE": Run.tuple_from_mark,
    "LIST": Run.list_from_mark,
    "DICT": Run.dict_from_mark,
    "FROZENSET": Run.frozenset_from_mark,
    "APPEND": Run.append,
    "APPENDS": Run.appends,
    "SETITEM": Run.set_item,
    "SETITEMS": Run.set_items,
    "ADDITEMS": Run.add_items,
    "MARK": Run.mark,
    "POP": Run.pop,
    "POP_MARK": Run.pop_mark,
    "DUP": Run.dup,
    "MEMOIZE": Run.memoize,
    "PUT": Run.put,
    "BINPUT": Run.put,
    "LONG_BINPUT": Run.put,
    "GET": Run.get,
    "BINGET": Run.get,
    "LONG_BINGET": Run.get,
    "NEXT_BUFFER": Run.next_buffer,
    "READONLY_BUFFER": Run.readonly_buffer,
    "GLOBAL": Run.named,
    "STACK_GLOBAL": Run.named_by_stack,
    "REDUCE": Run.reduce,
    "NEWOBJ": Run.new_object,
    "NEWOBJ_EX": Run.new_object_with_names,
    "INST": Run.instance,
    "OBJ": Run.instance_by_stack,
    "BUILD": Run.build,
}
_UNKNOWN = {
    "PERSID": "a persistent id",
    "BINPERSID": "a persistent id",
    "EXT1": "the extension registry",
    "EXT2": "the extension registry",
    "EXT4": "the extension registry",
}
