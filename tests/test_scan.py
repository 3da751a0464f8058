"""The compiled scan tells the same as its reference."""

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
    st.sampled_from(["", ".pkl", "-1.pkl", "é"]),
)
def test_scan_folder_agrees_with_the_reference(numbers, head, tail):
    """Only what str(int) writes is a number."""
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            name = head + number + tail
            if name:
                open(os.path.join(folder, name), "w").close()
        assert _scan.scan_folder(folder, head, tail, ".x") == reference.scan_folder(folder, head, tail, ".x")


def test_scan_folder_refuses_what_is_no_folder(tmp_path):
    """With the path."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _scan.scan_folder(str(tmp_path / "nowhere"), "a", "b", "c")
    with pytest.raises(ValueError, match="null"):
        _scan.scan_folder("a\0b", "", "", "")
