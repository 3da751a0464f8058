"""The instructions of pickles, run on a stack of its own: see :mod:`untrusted` for what this is for."""

from __future__ import annotations

import enum
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError, shown
from neuralib.persistence._trust import allowance, plain_data
from neuralib.persistence._trust.plain_values import Settled, Unbuilt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEEPEST_KEY = 500  # hashing deeper tuples could overflow the stack of C
_EXACT_HASH_BITS = 61  # of integers: different ones with fewer bits have different hashes
_LONGEST_NAME = 100


class _Call(Unbuilt):
    """A function of the table, on the stack."""

    __slots__ = ("make", "name")

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        self.name, self.make = name, make


class _Class(Unbuilt):
    """An admitted class, on the stack."""

    __slots__ = ("kind",)

    def __init__(self, kind: type) -> None:
        self.kind = kind


class _Arguments(Unbuilt):
    """A tuple that holds what is no value: it can be the arguments of a call, and nothing else."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[Any, ...]) -> None:
        self.items = items


class Machine:
    """One run through one pickle.

    :param admitted: by full name, the classes that may be made beside plain data
    :param buffers: the large arrays, which stand elsewhere
    :param left: what the pickle may cost
    """

    # What the instructions do is in methods of their own, named for it; the table at the end says which is whose.

    def __init__(self, admitted: dict[str, type], buffers: Iterator[Any], left: allowance.Allowance) -> None:
        self._admitted = admitted
        self._buffers = buffers
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: list[Any] = []
        self._far_memo: dict[int, Any] = {}  # what is put at places that the list does not reach
        self._places: dict[int, list[int]] = {}  # by the identity of what is not built yet: where the memo has it
        self._left = left
        self._default_dicts = 0  # that are in another
        self._object_arrays: dict[int, tuple[Any, int]] = {}  # by identity: each, and how many levels of them are in it

    def run(self, data: Any) -> Any:
        """Return the value that the pickle *data* makes.

        :raises UntrustedTypeError: it needs something beyond the closed list
        :raises ValueError: it is damaged, or costs too much
        """
        import pickletools

        for opcode, arg, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                break
            self.step(opcode.name, arg)
        return self.result()

    def step(self, name: str, arg: Any) -> None:
        """Run the instruction *name*."""
        if name in _LITERALS:
            self._left.spend(sys.getsizeof(arg) + allowance.SLOT)
            self._stack.append(arg)
            return
        method: Callable[[Machine, Any], None] | None = _METHODS.get(name)
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
        self._refuse_unbuilt(self._stack)
        return self._stack[0]

    # ---------------------------------------------------------------------------------------- stack and memo

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        self._left.left += _MARK
        return items

    def mark(self, _: Any) -> None:
        self._left.spend(_MARK)
        self._marks.append(self._stack)
        self._stack = []

    def pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def pop_mark(self, _: Any) -> None:
        self._pop_mark()

    def dup(self, _: Any) -> None:
        self._push(self._stack[-1], 0)

    def memoize(self, _: Any) -> None:
        self.put(len(self._memo) + len(self._far_memo))

    def put(self, place: int) -> None:
        value = self._stack[-1]
        if place < 0:
            raise ValueError(f"it puts a value at the place {place}")
        if place < len(self._memo):
            self._memo[place] = value
        elif place == len(self._memo):
            self._left.spend(allowance.SLOT)
            self._memo.append(value)
            self._far_memo.pop(place, None)
        else:
            self._left.spend(_FAR_PLACE)
            self._far_memo[place] = value
        if isinstance(value, Unbuilt):
            self._places.setdefault(id(value), []).append(place)

    def _remembered(self, place: int) -> Any:
        return self._memo[place] if 0 <= place < len(self._memo) else self._far_memo[place]

    def get(self, place: int) -> None:
        try:
            value = self._remembered(place)
        except KeyError:
            raise ValueError(f"it refers to value {place}, which it does not have") from None
        self._push(value, 0)

    def _push(self, value: Any, size: int) -> None:
        self._left.spend(size + allowance.SLOT)
        self._stack.append(value)

    def _push_new(self, value: Any) -> None:
        self._push(value, sys.getsizeof(value))

    # ---------------------------------------------------------------------------------------- values

    def nothing(self, _: Any) -> None:
        pass

    def constant(self, value: Any) -> None:
        self._push(value, 0)

    def new(self, kind: Callable[[], Any]) -> None:
        self._push_new(kind())

    def next_buffer(self, _: Any) -> None:
        # A view: what can be told from the arrays that the pickle makes, whose memory can't be that of others.
        self._push_new(memoryview(next(self._buffers)))

    def readonly_buffer(self, _: Any) -> None:
        value = self._stack.pop()
        if type(value) not in plain_data.BUFFERS:
            raise ValueError(f"it takes a {type(value).__name__} for a buffer")
        self._push_new(memoryview(value).toreadonly())

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._push_tuple(items)

    def tuple_from_mark(self, _: Any) -> None:
        self._push_tuple(tuple(self._pop_mark()))

    def _push_tuple(self, items: tuple[Any, ...]) -> None:
        unbuilt = any(isinstance(it, Unbuilt) for it in items)
        self._push(_Arguments(items) if unbuilt else items, sys.getsizeof(items))

    def list_from_mark(self, _: Any) -> None:
        items = self._pop_mark()
        self._refuse_unbuilt(items)
        self._push_new(items)

    def dict_from_mark(self, _: Any) -> None:
        items = self._pop_mark()
        self._push_new({})
        self._set_items(items)

    def frozenset_from_mark(self, _: Any) -> None:
        items = self._pop_mark()
        self._check_keys(items, items)
        self._push_new(frozenset(items))

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
        before = sys.getsizeof(target)
        target.extend(items)
        self._left.spend(sys.getsizeof(target) - before)

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
        keys, values = items[::2], items[1::2]
        self._check_keys(keys, target)
        self._refuse_unbuilt(values)
        if type(target) is plain_data.DEFAULTDICT:
            self._refuse_deep(values)
        before = sys.getsizeof(target)
        target.update(zip(keys, values, strict=True))
        self._left.spend(sys.getsizeof(target) - before)

    def add_items(self, _: Any) -> None:
        items = self._pop_mark()
        target = self._stack[-1]
        if type(target) is not set:
            raise ValueError(f"it adds to a {type(target).__name__} as to a set")
        self._check_keys(items, target)
        before = sys.getsizeof(target)
        target.update(items)
        self._left.spend(sys.getsizeof(target) - before)

    def _refuse_unbuilt(self, items: list[Any] | tuple[Any, ...]) -> None:
        for it in items:
            if isinstance(it, Unbuilt):
                raise UntrustedTypeError("", _what(it))

    def _refuse_deep(self, values: list[Any]) -> None:
        """Refuse many levels of what Python takes apart level by level, on the stack of C."""
        self._default_dicts += sum(type(it) is plain_data.DEFAULTDICT or hasattr(it, "dtype") for it in values)
        if self._default_dicts > _MOST_DEFAULT_DICTS and any(type(it) is plain_data.DEFAULTDICT for it in values):
            raise ValueError(f"it has more than {_MOST_DEFAULT_DICTS} defaultdicts in defaultdicts")

    def _refuse_deep_array(self, array: Any) -> None:
        inner = (self._object_arrays.get(id(it), (None, 0))[1] for it in array.flat)
        depth = 1 + max(inner, default=0)
        if depth > _DEEPEST_ARRAY:
            raise ValueError(f"it has more than {_DEEPEST_ARRAY} arrays within each other")
        self._left.spend(_FAR_PLACE)
        self._object_arrays[id(array)] = (array, depth)

    def _check_keys(self, keys: list[Any], container: object) -> None:
        """Refuse keys that can't be hashed, or would take ages or a deep stack to hash."""
        for key in keys:
            kind = type(key)
            if kind is str or (kind is int and key.bit_length() <= _EXACT_HASH_BITS):
                continue
            self._check_key(key)
            self._left.spend_on_hash(container, key)

    def _check_key(self, key: Any) -> None:
        todo = [(key, 0)]
        while todo:
            value, depth = todo.pop()
            self._left.spend(allowance.SLOT)
            if depth > _DEEPEST_KEY:
                raise ValueError("its keys are nested too deeply")
            self._refuse_unbuilt((value,))
            if isinstance(value, (list, dict, set, bytearray)):
                raise TypeError(f"it has a {type(value).__name__} as a key")
            if isinstance(value, (tuple, frozenset)):
                todo.extend((it, depth + 1) for it in value)
            elif isinstance(value, int):
                self._left.spend(value.bit_length() >> 3)

    # ---------------------------------------------------------------------------------------- what makes objects

    def named(self, arg: str) -> None:
        module, _, name = arg.partition(" ")
        self._push_new(self._looked_up(module, name))

    def named_by_stack(self, _: Any) -> None:
        name = self._stack.pop()
        module = self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("it names a type by something that is no text")
        self._push_new(self._looked_up(module, name))

    def _looked_up(self, module: str, name: str) -> Any:
        full = f"{plain_data.RENAMED_MODULES.get(module, module)}.{name}"
        make = plain_data.TABLE.get(full)
        if make is not None:
            return _Call(full, make)
        found = self._admitted.get(full)
        if found is None:
            full = f"{module}.{name}"
            raise UntrustedTypeError("", full if len(full) <= _LONGEST_NAME else f"{full[:_LONGEST_NAME]}...")
        return _Class(found)

    def reduce(self, _: Any) -> None:
        arguments = self._stack.pop()
        callee = self._stack.pop()
        self._push_made(self._called(callee, arguments))

    def new_object(self, _: Any) -> None:
        arguments = self._stack.pop()
        self._push_made(self._made(self._stack.pop(), arguments, {}))

    def new_object_with_names(self, _: Any) -> None:
        named = self._stack.pop()
        arguments = self._stack.pop()
        if type(named) is not dict or not all(type(it) is str for it in named):
            raise ValueError("it makes an object of arguments that are none")
        self._push_made(self._made(self._stack.pop(), arguments, named))

    def instance(self, arg: str) -> None:
        arguments = self._pop_mark()
        self.named(arg)
        self._call_with(self._stack.pop(), arguments)

    def instance_by_stack(self, _: Any) -> None:
        callee, *arguments = self._pop_mark()
        self._call_with(callee, arguments)

    def _call_with(self, callee: Any, arguments: list[Any]) -> None:
        self._push_tuple(tuple(arguments))
        self._push_made(self._called(callee, self._stack.pop()))

    def _push_made(self, value: Any) -> None:
        self._push(value, sys.getsizeof(value) + allowance.CALL)

    def _called(self, callee: Any, given: Any) -> Any:
        arguments = given.items if isinstance(given, _Arguments) else given
        if type(arguments) is not tuple:
            raise ValueError("it calls with arguments that are none")
        if not (isinstance(callee, _Call) and callee.name in plain_data.VIEWS):
            self._left.spend_on_call(arguments)
        if isinstance(callee, _Call):
            return self._called_from_table(callee, arguments)
        self._refuse_unbuilt(arguments)
        if isinstance(callee, _Class):
            if issubclass(callee.kind, enum.Enum):
                for it in arguments:
                    self._check_key(it)  # it looks its members up by value
            return callee.kind(*arguments)
        raise UntrustedTypeError("", f"a call of {shown(callee)}")

    def _called_from_table(self, callee: _Call, arguments: tuple[Any, ...]) -> Any:
        if callee.name in plain_data.FIRST_IS_CLASS:
            if arguments and isinstance(arguments[0], _Class):
                return self._made_by(callee.name, arguments[0].kind, arguments[1:])
            arguments = tuple(it.name if isinstance(it, _Call) else it for it in arguments)
        self._refuse_unbuilt([it for it in arguments if not isinstance(it, Settled)])
        if callee.name in plain_data.SETS and arguments:
            items = arguments[0]
            if type(items) in {list, tuple}:
                self._check_keys([it for it in items if not isinstance(it, Unbuilt)], items)
        try:
            return callee.make(*arguments)
        except UntrustedTypeError:
            raise
        except TypeError as error:
            raise ValueError(f"it calls {callee.name} with arguments that don't fit: {error}") from error

    def _made_by(self, name: str, kind: type, arguments: tuple[Any, ...]) -> Any:
        """Return what the function *name* of the standard library makes of the admitted class *kind*."""
        if name == "copyreg._reconstructor" and len(arguments) == 2:
            base, state = arguments
            base = base.name if isinstance(base, _Call) else base
            if state is None:
                return object.__new__(kind)
            if base == "builtins.tuple" and issubclass(kind, tuple) and type(state) is tuple:
                return tuple.__new__(kind, state)
        self._refuse_unbuilt(arguments)
        if name == "copyreg.__newobj__":
            return kind.__new__(kind, *arguments)
        if name == "builtins.getattr" and issubclass(kind, enum.Enum) and all(type(it) is str for it in arguments):
            return kind.__members__[arguments[0]]
        raise UntrustedTypeError("", f"a call of {name} on {kind.__qualname__}")

    def _made(self, callee: Any, arguments: Any, named: dict[str, Any]) -> Any:
        if isinstance(callee, _Class):
            if type(arguments) is not tuple:
                raise ValueError("it makes an object of arguments that are none")
            self._left.spend_on_call((arguments, named))
            return callee.kind.__new__(callee.kind, *arguments, **named)
        if isinstance(callee, _Call) and not named:
            return self._called(callee, arguments)
        raise UntrustedTypeError("", f"a new object of {shown(callee)}")

    def build(self, _: Any) -> None:
        state = self._stack.pop()
        value = self._stack.pop()
        self._left.spend_on_call((state.items if isinstance(state, _Arguments) else state,))
        built = self._built(value, state)
        if getattr(getattr(built, "dtype", None), "hasobject", False):
            self._refuse_deep_array(built)
        self._push_made(built)
        for place in self._places.pop(id(value), ()) if isinstance(value, Unbuilt) else ():
            if self._remembered(place) is value:
                (self._memo if place < len(self._memo) else self._far_memo)[place] = built

    def _built(self, value: Any, state: Any) -> Any:
        if isinstance(value, Unbuilt):
            if isinstance(state, _Arguments):  # an array's, whose dtype came without a state of its own
                self._refuse_unbuilt([it for it in state.items if not isinstance(it, Settled)])
                state = state.items
            return value.built(state)
        self._refuse_unbuilt([state])
        if type(value) not in self._admitted.values():
            raise UntrustedTypeError("", f"the state of a {type(value).__qualname__}")
        set_state = getattr(value, "__setstate__", None)
        if set_state is not None:
            set_state(state)
            return value
        attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
        for it in (attributes or {}, slots or {}):
            if type(it) is not dict or not all(type(name) is str and not name.startswith("__") for name in it):
                raise ValueError(f"the state of a {type(value).__qualname__} in it is none")
        if attributes:
            vars(value).update(attributes)
        for name, it in (slots or {}).items():
            setattr(value, name, it)
        return value


def _what(value: Unbuilt) -> str:
    """Return what to call *value* in an error, where it was to be a value like others."""
    if isinstance(value, (_Call, _Class, _Arguments)):
        return "a function or class as a value"
    return "an array or object that contains itself"


_MARK = 56 + 2 * allowance.SLOT
_FAR_PLACE = 128
_MOST_DEFAULT_DICTS = 1000
_DEEPEST_ARRAY = 50

_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_METHODS: dict[str, Any] = {
    "PROTO": Machine.nothing,
    "FRAME": Machine.nothing,
    "NONE": lambda run, _: run.constant(None),
    "NEWTRUE": lambda run, _: run.constant(True),
    "NEWFALSE": lambda run, _: run.constant(False),
    "EMPTY_TUPLE": lambda run, _: run.constant(()),
    "EMPTY_LIST": lambda run, _: run.new(list),
    "EMPTY_DICT": lambda run, _: run.new(dict),
    "EMPTY_SET": lambda run, _: run.new(set),
    "TUPLE1": lambda run, _: run.tuple_of(1),
    "TUPLE2": lambda run, _: run.tuple_of(2),
    "TUPLE3": lambda run, _: run.tuple_of(3),
    "TUPLE": Machine.tuple_from_mark,
    "LIST": Machine.list_from_mark,
    "DICT": Machine.dict_from_mark,
    "FROZENSET": Machine.frozenset_from_mark,
    "APPEND": Machine.append,
    "APPENDS": Machine.appends,
    "SETITEM": Machine.set_item,
    "SETITEMS": Machine.set_items,
    "ADDITEMS": Machine.add_items,
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.pop_mark,
    "DUP": Machine.dup,
    "MEMOIZE": Machine.memoize,
    "PUT": Machine.put,
    "BINPUT": Machine.put,
    "LONG_BINPUT": Machine.put,
    "GET": Machine.get,
    "BINGET": Machine.get,
    "LONG_BINGET": Machine.get,
    "NEXT_BUFFER": Machine.next_buffer,
    "READONLY_BUFFER": Machine.readonly_buffer,
    "GLOBAL": Machine.named,
    "STACK_GLOBAL": Machine.named_by_stack,
    "REDUCE": Machine.reduce,
    "NEWOBJ": Machine.new_object,
    "NEWOBJ_EX": Machine.new_object_with_names,
    "INST": Machine.instance,
    "OBJ": Machine.instance_by_stack,
    "BUILD": Machine.build,
}
_UNKNOWN = {
    "PERSID": "a persistent id",
    "BINPERSID": "a persistent id",
    "EXT1": "the extension registry",
    "EXT2": "the extension registry",
    "EXT4": "the extension registry",
}
