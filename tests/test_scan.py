"""The compiled scan of a folder agrees with its reference."""

from __future__ import annotations

import os
import tempfile

import pytest
import reference
from hypothesis import given, strategies as st

from neuralib.persistence import _scan


@given(
    st.lists(
        st.one_of(
            st.integers(0, 10**20).map(str),
            st.sampled_from(["007", "-1", "+1", "1_0", "٣", "²", "", "1.0", " 1", "9" * 18, "9" * 19, "12x"]),
        ),
        max_size=8,
    ),
    st.sampled_from(["", "h-", "é-", "[ab]*", "h-1"]),
    st.lists(st.sampled_from(["", ".pkl", "-1.pkl", "é", "l"]), min_size=1, max_size=3),
)
def test_scan_folder_agrees_with_the_reference(numbers, head, tails):
    """Only what str(int) writes is a number."""
    with tempfile.TemporaryDirectory() as folder:
        for place, number in enumerate(numbers):
            name = head + number + tails[place % len(tails)]
            if name:
                open(os.path.join(folder, name), "w").close()
        assert _scan.scan_folder(folder, head, tuple(tails), ".x") == reference.scan_folder(
            folder, head, tuple(tails), ".x"
        )


def test_scan_folder_refuses_what_is_no_folder(tmp_path):
    """The error has the path."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _scan.scan_folder(str(tmp_path / "nowhere"), "a", ("b",), "c")
    with pytest.raises(ValueError, match="null"):
        _scan.scan_folder("a\0b", "", (), "")
    with pytest.raises(ValueError, match="tails"):
        _scan.scan_folder(str(tmp_path), "", ("x",) * 9, "")
