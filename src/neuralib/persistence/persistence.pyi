from neuralib.persistence._classes.convert import (
    as_dict as as_dict,
    from_dict as from_dict,
    results_equal as results_equal,
)
from neuralib.persistence._classes.decorator import (
    auto_generated_content as auto_generated_content,
    persistence_class as persistence_class,
)
from neuralib.persistence._classes.field import (
    PersistentField as PersistentField,
    autoinc_field as autoinc_field,
    field as field,
    missing as missing,
)
from neuralib.persistence._classes.schema import (
    PersistentClass as PersistentClass,
    ensure_persistence_class as ensure_persistence_class,
)
from neuralib.persistence._classes.unknown import unknown_fields as unknown_fields
from neuralib.persistence._core import filename as filename
from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError as AutoIncFieldNotResolvedError,
    ContractError as ContractError,
    CorruptResultError as CorruptResultError,
    DataNotSetError as DataNotSetError,
    FieldDefinitionError as FieldDefinitionError,
    KeyMismatchError as KeyMismatchError,
    KeyNotSetError as KeyNotSetError,
    MissingFieldError as MissingFieldError,
    NameTakenError as NameTakenError,
    NewerVersionError as NewerVersionError,
    NoInitFitsError as NoInitFitsError,
    NotAResultError as NotAResultError,
    NothingComputedError as NothingComputedError,
    NothingFoundError as NothingFoundError,
    NotPersistenceClassError as NotPersistenceClassError,
    OtherClassError as OtherClassError,
    PersistenceError as PersistenceError,
    StackError as StackError,
    UnconditionalStoreError as UnconditionalStoreError,
    UndeclaredAttributeError as UndeclaredAttributeError,
    UnknownFieldError as UnknownFieldError,
    UnloadableResultError as UnloadableResultError,
    UnsafeNameError as UnsafeNameError,
    UntrustedTypeError as UntrustedTypeError,
    WildcardKeyError as WildcardKeyError,
    WrongResultClassError as WrongResultClassError,
)
from neuralib.persistence._finding.checking import FileCheck as FileCheck
from neuralib.persistence._finding.found import Found as Found, Hit as Hit
from neuralib.persistence._finding.migrating import Migration as Migration
from neuralib.persistence._handlers.base import PersistenceHandler as PersistenceHandler
from neuralib.persistence._handlers.direct import load as load, load_by as load_by, save as save
from neuralib.persistence._handlers.files import FileHandler as FileHandler
from neuralib.persistence._handlers.heads import FileHead as FileHead, read_head as read_head
from neuralib.persistence._handlers.pickles import (
    GzipHandler as GzipHandler,
    PickleHandler as PickleHandler,
    ZstdHandler as ZstdHandler,
)
from neuralib.persistence._trust.stand_ins import ArrayHead as ArrayHead, ObjectHead as ObjectHead

__all__ = [
    "ArrayHead",
    "AutoIncFieldNotResolvedError",
    "ContractError",
    "CorruptResultError",
    "DataNotSetError",
    "FieldDefinitionError",
    "FileCheck",
    "FileHandler",
    "FileHead",
    "Found",
    "GzipHandler",
    "Hit",
    "KeyMismatchError",
    "KeyNotSetError",
    "Migration",
    "MissingFieldError",
    "NameTakenError",
    "NewerVersionError",
    "NoInitFitsError",
    "NotAResultError",
    "NotPersistenceClassError",
    "NothingComputedError",
    "NothingFoundError",
    "ObjectHead",
    "OtherClassError",
    "PersistenceError",
    "PersistenceHandler",
    "PersistentClass",
    "PersistentField",
    "PickleHandler",
    "StackError",
    "UnconditionalStoreError",
    "UndeclaredAttributeError",
    "UnknownFieldError",
    "UnloadableResultError",
    "UnsafeNameError",
    "UntrustedTypeError",
    "WildcardKeyError",
    "WrongResultClassError",
    "ZstdHandler",
    "as_dict",
    "auto_generated_content",
    "autoinc_field",
    "ensure_persistence_class",
    "field",
    "filename",
    "from_dict",
    "load",
    "load_by",
    "missing",
    "persistence_class",
    "read_head",
    "results_equal",
    "save",
    "unknown_fields",
]
