from neuralib.persistence._validators import (
    ETLConcatable as ETLConcatable,
)
from neuralib.persistence._validators import (
    PersistenceConcatError as PersistenceConcatError,
)
from neuralib.persistence._validators import (
    attributes_validate as attributes_validate,
)
from neuralib.persistence._validators import (
    create_date_validate as create_date_validate,
)
from neuralib.persistence._validators import (
    validate_concat_etl_persistence as validate_concat_etl_persistence,
)

__all__ = [
    "ETLConcatable",
    "PersistenceConcatError",
    "attributes_validate",
    "create_date_validate",
    "validate_concat_etl_persistence",
]
