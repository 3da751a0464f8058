from collections.abc import Callable
from typing import Any, final

MAX_DIGITS: int

@final
class Layout:
    owner: type
    names: tuple[str, ...]
    required: frozenset[str]
    fallbacks: dict[str, Callable[[], Any]]
    head: str
    parts: tuple[tuple[str, str, Callable[..., str | None] | None], ...]
    autoinc: str | None
    plain_attributes: bool
    plain_creation: bool
    wildcard: object
    any_text: type
    check: Callable[[str, Any, dict[str, Any]], None]
    def __init__(
        self,
        owner: type,
        names: tuple[str, ...],
        required: frozenset[str],
        fallbacks: dict[str, Callable[[], Any]],
        head: str,
        parts: tuple[tuple[str, str, Callable[..., str | None] | None], ...],
        autoinc: str | None,
        plain_attributes: bool,
        plain_creation: bool,
        wildcard: object,
        any_text: type,
        check: Callable[[str, Any, dict[str, Any]], None],
    ) -> None: ...

@final
class FirstChunk:
    first: bytes | None
    rest: Any
    def __init__(self, limit: int, begin_rest: Callable[[], Any]) -> None: ...
    def write(self, data: object, /) -> None: ...

def as_dict(data: object, /) -> dict[str, Any]: ...
def new_from_dict(cls: type, values: dict[str, Any]) -> Any: ...
def format_name(layout: Layout, data: object, overrides: dict[str, Any] | None) -> str: ...
def plain_name(layout: Layout, data: object, suffix: str) -> str | None: ...
def around_number(layout: Layout, data: object, suffix: str) -> tuple[str, str] | None: ...
def numbered_path(
    layout: Layout, data: object, suffix: str, prefix: str, head: str, number: int, tail: str
) -> str | None: ...
def know_array_codes(codes: dict[Any, str]) -> None: ...
def reduce_array(array: Any, /) -> str | tuple[Any, ...]: ...
def is_plain_name(text: str) -> bool: ...
def scan_folder(folder: str, head: str, tail: str, leftover: str) -> tuple[int, int]: ...

@final
class OpenFile:
    fd: int
    def __init__(self, path: str, flags: int, mode: int = 0o666) -> None: ...
    def close(self) -> None: ...

def read_small(path: str, limit: int) -> bytes | None: ...

@final
class Stamp:
    @property
    def known(self) -> bool: ...
    def is_unchanged(self, now: Stamp) -> bool: ...

UNKNOWN: Stamp
CHANGED: Stamp

def publish_unnamed(
    folder: str,
    target: str,
    data: bytes,
    stamped: bool,
    expected: Stamp | None = None,
    held: OpenFile | None = None,
) -> Stamp | None: ...
def rename_exclusively(source: str, target: str) -> bool: ...
def sync_file_system(fd: int) -> bool: ...
def reserve(fd: int, start: int, size: int) -> None: ...
def folder_stamp(folder: str) -> Stamp | None: ...
def filename(result: object, /, **overrides: object) -> str: ...
def is_numbered(layout: Layout, data: object, overrides: dict[str, Any] | None) -> bool: ...
