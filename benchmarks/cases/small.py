"""The short operations: dict, file name, ``__init__``, for the usual result, and for results of other shapes."""

from __future__ import annotations

import enum
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.common import KEYS, Plain, PlainKeys, fields, made, repeated, side, small_class

if TYPE_CHECKING:
    from collections.abc import Callable


@side("as_dict", "ours")
def as_dict_ours(folder: Path) -> Any:
    from neuralib.persistence import as_dict

    result = made(small_class(), 17)
    yield from repeated("as_dict(result)", as_dict=as_dict, result=result)


@side("as_dict", "msgspec")
def as_dict_msgspec(folder: Path) -> Any:
    import msgspec

    struct = msgspec.defstruct("Struct", [(name, Any) for name in fields()])(**fields())
    asdict = msgspec.structs.asdict
    yield from repeated("asdict(struct)", asdict=asdict, struct=struct)


def in_another_order() -> Any:
    """Return a result whose data was set in another order than it is declared."""
    result, values = small_class()(*KEYS, 17), fields()
    result.score = values["score"]
    result.weights = values["weights"]
    return result


def with_an_attribute_more() -> Any:
    """Return a result with an attribute that is no field."""
    result = made(small_class(), 17)
    result.note = "kept for later"
    return result


def with_a_field_unset() -> Any:
    """Return a result one of whose data fields is not computed yet."""
    result = made(small_class(), 17)
    del result.score
    return result


def of_a_subclass() -> Any:
    """Return a result of a class that adds a method to a persistence class."""

    class More(small_class()):  # type: ignore[misc]
        def total(self) -> float:
            return float(self.weights.sum())

    return made(More, 17)


RESULTS: dict[str, Callable[[], Any]] = {
    "as_dict, another order": in_another_order,
    "as_dict, an attribute more": with_an_attribute_more,
    "as_dict, a field unset": with_a_field_unset,
    "as_dict, subclass": of_a_subclass,
}


def register_as_dict(case: str, make: Callable[[], Any]) -> None:
    @side(case, "ours")
    def ours(folder: Path) -> Any:
        from neuralib.persistence import as_dict

        yield from repeated("as_dict(result)", as_dict=as_dict, result=make())

    side(case, "msgspec")(as_dict_msgspec)


for case, make in RESULTS.items():
    register_as_dict(case, make)


@side("from_dict", "ours")
def from_dict_ours(folder: Path) -> Any:
    from neuralib.persistence import from_dict

    cls, values = small_class(), pickle.loads(pickle.dumps(fields()))
    yield from repeated("from_dict(cls, values)", from_dict=from_dict, cls=cls, values=values)


@side("from_dict", "dataclass")
def from_dict_dataclass(folder: Path) -> Any:
    values = pickle.loads(pickle.dumps(fields()))
    yield from repeated("Plain(**values)", Plain=Plain, values=values)


@side("from_dict, the class's own names", "ours")
def from_dict_own_names_ours(folder: Path) -> Any:
    from neuralib.persistence import from_dict

    yield from repeated("from_dict(cls, values)", from_dict=from_dict, cls=small_class(), values=fields())


@side("from_dict, the class's own names", "dataclass")
def from_dict_own_names_dataclass(folder: Path) -> Any:
    yield from repeated("Plain(**values)", Plain=Plain, values=fields())


@side("filename", "ours")
def filename_ours(folder: Path) -> Any:
    from neuralib.persistence import filename

    result = made(small_class(), 17)
    yield from repeated("filename(result)", filename=filename, result=result)


@side("filename", "f-string")
def filename_by_hand(folder: Path) -> Any:
    r = Plain(**fields())
    yield from repeated("f'cache-Result-{r.animal}-{r.date}-plane{r.plane}-{r.signal}-#{r.run}'", r=r)


class Signal(enum.Enum):
    DF_F = "df_f"


def shortened(value: Any) -> str:
    return f"{value:.1f}"


def key_value(kind: str) -> Any:
    import numpy as np

    values = {"float": 0.25, "None": None, "bool": True, "Enum": Signal.DF_F, "numpy": np.int64(3), "function": 0.25}
    return values[kind]


def register_filename(kind: str) -> None:
    """Register a case whose class has a key in the name that is neither text nor an integer."""
    case = f"filename, {kind}"

    @side(case, "ours")
    def ours(folder: Path) -> Any:
        from neuralib.persistence import autoinc_field, field, filename, persistence_class

        @persistence_class
        class Result:
            animal: str = field(validator=True, filename=True)
            date: str = field(validator=True, filename=True)
            plane: int = field(filename_prefix="plane", filename=True)
            signal: Any = field(filename=shortened if kind == "function" else True)
            run: int = autoinc_field("#")

        result = Result("A00", "20230101", 3, key_value(kind), 17)
        yield from repeated("filename(result)", filename=filename, result=result)

    @side(case, "f-string")
    def by_hand(folder: Path) -> Any:
        result = Plain(**{**fields(), "signal": key_value(kind)})
        text = "shortened(r.signal)" if kind == "function" else "r.signal"
        statement = f"f'cache-Result-{{r.animal}}-{{r.date}}-plane{{r.plane}}-{{{text}}}-#{{r.run}}'"
        yield from repeated(statement, r=result, shortened=shortened)


for kind in ("float", "None", "bool", "Enum", "numpy", "function"):
    register_filename(kind)


@side("__init__", "ours")
def init_ours(folder: Path) -> Any:
    cls = small_class()
    yield from repeated("cls('A00', '20230101', 3, 'df_f', 'all', 17)", cls=cls)


@side("__init__", "dataclass")
def init_dataclass(folder: Path) -> Any:
    yield from repeated("cls('A00', '20230101', 3, 'df_f', 'all', 17)", cls=PlainKeys)
