from neuralib.persistence._computing.missing import BatchReport as BatchReport, Failure as Failure
from neuralib.persistence._computing.options import (
    PersistenceOptions as PersistenceOptions,
    get_options_and_cache as get_options_and_cache,
)

__all__ = ["BatchReport", "Failure", "PersistenceOptions", "get_options_and_cache"]
