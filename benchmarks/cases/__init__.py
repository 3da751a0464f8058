"""What is measured, by subject. Importing this registers every side in :data:`SIDES`."""

from cases import big, checking, compression, durable, finding, folders, medium, saving, small, starting
from cases.common import SIDES

__all__ = [
    "SIDES",
    "big",
    "checking",
    "compression",
    "durable",
    "finding",
    "folders",
    "medium",
    "saving",
    "small",
    "starting",
]
