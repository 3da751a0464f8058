"""What file names say, read by the card of their class: which keys have which texts, and whether the name fits the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuralib.persistence import _names
from neuralib.persistence._classes.name_texts import START
from neuralib.persistence._classes.value_texts import NoFixedTextError, from_portable_text, portable_text, value_text
from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence._messages import is_brief
from neuralib.persistence._naming.names import Pattern, readings
from neuralib.persistence._naming.typed import UNDECIDED, reader_of_kind
from neuralib.persistence._trust.stand_ins import ArrayHead, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from neuralib.persistence._codecs.card import Card

    Texts = dict[str, str]

SUFFIXES = PickleCodec.read_suffixes
"""How the names of files end that can be looked into."""

_READERS = {kind.__name__: reader_of_kind(kind) for kind in (int, float, bool, str)}  # by annotation
_MAX_CHARS = 1 << 14  # of the texts in a key: no name is as long
_MOST_SPLITTERS = 12  # in a name whose readings are compared


def suffix_of(name: str) -> str:
    """Return which of :data:`SUFFIXES` *name* ends with; an empty text where it is none."""
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def text_in_name(card: Card, value: Any) -> str | None:
    """Return the text that *value*, from a head, has in a name; None where that can't be told without its class."""
    try:
        if is_brief(value, max_chars=_MAX_CHARS) and _is_plain(value):
            return portable_text(value_text(value)) if card.portable else value_text(value)
    except (NoFixedTextError, RecursionError):  # an integer of thousands of digits
        pass
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_plain(tuple(value.items()))
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(map(_is_plain, value))
    return not isinstance(value, (ArrayHead, ObjectHead))


def pattern_of(card: Card, suffix: str, known: Texts, *, loose: bool = False) -> Pattern:
    """Return the pattern of the names whose keys have the texts *known*; other keys may have any.

    :param loose: whether keys whose text a function makes may also be left out, with their prefixes
    """
    literals = [START + card.splitter + card.name]
    columns: list[int] = []
    for column, (key, prefix) in enumerate(card.keys):
        left_out = loose and key in card.function_keys
        if not left_out:
            literals[-1] += card.splitter + prefix + known.get(key, "")
        # A key right after another one of unknown text is a part of that text.
        if (left_out or key not in known) and (literals[-1] or not columns):
            columns.append(column)
            literals.append("")
    literals[-1] += suffix
    return Pattern(tuple(literals), tuple(columns))


def read_names(names: Iterable[str], card: Card, pattern: Pattern) -> Iterator[tuple[str, Texts, bool]]:
    """Yield the names that fit *pattern*, the texts of its keys, and whether that is the only way to read the name."""
    table = _names.read_names(list(names), [pattern], (None,) * len(card.keys))
    for row, name in enumerate(table.all_names()):
        codes = table.codes_of(row)
        texts = {card.keys[column][0]: table.texts[column][codes[column]] for column in pattern.columns}
        yield name, texts, not table.doubtful(row)


def compare(name: str, card: Card, fields: dict[str, Any]) -> tuple[bool | None, Texts | None]:
    """Return whether *name* is that of a file with these *fields*, and the texts of its keys.

    The first is None where only the class can tell; the second where the name can't be read by the card: it is another
    one, an ending of the user's own follows the keys, or a key is left out.
    """
    texts = {
        key: text_in_name(card, fields[key]) for key, _ in card.keys if key in fields and key not in card.function_keys
    }
    known = {key: text for key, text in texts.items() if text is not None}
    suffix = suffix_of(name)
    for _, found, alone in read_names([name], card, pattern_of(card, suffix, known)):
        return None if found else True, {**known, **(found if alone else {})}
    if not name.startswith(START) or _fits(name, card, pattern_of(card, suffix, known, loose=True)):
        return None, None
    last = pattern_of(card, "", known).literals[-1]
    ending = name[name.rfind(last) + len(last) :]
    if ending and not ending[0].isalnum() and _fits(name, card, pattern_of(card, ending, known)):
        return None, None
    return False, None


def _fits(name: str, card: Card, pattern: Pattern) -> bool:
    return any(True for _ in read_names([name], card, pattern))


def key_value(card: Card, key: str, text: str) -> Any:
    """Return the value of *text* where the key is annotated with a plain type, else the text.

    It is ``UNDECIDED`` where a plain type has no value of this text, or more than one.
    """
    read = _READERS.get(card.fields.get(key, ""))
    text = from_portable_text(text) if card.portable else text
    return text if read is None else read(text)


class NameReader:
    """Reads keys from the names of one class, and remembers which texts its files hold.

    :param card: of the class
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        self._patterns = {suffix: pattern_of(card, suffix, {}) for suffix in SUFFIXES}
        self._seen: dict[str, set[str]] = {key: set() for key, _ in card.keys}

    def note(self, texts: Texts) -> None:
        """Remember the *texts* of the keys of a file."""
        for key, text in texts.items():
            self._seen[key].add(text)
        if self.card.keys and (first := texts.get(self.card.keys[0][0])) is not None:
            self._seen[self.card.keys[0][0]].add(self._start(first))

    def _start(self, text: str) -> str:
        return text.split(self.card.splitter, 1)[0] + self.card.splitter if self.card.splitter else text

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """Yield the names that may be of this class, with their keys; with None where only the file can tell."""
        by_suffix: dict[str, list[str]] = {}
        for name in names:
            by_suffix.setdefault(suffix_of(name), []).append(name)
        for suffix, same in by_suffix.items():
            for name, texts, alone in read_names(same, self.card, self._patterns[suffix]):
                if not alone or not self._is_own(texts):
                    yield name, self._only_reading(name, self._patterns[suffix])
                else:
                    yield name, self._values(texts)

    def _is_own(self, texts: Texts) -> bool:
        """Return whether the name is surely not that of a class whose name begins with this one's."""
        first = next(iter(texts.values()), "")
        start = self._start(first)
        return not first.startswith(start) or start in self._seen[self.card.keys[0][0]]

    def _only_reading(self, name: str, pattern: Pattern) -> dict[str, Any] | None:
        """Return the keys of a name that can be read in several ways, if one way alone has texts that files hold."""
        if not self.card.splitter or name.count(self.card.splitter) > _MOST_SPLITTERS:
            return None
        found = []
        for columns in readings(name, [pattern]):
            texts = {self.card.keys[column][0]: text for column, text in columns.items()}
            keys = self._values(texts)
            if keys is not None and all(
                isinstance(keys[key], (int, float)) or text in self._seen[key] for key, text in texts.items()
            ):
                found.append(keys)
        return found[0] if len(found) == 1 else None

    def _values(self, texts: Texts) -> dict[str, Any] | None:
        keys = {key: key_value(self.card, key, text) for key, text in texts.items()}
        return None if any(value is UNDECIDED for value in keys.values()) else keys
