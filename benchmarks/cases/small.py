"""The small paths: dict, file name, ``__init__``."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from cases.common import Plain, PlainKeys, fields, made, repeated, side, small_class


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


@side("from_dict", "ours")
def from_dict_ours(folder: Path) -> Any:
    from neuralib.persistence import from_dict

    cls, values = small_class(), pickle.loads(pickle.dumps(fields()))
    yield from repeated("from_dict(cls, values)", from_dict=from_dict, cls=cls, values=values)


@side("from_dict", "dataclass")
def from_dict_dataclass(folder: Path) -> Any:
    values = pickle.loads(pickle.dumps(fields()))
    yield from repeated("Plain(**values)", Plain=Plain, values=values)


@side("filename", "ours")
def filename_ours(folder: Path) -> Any:
    from neuralib.persistence import filename

    result = made(small_class(), 17)
    yield from repeated("filename(result)", filename=filename, result=result)


@side("filename", "f-string")
def filename_by_hand(folder: Path) -> Any:
    r = Plain(**fields())
    yield from repeated("f'cache-Result-{r.animal}-{r.date}-plane{r.plane}-{r.signal}-#{r.run}'", r=r)


@side("__init__", "ours")
def init_ours(folder: Path) -> Any:
    cls = small_class()
    yield from repeated("cls('A00', '20230101', 3, 'df_f', 'all', 17)", cls=cls)


@side("__init__", "dataclass")
def init_dataclass(folder: Path) -> Any:
    yield from repeated("cls('A00', '20230101', 3, 'df_f', 'all', 17)", cls=PlainKeys)
