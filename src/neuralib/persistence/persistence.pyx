# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""Persistence classes, and handlers that save, load and find their results.

The key fields of a persistence class form the file name of a result. Its other fields are the data.
"""

from neuralib.persistence._classes.convert import as_dict, from_dict, results_equal
from neuralib.persistence._core import filename
from neuralib.persistence._classes.decorator import auto_generated_content, persistence_class
from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError,
    ContractError,
    CorruptResultError,
    DataNotSetError,
    FieldDefinitionError,
    KeyMismatchError,
    KeyNotSetError,
    MissingFieldError,
    NameTakenError,
    NewerVersionError,
    NoInitFitsError,
    NotAResultError,
    NotPersistenceClassError,
    NothingComputedError,
    NothingFoundError,
    OtherClassError,
    PersistenceError,
    StackError,
    UnconditionalStoreError,
    UndeclaredAttributeError,
    UnknownFieldError,
    UnloadableResultError,
    UnsafeNameError,
    UntrustedTypeError,
    WildcardKeyError,
    WrongResultClassError,
)
from neuralib.persistence._classes.field import PersistentField, autoinc_field, field, missing
from neuralib.persistence._handlers.base import PersistenceHandler
from neuralib.persistence._finding.checking import FileCheck
from neuralib.persistence._finding.migrating import Migration
from neuralib.persistence._handlers.direct import load, load_by, save
from neuralib.persistence._handlers.files import FileHandler
from neuralib.persistence._finding.found import Found, Hit
from neuralib.persistence._handlers.pickles import GzipHandler, PickleHandler, ZstdHandler
from neuralib.persistence._handlers.heads import FileHead, read_head
from neuralib.persistence._trust.stand_ins import ArrayHead, ObjectHead
from neuralib.persistence._classes.schema import PersistentClass, ensure_persistence_class
from neuralib.persistence._classes.unknown import unknown_fields

__all__ = sorted(name for name in globals() if not name.startswith("_"))
