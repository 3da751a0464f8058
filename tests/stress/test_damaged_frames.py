"""Every flipped bit and every length of large files, in each way of reading; ``test_frames.py`` tries some."""

from __future__ import annotations

import pytest
from test_frames import LARGE, check_damage, way as way  # the fixture: each test in each way of reading


@pytest.mark.parametrize("size", [10, LARGE])
def test_every_bit_and_every_length_counts(tmp_path, size):
    """A flip or a cut is an error that names the file, or harmless; it is never silently other data."""
    check_damage(tmp_path / "a.pkl", size)
