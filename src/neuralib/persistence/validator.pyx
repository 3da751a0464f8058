# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""Ready-made checks for results."""

from neuralib.persistence._validators import (
    ETLConcatable,
    PersistenceConcatError,
    attributes_validate,
    create_date_validate,
    validate_concat_etl_persistence,
)

__all__ = sorted(name for name in globals() if not name.startswith("_"))
