"""Stores: where results are kept, other than in a folder; and the base class for stores of your own.

A handler takes a store where it takes a folder: ``PickleHandler(Result, MemoryStore())``. Try a store of your own with
:func:`neuralib.persistence.testing.check_store`.
"""

from __future__ import annotations

from neuralib.persistence._bytes.sources import BytesSource, Sink, Source
from neuralib.persistence._stores.archive import ArchiveStore
from neuralib.persistence._stores.base import CHANGED, Content, Draft, MemoryDraft, Put, Replace, Stat, State, Store
from neuralib.persistence._stores.folder import FolderStore
from neuralib.persistence._stores.memory import MemoryStore
from neuralib.persistence._stores.objects import ObjectStore
from neuralib.persistence._stores.places import SeveralStores

__all__ = [
    "CHANGED",
    "ArchiveStore",
    "BytesSource",
    "Content",
    "Draft",
    "FolderStore",
    "MemoryDraft",
    "MemoryStore",
    "ObjectStore",
    "Put",
    "Replace",
    "SeveralStores",
    "Sink",
    "Source",
    "Stat",
    "State",
    "Store",
]
