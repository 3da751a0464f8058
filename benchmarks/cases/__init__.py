"""The code that is measured, by subject. Importing this package registers every side in :data:`SIDES`."""

from cases import (
    archive,
    big,
    builds,
    checking,
    compression,
    computing,
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
    "archive",
    "big",
    "builds",
    "checking",
    "compression",
    "computing",
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
