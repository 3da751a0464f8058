"""Contract suites for stores and codecs of your own. They need no test framework.

>>> from neuralib.persistence.stores import MemoryStore
>>> from neuralib.persistence.testing import check_store
>>> check_store(MemoryStore)
"""

from __future__ import annotations

from neuralib.persistence._contracts.codecs import check_codec
from neuralib.persistence._contracts.stores import check_store
from neuralib.persistence._errors import ContractError

__all__ = ["ContractError", "check_codec", "check_store"]
