from collections.abc import Callable, Mapping
from typing import Any, TypeVar, final

_T = TypeVar("_T")

@final
class Layout:
    owner: type
    names: tuple[str, ...]
    required: frozenset[str]
    fallbacks: dict[str, Callable[[], Any]]
    head: str
    parts: tuple[tuple[str, str, Callable[..., str | None] | None], ...]
    autoinc: str | None
    number_shows: bool
    wildcard: object
    any_text: type
    check: Callable[[str, Any, dict[str, Any]], None]
    make_text: Callable[[str, Any], str]
    fixed_kinds: set[type]
    former_names: dict[str, str]
    make_by_init: Callable[[type, dict[str, Any]], Any]
    def __new__(
        cls,
        owner: type,
        names: tuple[str, ...],
        required: frozenset[str],
        fallbacks: dict[str, Callable[[], Any]],
        head: str,
        parts: tuple[tuple[str, str, Callable[..., str | None] | None], ...],
        autoinc: str | None,
        wildcard: object,
        any_text: type,
        check: Callable[[str, Any, dict[str, Any]], None],
        make_text: Callable[[str, Any], str],
        fixed_kinds: set[type],
        former_names: dict[str, str],
        make_by_init: Callable[[type, dict[str, Any]], Any],
    ) -> Layout: ...

def as_dict(data: object) -> dict[str, Any]: ...
def from_dict(data_cls: type[_T], d: Mapping[str, Any]) -> _T: ...
def format_name(layout: Layout, data: object, overrides: dict[str, Any] | None) -> str: ...
def plain_name(layout: Layout, data: object, suffix: str) -> str | None: ...
def is_plainly_named(layout: Layout, suffix: str, data: object, name: str) -> bool: ...
def around_number(layout: Layout, data: object, suffix: str) -> tuple[str, str] | None: ...
def is_plain_name(text: str) -> bool: ...
def filename(result: object, /, **overrides: object) -> str: ...
def is_numbered(layout: Layout, data: object, overrides: dict[str, Any] | None) -> bool: ...
