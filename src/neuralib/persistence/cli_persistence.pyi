from neuralib.persistence._computing.missing import Computed as Computed, Failure as Failure
from neuralib.persistence._computing.options import (
    PersistenceOptions as PersistenceOptions,
    get_options_and_cache as get_options_and_cache,
)

__all__ = ["Computed", "Failure", "PersistenceOptions", "get_options_and_cache"]
