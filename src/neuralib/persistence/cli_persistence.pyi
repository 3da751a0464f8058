from neuralib.persistence._options import (
    PersistenceOptions as PersistenceOptions,
    get_options_and_cache as get_options_and_cache,
)

__all__ = ["PersistenceOptions", "get_options_and_cache"]
