"""The order of texts in names: as a person would sort them."""

from __future__ import annotations

import re

from neuralib.persistence import _names

# Python refuses to read thousands of digits as a number; no name has that many, but a value in a file may.
_NUMBER = re.compile(r"-?\d{1,300}(\.\d{1,300})?(e[-+]?\d{1,9})?", re.ASCII)
_DIGITS = re.compile(r"(\d{1,300})", re.ASCII)


def ranks(texts: list[str]) -> list[int]:
    """Return the place of each of *texts* in their order: numbers first, by size (2 before 10), then texts."""
    found = _names.rank_numbers(texts)
    if found is None:
        found = [0] * len(texts)
        for rank, place in enumerate(sorted(range(len(texts)), key=lambda place: natural(texts[place]))):
            found[place] = rank
    return found


def natural(text: str) -> tuple[int, float, list[tuple[int, str] | tuple[int, int]], str]:
    """Return a natural sort key: 2 comes before 10, 0.25 before 0.5, s2 before s10."""
    if _NUMBER.fullmatch(text):
        return 0, float(text) if "." in text or "e" in text else int(text), [], text
    parts = _DIGITS.split(text)
    return 1, 0, [(0, int(part)) if place % 2 else (1, part) for place, part in enumerate(parts)], text
