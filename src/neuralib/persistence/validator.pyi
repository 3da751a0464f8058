from neuralib.persistence._validators import (
    ETLConcatable as ETLConcatable,
    PersistenceConcatError as PersistenceConcatError,
    attributes_validate as attributes_validate,
    create_date_validate as create_date_validate,
    validate_concat_etl_persistence as validate_concat_etl_persistence,
)

__all__ = [
    "ETLConcatable",
    "PersistenceConcatError",
    "attributes_validate",
    "create_date_validate",
    "validate_concat_etl_persistence",
]
