from neuralib.persistence._computing.options import (
    PersistenceOptions as PersistenceOptions,
    get_options_and_cache as get_options_and_cache,
)
from neuralib.persistence._computing.report import (
    BatchInterrupted as BatchInterrupted,
    BatchReport as BatchReport,
    Failure as Failure,
)

__all__ = ["BatchInterrupted", "BatchReport", "Failure", "PersistenceOptions", "get_options_and_cache"]
