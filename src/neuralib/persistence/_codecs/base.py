"""What a codec is: the fields of a result as bytes, and back.

A format of your own subclasses :class:`Codec`, sets ``suffix``, defines ``encode`` and ``decode``, and is tried out with
:func:`neuralib.persistence.testing.check_codec`.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from neuralib.persistence._errors import ContractError
from neuralib.persistence._messages import shown
from neuralib.persistence._showing.previews import MAX_REPR_CHARS, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Self

    from neuralib.persistence._bytes.sources import Sink, Source
    from neuralib.persistence._codecs.card import Card

    Unpickle = Callable[..., Any]


class Head(NamedTuple):
    """What is in a file, without its large arrays: see :meth:`Codec.head`."""

    fields: dict[str, Any]
    """By name: values; for what was not read, :class:`~neuralib.persistence.ArrayHead` and
    :class:`~neuralib.persistence.ObjectHead`."""
    card: Card | None = None
    """What the file says of itself."""
    type_name: str | None = None
    """The class of the result, where the pickle says it: the oldest files do."""
    compressed: bool = False
    complete: bool = True
    """Whether these are all fields."""

    def __repr__(self) -> str:
        return f"<Head: {value_text(self.fields, MAX_REPR_CHARS)}>"


Decoded = tuple[Any, "Card | None"]
"""What :meth:`Codec.load` returns: the dict of fields (in the oldest files, the result itself), and the card."""


class Codec(abc.ABC):
    """A format of results."""

    suffix: str = ""
    """The end of the file names."""

    read_suffixes: ClassVar[tuple[str, ...]] = ()
    """The ends of the names of all files that this codec reads, where there are others than :attr:`suffix`."""

    maps_arrays: ClassVar[bool] = False
    """Whether ``mmap_mode`` can be used."""

    @abc.abstractmethod
    def encode(self, fields: Mapping[str, Any], target: Sink, /) -> None:
        """Write *fields* to *target*.

        :raises Exception: a value can't be written; nothing is stored then
        """

    @abc.abstractmethod
    def decode(self, source: Source, /, *, trust: Unpickle | None = None, mmap_mode: str | None = None) -> Any:
        """Return the dict of fields in *source*.

        :param trust: reads pickles of unknown origin; None where any object may be loaded
        :param mmap_mode: map large arrays: only asked for where :attr:`maps_arrays` is True
        :raises ValueError: the content is damaged
        """

    def head(self, source: Source, names: Collection[str] | None = None, /) -> Head:
        """Return the fields *names*, or all, without large arrays where that can be done."""
        root = self.decode(source)
        fields = dict(root if isinstance(root, dict) else vars(root))  # the oldest files hold the result itself
        return Head(fields if names is None else {name: fields[name] for name in names if name in fields})

    def check(self, source: Source, /) -> bool:
        """Read *source* to its end; return whether a checksum says that it is what was saved.

        :raises ValueError: it is damaged
        """
        self.decode(source)
        return False

    # ------------------------------------------------------------------------------------------ what handlers call

    def for_class(self, card: Card) -> Self:
        """Return this codec, or a copy that writes *card* into each file."""
        return self

    def content(self, fields: dict[str, Any], new_draft: Callable[[], Any]) -> Any:
        """Return *fields* as ``bytes`` where they are few, else as a draft.

        :param new_draft: makes a draft
        """
        draft = new_draft()
        try:
            self.encode(fields, draft)
        except BaseException:
            draft.discard()
            raise
        return draft

    def has_same_keys(self, source: Source, content: bytes) -> bool:
        """Return whether *source* surely has the class and the keys of *content*, made here: a quick look, without trust."""
        return False

    def load(self, source: Source, trust: Unpickle | None, mmap_mode: str | None) -> Decoded:
        """Return what *source* holds, and its card."""
        root = self.decode(source, trust=trust, mmap_mode=mmap_mode)
        if not isinstance(root, dict):
            expected = "the dict of fields, or a ValueError where the content is something else"
            raise ContractError(type(self).__qualname__, "decode", expected, shown(root))
        return root, None

    def verify(self, source: Source, trust: Unpickle | None) -> bool:
        """Check *source*: see :meth:`check`; without trust, within the bounds of what would be loaded."""
        return self.check(source)
