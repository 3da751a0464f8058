# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""A mix-in for command-line programs that load a result, or compute and save it."""

from neuralib.persistence._computing.options import PersistenceOptions, get_options_and_cache
from neuralib.persistence._computing.report import BatchInterrupted, BatchReport, Failure

__all__ = ["BatchInterrupted", "BatchReport", "Failure", "PersistenceOptions", "get_options_and_cache"]
