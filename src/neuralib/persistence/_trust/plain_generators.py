"""What a pickle of unknown origin may make of numpy's generators of random numbers, and of their seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError
from neuralib.persistence._trust.plain_values import Pending, class_of, is_one_of, label_of, need, only, tuple_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuralib.persistence._trust.allowance import Allowance

_LARGEST_SEED = 1 << 12  # bits, and numbers
_GENERATOR_BYTES = 1 << 13
_BIT_GENERATORS = {
    "numpy.random._pcg64.PCG64": "PCG64",
    "numpy.random._pcg64.PCG64DXSM": "PCG64DXSM",
    "numpy.random._mt19937.MT19937": "MT19937",
    "numpy.random._philox.Philox": "Philox",
    "numpy.random._sfc64.SFC64": "SFC64",
}
_SEED_SEQUENCE = "numpy.random.bit_generator.SeedSequence"
CLASSES = (*_BIT_GENERATORS, _SEED_SEQUENCE)
"""By full name, the classes that may be an argument, and nothing else."""

_RANDOM = "a generator of random numbers"
_WORDS = {"has_uint32": 1, "uinteger": 32}
_STATES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "PCG64": ({"state": 128, "inc": 128}, _WORDS),
    "PCG64DXSM": ({"state": 128, "inc": 128}, _WORDS),
    "MT19937": ({"key": ("u4", 624), "pos": range(625)}, {}),
    "Philox": ({"counter": ("u8", 4), "key": ("u8", 2)}, {"buffer": ("u8", 4), "buffer_pos": range(5), **_WORDS}),
    "SFC64": ({"state": ("u8", 4)}, _WORDS),
}
"""By bit generator, what its state is made of, within and beside ``state``: integers of so many bits or in a range, and
arrays. It is checked here: numpy believes it, and would read beyond its memory."""


def _checked_state(state: Any, parts: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    only((dict,), (state,), _RANDOM)
    checked = {}
    for name, form in parts.items():
        value = state.get(name)
        if isinstance(form, tuple):
            fits = type(value) is np.ndarray and value.dtype == np.dtype(form[0]) and value.shape == form[1:]
        else:
            fits = type(value) is int and (value in form if isinstance(form, range) else 0 <= value < 1 << form)
        need(fits, _RANDOM)
        checked[name] = value
    return checked


class _BitGenerator(Pending):
    __slots__ = ("kind",)
    type_name = "numpy.random.BitGenerator"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def built(self, account: Allowance, state: Any) -> Any:
        """Return the bit generator itself."""
        import numpy as np

        account.spend(_GENERATOR_BYTES)
        fields: Any = state
        seed = None
        if type(state) is tuple and len(state) == 2:
            fields, seed = state
        only((dict,), (fields,), _RANDOM)
        need(is_one_of(fields.get("bit_generator"), self.kind), _RANDOM)
        only((np.random.SeedSequence, type(None)), (seed,), _RANDOM)
        inner, outer = _STATES[self.kind]
        made = getattr(np.random, self.kind)(seed)  # without one, as numpy 1 writes it, what it spawns is new
        made.state = {
            "bit_generator": self.kind,
            "state": _checked_state(fields.get("state"), inner),
            **_checked_state(fields, outer),
        }
        return made


class _Generator(_BitGenerator):
    """A generator as numpy 1 writes it, or one of the old kind: its state follows."""

    __slots__ = ("old",)
    type_name = "numpy.random.Generator"

    def __init__(self, kind: str, *, old: bool) -> None:
        super().__init__(kind)
        self.old = old

    def built(self, account: Allowance, state: Any) -> Any:
        import numpy as np

        made = super().built(account, state)
        if not self.old:
            return np.random.Generator(made)
        found = np.random.RandomState(made)
        has, gauss = state.get("has_gauss"), state.get("gauss")
        need(type(has) is int and has in {0, 1} and type(gauss) is float, _RANDOM)
        found.set_state({**made.state, "has_gauss": has, "gauss": gauss})
        return found


def _bit_generator(_: Allowance, kind: Any = "MT19937") -> Any:
    name = class_of(kind, _BIT_GENERATORS)
    if name is None and not is_one_of(kind, *_STATES):
        raise UntrustedTypeError("", f"a generator of random numbers of the class {label_of(kind)}")
    return _BitGenerator(kind if name is None else _BIT_GENERATORS[name])


def _generator_of(*, old: bool) -> Callable[..., Any]:
    def make(account: Allowance, source: Any = "MT19937", _: Any = None) -> Any:
        import numpy as np

        account.spend(_GENERATOR_BYTES)
        if not isinstance(source, np.random.BitGenerator):
            return _Generator(_bit_generator(account, source).kind, old=old)
        return _Generator(type(source).__name__, old=True) if old else np.random.Generator(source)

    return make


class _SeedSequence(Pending):
    __slots__ = ()
    type_name = _SEED_SEQUENCE

    def built(self, account: Allowance, state: Any) -> Any:
        import numpy as np

        entropy, spawned, _, pool_size, spawn_key = tuple_of(state, (5,), "a seed")
        only((tuple,), (spawn_key,), "a seed")
        numbers = [*entropy] if type(entropy) in {list, tuple} else [entropy]
        account.spend(_GENERATOR_BYTES + 64 * (len(numbers) + len(spawn_key)))
        only((int,), (*numbers, *spawn_key, pool_size, spawned), "a seed")
        bits = max(number.bit_length() for number in (*numbers, *spawn_key, spawned, 0))
        need(max(len(numbers), len(spawn_key), bits) <= _LARGEST_SEED and 4 <= pool_size <= 64, "a seed")
        return np.random.SeedSequence(entropy, spawn_key=spawn_key, pool_size=pool_size, n_children_spawned=spawned)


def _seed_sequence(_: Allowance, kind: Any, _checksum: Any, state: None) -> Any:
    if not class_of(kind, {_SEED_SEQUENCE}) or state is not None:
        raise UntrustedTypeError("", f"a seed of the class {label_of(kind)}")
    return _SeedSequence()


GENERATORS: dict[str, Callable[..., Any]] = {
    "numpy.random._pickle.__generator_ctor": _generator_of(old=False),
    "numpy.random._pickle.__randomstate_ctor": _generator_of(old=True),
}
TABLE: dict[str, Callable[..., Any]] = {
    "numpy.random._pickle.__bit_generator_ctor": _bit_generator,
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence": _seed_sequence,
    **GENERATORS,
}
"""By full name, what a pickle may call for generators."""
