"""What is measured, by subject. Importing this registers every side in :data:`SIDES`."""

from cases import (
    big,
    builds,
    checking,
    compression,
    durable,
    finding,
    floor,
    folders,
    medium,
    saving,
    series,
    small,
    starting,
    trust,
)
from cases.common import SIDES

__all__ = [
    "SIDES",
    "big",
    "builds",
    "checking",
    "compression",
    "durable",
    "finding",
    "floor",
    "folders",
    "medium",
    "saving",
    "series",
    "small",
    "starting",
    "trust",
]
