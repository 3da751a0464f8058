"""Which fields of a file make its name, where the class is not at hand: found by holding the two against each other.

A name alone can be read in more ways than one (``cache-Session-2023-01-02-A-1``); with the fields from the file's head
there is rarely more than one way, and the files of a folder must agree on it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._errors import is_brief

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START = "cache"
_SUFFIXES = (".pkl.gz", ".pkl")
_MOST_READINGS = 200  # of one name
SAMPLE = 25  # files of a group that must agree
_LONGEST_VALUE = 255  # bytes of a file name, and so of a key in it


class Reading(NamedTuple):
    """One way to read a name: the class, and the fields that show in it."""

    class_name: str
    keys: tuple[str, ...]


def stem_of(name: str) -> str:
    """Return the name of a file without the suffix of its format.

    >>> stem_of("cache-A-1.pkl.gz")
    'cache-A-1'
    """
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def splitter_of(name: str) -> str:
    """Return what stands between the parts of *name*, as far as it can be told: what follows ``cache``."""
    rest = name[len(START) :] if name.startswith(START) else ""
    return rest[:1] if rest and not rest[0].isalnum() else ""


def group_of(name: str) -> tuple[str, str]:
    """Return what files of one class have in common in their names: the splitter and what follows it first."""
    splitter = splitter_of(name)
    stem = stem_of(name)
    if not splitter:
        return "", ""
    return splitter, stem[len(START) + len(splitter) :].split(splitter, 1)[0]


def reading_of(names: Sequence[str], fields: Sequence[dict[str, Any]]) -> Reading:
    """Return how to read *names*, files of one group, which hold *fields*.

    :return: where nothing explains all names, with those keys only that are somewhere in each
    """
    found = agreed_reading_of(names, fields)
    if found is not None:
        return found
    splitter, first = group_of(names[0])
    return Reading(first, _loosely(_sample(names, fields), splitter) if splitter else ())


def agreed_reading_of(names: Sequence[str], fields: Sequence[dict[str, Any]]) -> Reading | None:
    """Return the reading that explains all of *names*, as far as these are looked at, or None."""
    splitter, _ = group_of(names[0])
    if not splitter:
        return None
    first, *others = _sample(names, fields)
    for reading in readings(*first, splitter):
        if all(fits(stem, texts, reading, splitter) for stem, texts in others):
            return reading
    return None


def _sample(names: Sequence[str], fields: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, str]]]:
    """Return some of *names* without their suffix, and the texts of their fields."""
    step = max(1, len(names) // SAMPLE)
    return [(stem_of(name), texts_of(it)) for name, it in zip(names[::step], fields[::step], strict=True)]


def texts_of(fields: dict[str, Any]) -> dict[str, str]:
    """Return the texts that *fields* have in a name where they are keys; of those that can't be, nothing."""
    return {key: text for key, value in fields.items() if (text := _text(value)) is not None}


def _text(value: Any) -> str | None:
    """Return the text of *value* in a name; None for what is no key."""
    if isinstance(value, tuple) and not is_brief(value):
        return None
    if isinstance(value, (str, int, float, tuple)) or value is None or hasattr(value, "item"):
        try:
            text = str(value)
        except Exception:  # integers of thousands of digits
            return None
        return text if len(text) <= _LONGEST_VALUE else None
    if hasattr(value, "isoformat"):
        return str(value)
    return None


def readings(stem: str, texts: dict[str, str], splitter: str) -> Iterator[Reading]:
    """Yield the ways to read *stem*, those with most keys first."""
    found = itertools.islice(_from_right(stem, list(texts.items()), splitter), _MOST_READINGS)
    yield from sorted(set(found), key=lambda it: (-len(it.keys), it))


def _from_right(stem: str, left: list[tuple[str, str]], splitter: str) -> Iterator[Reading]:
    """Yield the ways to read *stem*, whose last key is one of *left*, which come in this order."""
    for i in range(len(left) - 1, -1, -1):
        key, text = left[i]
        rest = _without(stem, text, splitter)
        if rest is not None:
            for before in _from_right(rest, left[:i], splitter):
                yield Reading(before.class_name, (*before.keys, key))
    class_name = stem[len(START) + len(splitter) :]
    if class_name:
        yield Reading(class_name, ())


def _without(stem: str, text: str, splitter: str) -> str | None:
    """Return *stem* without its last part, a prefix and *text*; None where it does not end so."""
    if not stem.endswith(text):
        return None
    at = stem.rfind(splitter, 0, len(stem) - len(text))
    return stem[:at] if at > len(START) else None


def fits(stem: str, texts: dict[str, str], reading: Reading, splitter: str) -> bool:
    """Return whether *stem*, of a file whose fields have *texts*, can be read so."""
    found = split(stem, texts, reading.keys, splitter)
    return found is not None and found[0] == reading.class_name


def split(stem: str, texts: dict[str, str], keys: Sequence[str], splitter: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the name of the class and the prefixes of *keys* in *stem*, of a file whose fields have *texts*.

    None where it does not end with these keys.
    """
    prefixes = []
    for key in reversed(keys):
        rest = _without(stem, texts[key], splitter) if key in texts else None
        if rest is None:
            return None
        prefixes.append(stem[len(rest) + len(splitter) : len(stem) - len(texts[key])])
        stem = rest
    class_name = stem[len(START) + len(splitter) :]
    return (class_name, tuple(reversed(prefixes))) if class_name else None


def _loosely(sample: list[tuple[str, dict[str, str]]], splitter: str) -> tuple[str, ...]:
    """Return the fields whose text ends a part of the name, in their order, in all of *sample*."""
    found: list[str] | None = None
    for stem, texts in sample:
        parts = iter(stem.split(splitter)[2:])
        here = [key for key, text in texts.items() if text and any(part.endswith(text) for part in parts)]
        found = here if found is None else [key for key in found if key in here]
    return tuple(found or ())
