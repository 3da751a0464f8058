"""The class that the oldest golden files name: their pickles hold the instance itself."""

from __future__ import annotations

from typing import Any

from neuralib.persistence import field, persistence_class


@persistence_class
class Session:
    exp_date: str = field(validator=True, filename=True)
    animal: str = field(validator=True, filename=True)
    plane_index: Any = field(validator=False, filename_prefix="plane", filename=True)
    signal_type: str = field(validator=True, filename=True)
    selection: str = field(validator=True)
    channels: list[int]
    data: Any
    rate: float
    note: str
