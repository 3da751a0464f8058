"""The question before something is changed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from neuralib.persistence._commands.entries import UsageError
from neuralib.persistence._commands.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_LISTED = 20


def confirmed(lines: Sequence[tuple[str, str]], question: str, verb: str) -> bool:
    """Show *lines*, each with its style, and return whether the user says yes to *question*.

    :raises UsageError: nobody can be asked
    """
    if not sys.stdin.isatty():
        raise UsageError(f"not an interactive terminal: pass --yes to {verb}, or --dry-run to see what would happen")
    out = Screen(stream=sys.stderr)
    for text, style in lines[:_MAX_LISTED]:
        out.line(f"  {text}", style)
    if len(lines) > _MAX_LISTED:
        out.line(f"  … and {len(lines) - _MAX_LISTED:,} more")
    out.stream.write(f"{question} [y/N] ")
    out.stream.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
