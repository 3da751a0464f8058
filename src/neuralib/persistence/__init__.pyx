# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""Save the results of computations and find them again. The keys of a result form its file name."""

# Public names are imported on first use. The command line needs few of them, and starts in a third of the time.
from importlib import import_module

_MODULES = ("persistence", "validator")

__all__ = [
    "ArrayHead",
    "AutoIncFieldNotResolvedError",
    "ContractError",
    "CorruptResultError",
    "ETLConcatable",
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
    "PersistenceConcatError",
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
    "attributes_validate",
    "auto_generated_content",
    "autoinc_field",
    "create_date_validate",
    "ensure_persistence_class",
    "field",
    "filename",
    "from_dict",
    "load",
    "load_by",
    "missing",
    "persistence",
    "persistence_class",
    "read_head",
    "results_equal",
    "save",
    "unknown_fields",
    "validate_concat_etl_persistence",
    "validator",
]


def __getattr__(str name):
    """Import the public *name* on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    module = import_module(f"{__name__}.persistence")
    if name not in module.__all__:
        module = import_module(f"{__name__}.validator")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})
