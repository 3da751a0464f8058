"""The machine: runs the instructions of a pickle on a stack of its own. See :mod:`untrusted` for what this is for.

It runs in two ways that differ in their table alone. A reader admits some classes, and refuses what is neither of these
nor in the table. A head has a table whose makers of arrays only describe them, and describes everything else.
"""

from __future__ import annotations

import collections
import enum
import functools
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import PersistenceError, UntrustedTypeError
from neuralib.persistence._trust import allowance, plain_data
from neuralib.persistence._trust.allowance import AllowanceError
from neuralib.persistence._trust.instructions import STOP
from neuralib.persistence._trust.plain_values import Buffer, Complete, Function, Pending, class_of, label_of
from neuralib.persistence._trust.stand_ins import ObjectHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from neuralib.persistence._trust.plain_data import Maker

    Method = Callable[["Machine", Any], object]

_MARK = 88  # bytes for a list on the stack of lists
_MOST_FLAGS = 64
_DEEPEST = 10_000  # levels of values within each other
_DEEPEST_FRAGILE = 50  # the same, of those that Python takes apart on the stack of C, level by level
_FRAGILE = {"deque", "defaultdict", "ndarray"}
_SIMPLE = frozenset({str, int, float, bool, type(None), bytes, bytearray, complex})
_CONTAINERS = {list, tuple, set, frozenset, collections.deque, *plain_data.DICTS}


class _Class(Pending):
    """An admitted class, on the stack."""

    __slots__ = ("kind",)

    def __init__(self, kind: type) -> None:
        self.kind = kind


class _Arguments(Pending):
    """A tuple that holds what is no value: it can be the arguments of a call, and nothing else."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[Any, ...]) -> None:
        self.items = items


class Machine:
    """One run through one pickle.

    :param table: by full name, what makes the values that are no instructions
    :param admitted: by full name, the classes that may be made beside these; None to describe everything else
    :param buffers: the large arrays, which stand elsewhere
    :param account: what the pickle may cost
    """

    # What the instructions do is in methods of their own, named for it; the table at the end says which is whose.

    def __init__(
        self,
        table: Mapping[str, Maker],
        admitted: Mapping[str, type] | None,
        buffers: Iterable[Any],
        account: allowance.Allowance,
    ) -> None:
        self._table = table
        self._admitted = admitted
        self._buffers = iter(buffers)
        self._account = account
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: list[Any] = []
        self._far_memo: dict[int, Any] = {}  # what is put at places that the list does not reach
        self._places: dict[int, list[int]] = {}  # by the identity of what is not built yet: where the memo has it
        self._depths: dict[int, int] = {}  # by identity: how many levels are in it, where these are more than one
        self._fragile: dict[int, int] = {}  # the same, of levels of fragile values
        self._within: set[int] = set()  # the identities of fragile values that are in others

    def run(self, steps: Iterable[tuple[int, Any]]) -> bool:
        """Run the instructions *steps*; return whether that was all of them.

        :raises UntrustedTypeError: the pickle needs something beyond the table
        :raises AllowanceError: it costs too much
        :raises ValueError: it is damaged
        :raises EOFError: it ends too early
        """
        account = self._account
        step, code = account.step, 0
        try:
            for code, arg in steps:
                account.left -= step
                if account.left < 0:
                    account.spend(0)
                method = _METHODS[code]
                if method is not None:
                    method(self, arg)
                else:
                    account.left -= sys.getsizeof(arg)
                    self._stack.append(arg)
        except (PersistenceError, ValueError, EOFError, OSError, MemoryError):
            raise
        except (IndexError, StopIteration) as error:
            raise ValueError(f"its instruction {code:#x} finds no value to work on") from error
        except Exception as error:  # of a function of the table, or a class, that got what it does not take
            problem = label_of(error.args[0]) if error.args else ""
            raise ValueError(f"its instruction {code:#x} fails: {type(error).__name__} {problem}") from error
        return code == STOP

    def result(self) -> Any:
        """Return the one value that is there after the last instruction."""
        if len(self._stack) != 1 or self._marks:
            raise ValueError(f"it ends with {len(self._stack)} values in place of one")
        return self.value(self._stack[0])

    def bottom(self) -> list[list[Any]]:
        """Return what is on the stack below the first mark, and between that and the next."""
        return [*self._marks[:2], self._stack][:2]

    # ---------------------------------------------------------------------------------------- stack and memo

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        self._account.left += _MARK
        return items

    def mark(self, _: Any) -> None:
        self._account.spend(_MARK)
        self._marks.append(self._stack)
        self._stack = []

    def pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def memoize(self, _: Any) -> None:
        value = self._stack[-1]
        if self._far_memo or isinstance(value, Pending):
            self.put(len(self._memo) + len(self._far_memo))
        else:
            self._memo.append(value)

    def put(self, place: int) -> None:
        value = self._stack[-1]
        if place < 0:
            raise ValueError(f"it puts a value at the place {place}")
        if place < len(self._memo):
            self._memo[place] = value
        elif place == len(self._memo):
            self._memo.append(value)
            self._far_memo.pop(place, None)
        else:
            self._account.spend(allowance.ENTRY)
            self._far_memo[place] = value
        if isinstance(value, Pending):
            self._places.setdefault(id(value), []).append(place)

    def get(self, place: int) -> None:
        try:
            self._stack.append(self._memo[place] if 0 <= place < len(self._memo) else self._far_memo[place])
        except KeyError:
            raise ValueError(f"it refers to value {place}, which it does not have") from None

    def _push_new(self, value: Any) -> None:
        """Push what is an object of its own."""
        self._account.spend(sys.getsizeof(value))
        self._forget(value)
        self._stack.append(value)

    def _forget(self, value: Any) -> None:
        """Forget what was noted of an object that was where *value* is now."""
        if self._depths:
            self._depths.pop(id(value), None)
            self._fragile.pop(id(value), None)
            self._within.discard(id(value))

    # ---------------------------------------------------------------------------------------- values

    def protocol(self, version: int) -> None:
        if version > _LATEST_PROTOCOL:
            raise ValueError(f"it is of protocol {version}, which is not known")

    def next_buffer(self, _: Any) -> None:
        found = next(self._buffers, None)
        if found is None:
            raise ValueError("it refers to an array that is not there")
        # A view: what can be told from the arrays that the pickle makes, whose memory can't be that of others.
        self._push_new(found if type(found) is ObjectHead else Buffer(memoryview(found)))

    def readonly_buffer(self, _: Any) -> None:
        value = self._stack[-1]
        if isinstance(value, Buffer):
            self._stack[-1] = Buffer(value.memory.toreadonly())
        elif not isinstance(value, ObjectHead) and type(value) not in {bytes, bytearray}:
            raise ValueError(f"it takes a {type(value).__name__} for a buffer")
        elif type(value) is bytearray:
            self._stack[-1] = Buffer(memoryview(value).toreadonly())

    def _push_tuple(self, parts: Iterable[Any]) -> None:
        items = tuple(parts)
        if _SIMPLE.issuperset(map(type, items)):
            self._push_new(items)
        elif any([isinstance(item, Pending) for item in items]):  # noqa: C419 - quicker for few
            inner = [self.value(item) if isinstance(item, _Arguments) else item for item in items]
            self._push_new(_Arguments(tuple(inner)))
            self._account.spend(sys.getsizeof(items))
        else:
            self._push_new(items)
            self._nest(items, items)

    def _push_frozenset(self, items: list[Any]) -> None:
        made = frozenset(self._account.set_of(self._values(items)))
        self._push_new(made)
        self._nest(made, items)

    def _container(self, kind: type) -> Any:
        """Return what items are added to as to a *kind*: the last value, or the description of its content."""
        target = self._stack[-1]
        if not isinstance(target, ObjectHead):
            return target
        if type(target.content) is not kind:
            target.content = kind()
        return target.content

    def _append(self, items: list[Any]) -> None:
        target = self._container(list)
        if type(target) not in plain_data.LISTS:
            raise ValueError(f"it adds to a {type(target).__name__} as to a list")
        items = self._values(items, self._stack[-1])
        before = sys.getsizeof(target)
        target.extend(items)
        self._account.spend(sys.getsizeof(target) - before)

    def _set_items(self, items: list[Any]) -> None:
        target = self._container(dict)
        if type(target) not in plain_data.DICTS or len(items) % 2:
            raise ValueError(f"it adds to a {type(target).__name__} as to a dict")
        items = self._values(items, self._stack[-1])
        keys = items[::2]
        pairs = list(zip(keys, items[1::2], strict=True))
        counts = type(target) is collections.Counter  # which would add them up
        self._account.fill(target, functools.partial(dict.update, target) if counts else target.update, pairs, keys)

    def _add(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, ObjectHead):
            self._append(items)
        elif type(target) is not set:
            raise ValueError(f"it adds to a {type(target).__name__} as to a set")
        else:
            items = self._values(items, target)
            self._account.fill(target, target.update, items, items)

    def _values(self, items: Any, container: object = None) -> Any:
        """Return *items* as values that *container* may hold."""
        if _SIMPLE.issuperset(map(type, items)):
            return items
        if any([isinstance(item, Pending) for item in items]):  # noqa: C419 - quicker for few
            items = [self.value(item) for item in items]
        if container is not None:
            self._nest(container, items)
        return items

    def value(self, item: Any) -> Any:
        """Return *item* as a value.

        :raises UntrustedTypeError: it is none, and this is no head
        """
        if not isinstance(item, Pending):
            return item
        if self._admitted is None:  # shown as far as it goes
            return tuple(map(self.value, item.items)) if isinstance(item, _Arguments) else ObjectHead(item.type_name)
        is_call = isinstance(item, (Function, _Class, _Arguments))
        raise UntrustedTypeError(
            "", "a function or class as a value" if is_call else "an array or object that contains itself"
        )

    def _nest(self, container: object, items: Sequence[Any]) -> None:
        """Note how many levels are in *container* when it has *items* in it, and refuse too many."""
        found, key = self._depths, id(container)
        depth = 1 + max([found[inner] for inner in map(id, items) if inner in found], default=1)
        if depth > _DEEPEST:
            raise ValueError(f"it has more than {_DEEPEST} values within each other")
        if depth > found.get(key, 0):
            self._account.spend(allowance.ENTRY)
            found[key] = depth
        if _is_fragile(container) and (fragile := [id(item) for item in items if _is_fragile(item)]):
            depth = 1 + max(self._fragile.get(inner, 1) for inner in fragile)
            # One that is in another already would make that deeper too: no pickler writes it in this order.
            if depth > _DEEPEST_FRAGILE or key in self._within:
                kind = type(container).__name__
                raise ValueError(f"it has more than {_DEEPEST_FRAGILE} values like a {kind} within each other")
            self._account.spend(allowance.ENTRY * (1 + len(fragile)))
            self._fragile[key] = max(depth, self._fragile.get(key, 1))
            self._within.update(fragile)

    # ---------------------------------------------------------------------------------------- what makes objects

    def named(self, names: tuple[Any, Any]) -> None:
        module, name = names
        if type(name) is not str or type(module) is not str:
            raise ValueError("it names a type by something that is no text")
        full = f"{plain_data.RENAMED_MODULES.get(module, module)}.{name}"
        if full in self._table:
            self._push_new(Function(full, self._table[full]))
        elif self._admitted is None:
            self._push_new(ObjectHead(label_of(full)))
        elif full in self._admitted:
            self._push_new(_Class(self._admitted[full]))
        else:
            raise UntrustedTypeError("", label_of(f"{module}.{name}"))

    def named_by_stack(self, _: Any) -> None:
        name = self._stack.pop()
        self.named((self._stack.pop(), name))

    def foreign(self, arg: Any) -> None:
        self._push_unknown("a persistent id", self._stack.pop() if arg is None else arg)

    def registered(self, number: int) -> None:
        self._push_unknown("the extension registry", number)

    def _push_unknown(self, place: str, key: Any) -> None:
        """Push a description of what only the program of the writer knows by *key*."""
        if self._admitted is not None:
            raise UntrustedTypeError("", place)
        self._push_new(ObjectHead(place, (self.value(key),)))

    def reduce(self, _: Any) -> None:
        arguments = self._stack.pop()
        self._call(self._stack.pop(), arguments)

    def new_object_with_names(self, _: Any) -> None:
        named = self._stack.pop()
        arguments = self._stack.pop()
        if type(named) is not dict:
            raise ValueError("it makes an object of named arguments that are no dict")
        if named and self._admitted is not None:
            raise UntrustedTypeError("", "a new object of arguments with names")
        self._call(self._stack.pop(), (*_items_of(arguments), named) if named else arguments)

    def instance(self, names: tuple[Any, Any]) -> None:
        arguments = self._pop_mark()
        self.named(names)
        self._instance_by_stack([self._stack.pop(), *arguments])

    def _instance_by_stack(self, items: list[Any]) -> None:
        callee, *arguments = items
        self._push_tuple(arguments)
        self._call(callee, self._stack.pop())

    def _call(self, callee: Any, given: Any) -> None:
        arguments = _items_of(given)
        views = isinstance(callee, Function) and callee.type_name in plain_data.VIEWS
        if not views:
            self._account.spend_on_call(arguments)
        made = self._made(callee, arguments)
        self._account.spend(allowance.CALL)
        self._push_new(made)
        self._nest_made(made)

    def _nest_made(self, made: Any) -> None:
        if type(made) in _CONTAINERS:
            self._values(made.values() if isinstance(made, dict) else made, made)
        elif getattr(getattr(made, "dtype", None), "kind", "") == "O" and type(made).__name__ == "ndarray":
            self._nest(made, made.ravel().tolist())

    def _made(self, callee: Any, arguments: tuple[Any, ...]) -> Any:
        """Return what a call of *callee* with *arguments* makes."""
        if isinstance(callee, Function):
            first, name = arguments[0] if arguments else None, callee.type_name
            if name in _TAKE_CLASSES and isinstance(first, _Class):
                return self._made_by(name, first.kind, arguments[1:])
            if name in _TAKE_CLASSES and isinstance(first, ObjectHead) and first.arguments is None:
                return self._described_by(name, first, arguments[1:])
            arguments = self._settled(arguments)
            return self._or_described(name, arguments, lambda: callee.make(self._account, *arguments))
        arguments = tuple(map(self.value, arguments))
        if isinstance(callee, _Class):
            return self._instance(callee.kind, arguments)
        if isinstance(callee, ObjectHead):
            return ObjectHead(callee.type_name, arguments)
        if self._admitted is None:
            raise ValueError(f"it calls a {type(callee).__name__}")
        raise UntrustedTypeError("", f"a call of {label_of(callee)}")

    def _settled(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(item if isinstance(item, Complete) else self.value(item) for item in items)

    def _or_described(self, name: str, arguments: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """Return what *make* makes; for a head, a description where the table makes nothing of these arguments."""
        if self._admitted is not None:
            return make()
        try:
            return make()
        except (MemoryError, AllowanceError):
            raise
        except Exception:
            return ObjectHead(name, tuple(map(self.value, arguments)))

    def _described_by(self, name: str, kind: ObjectHead, arguments: tuple[Any, ...]) -> Any:
        """Return a description of what the function *name* of the table makes of the class *kind*."""
        arguments = tuple(map(self.value, arguments))
        if name == "builtins.getattr" and len(arguments) == 1 and type(arguments[0]) is str:
            return ObjectHead(label_of(f"{kind.type_name}.{arguments[0]}"))
        if name == "copyreg._reconstructor":
            return ObjectHead(kind.type_name, ())
        if name in _ARRAY_CLASSES:
            return self._table[name](self._account)
        return ObjectHead(name, (kind, *arguments))

    def _made_by(self, name: str, kind: type, arguments: tuple[Any, ...]) -> Any:
        """Return what the function *name* of the table makes of the admitted class *kind*."""
        if name == "copyreg._reconstructor" and len(arguments) == 2:
            base, state = arguments
            of_tuple = class_of(base, {"builtins.tuple"}) and type(state) is tuple
            if of_tuple or state is None:
                return self._instance(kind, state if of_tuple and state is not None else ())
        if name == "builtins.getattr" and issubclass(kind, enum.Enum) and len(arguments) == 1:
            return _known(kind, kind.__members__.get(arguments[0]) if type(arguments[0]) is str else None)
        raise UntrustedTypeError("", f"a call of {name} on {kind.__qualname__}")

    def _instance(self, kind: type, arguments: tuple[Any, ...]) -> Any:
        """Return a new object of the admitted class *kind*: without its state, and without calling what makes one of *arguments*."""
        if issubclass(kind, enum.Enum):
            return self._member(kind, arguments)
        named: Any = kind
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            _check_count(kind, arguments, len(named._fields))
            made: Any = tuple.__new__(named, arguments)
            self._values(arguments, made)
            return made
        if arguments:
            raise UntrustedTypeError("", f"a {kind.__module__}.{kind.__qualname__} that is made of arguments")
        return named.__new__(named)

    def _member(self, kind: Any, arguments: tuple[Any, ...]) -> Any:
        _check_count(kind, arguments, 1)
        value = arguments[0]
        self._account.spend_on_key(value)
        found = kind._value2member_map_.get(value)
        if found is None and issubclass(kind, enum.Flag) and type(value) is int and value.bit_length() <= _MOST_FLAGS:
            found = kind(value)  # several of them
        return _known(kind, found)

    def build(self, _: Any) -> None:
        state = self._stack.pop()
        value = self._stack.pop()
        self._account.spend_on_call(state.items if isinstance(state, _Arguments) else (state,))
        built = self._built(value, state)
        self._account.spend(allowance.CALL)
        if built is value:
            self._stack.append(built)
            return
        self._push_new(built)
        self._nest_made(built)
        for place in self._places.pop(id(value), ()) if isinstance(value, Pending) else ():
            memo: Any = self._memo if place < len(self._memo) else self._far_memo
            if memo[place] is value:
                memo[place] = built

    def _built(self, value: Any, state: Any) -> Any:
        if isinstance(value, Pending):
            if isinstance(state, _Arguments):  # an array's, whose dtype came without a state of its own
                state = self._settled(state.items)
            built = self._or_described(value.type_name, (), lambda: value.built(self._account, state))
            if not isinstance(built, ObjectHead):
                return built
            value = built
        state = self.value(state)
        self._values((state,), value)
        if isinstance(value, ObjectHead):
            value.state = state
        elif type(value) in (self._admitted or {}).values() and not isinstance(value, enum.Enum):
            _set_state(value, state)
        else:
            raise UntrustedTypeError("", f"the state of a {type(value).__qualname__}")
        return value


def _check_count(kind: type, arguments: tuple[Any, ...], count: int) -> None:
    if len(arguments) != count:
        raise ValueError(f"it makes a {kind.__qualname__} of {len(arguments)} values")


def _known(kind: type, member: Any) -> Any:
    if member is None:
        raise ValueError(f"it has a member of {kind.__qualname__} that does not exist")
    return member


def _set_state(value: Any, state: Any) -> None:
    """Give *value*, of an admitted class, its attributes."""
    set_state = getattr(value, "__setstate__", None)
    if set_state is not None:
        set_state(state)
        return
    attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    for part in (attributes or {}, slots or {}):
        if type(part) is not dict or not all(type(name) is str and not name.startswith("__") for name in part):
            raise ValueError(f"the state of a {type(value).__qualname__} in it is not a dict of its attributes")
    if attributes:
        vars(value).update(attributes)
    for name, attribute in (slots or {}).items():
        setattr(value, name, attribute)


def _items_of(arguments: Any) -> tuple[Any, ...]:
    items = arguments.items if isinstance(arguments, _Arguments) else arguments
    if type(items) is not tuple:
        raise ValueError("it calls something with arguments that are no tuple")
    return items


def _is_fragile(value: object) -> bool:
    return type(value).__name__ in _FRAGILE


_LATEST_PROTOCOL = 5
_ARRAY_CLASSES = {"numpy._core.multiarray._reconstruct", "numpy.ma.core._mareconstruct"}
_TAKE_CLASSES = {"builtins.getattr", "copyreg._reconstructor", *_ARRAY_CLASSES}


def _pushes(value: object) -> Method:
    return lambda run, _: run._stack.append(value)


def _pushes_new(kind: type) -> Method:
    return lambda run, _: run._push_new(kind())


def _takes(count: int, act: Callable[[Machine, list[Any]], None]) -> Method:
    """Return what gives *act* the last *count* values."""

    def taken(run: Machine, _: Any) -> None:
        stack = run._stack
        if len(stack) < count:
            raise IndexError
        items = stack[-count:]
        del stack[-count:]
        act(run, items)

    return taken


def _takes_marked(act: Callable[[Machine, list[Any]], None], kind: type | None = None) -> Method:
    """Return what gives *act* all values from the last mark on, after a new *kind* was put in their place."""

    def taken(run: Machine, _: Any) -> None:
        items = run._pop_mark()
        if kind is not None:
            run._push_new(kind())
        act(run, items)

    return taken


_BY_OPCODE: dict[bytes, Method] = {
    b".": lambda *_: None, b"\x80": Machine.protocol,
    b"N": _pushes(None), b"\x88": _pushes(True), b"\x89": _pushes(False), b")": _pushes(()),
    b"]": _pushes_new(list), b"}": _pushes_new(dict), b"\x8f": _pushes_new(set),
    b"\x85": _takes(1, Machine._push_tuple), b"\x86": _takes(2, Machine._push_tuple),
    b"\x87": _takes(3, Machine._push_tuple), b"t": _takes_marked(Machine._push_tuple),
    b"l": _takes_marked(Machine._append, list), b"d": _takes_marked(Machine._set_items, dict), b"\x91": _takes_marked(Machine._push_frozenset),
    b"a": _takes(1, Machine._append), b"e": _takes_marked(Machine._append),
    b"s": _takes(2, Machine._set_items), b"u": _takes_marked(Machine._set_items), b"\x90": _takes_marked(Machine._add),
    b"(": Machine.mark, b"0": Machine.pop, b"1": lambda run, _: run._pop_mark(), b"2": Machine.dup,
    b"\x94": Machine.memoize, b"pqr": Machine.put, b"ghj": Machine.get,
    b"\x97": Machine.next_buffer, b"\x98": Machine.readonly_buffer,
    b"c": Machine.named, b"\x93": Machine.named_by_stack, b"R\x81": Machine.reduce,
    b"\x92": Machine.new_object_with_names, b"i": Machine.instance, b"o": _takes_marked(Machine._instance_by_stack),
    b"b": Machine.build, b"PQ": Machine.foreign, b"\x82\x83\x84": Machine.registered,
}  # fmt: skip
_METHODS: list[Method | None] = [None] * 256
"""By opcode, what it does; None: it pushes its argument."""
for _codes, _method in _BY_OPCODE.items():
    for _code in _codes:
        _METHODS[_code] = _method
