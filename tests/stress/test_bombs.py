"""Small files that would take much memory or time: those that need seconds, which the other tests leave out."""

from __future__ import annotations

import pytest
import test_heads
import test_trust
from test_trust import handler as handler  # the fixture


@pytest.mark.parametrize("label", sorted(test_trust.SLOW_BOMBS))
def test_bombs_take_no_memory_when_loaded(label, handler, tmp_path):
    """Those whose keys take ages to hash."""
    test_trust.test_bombs_take_no_memory_and_no_time(label, handler, tmp_path)


@pytest.mark.parametrize("label", sorted(test_trust.SLOW_BOMBS))
def test_bombs_take_no_memory_when_their_head_is_read(label, tmp_path):
    """Files whose keys take ages to hash."""
    test_heads.test_bombs_take_no_memory(label, tmp_path)


@pytest.mark.parametrize("label", test_heads.EXPANDING)
def test_what_expands_is_bounded(label, tmp_path):
    """However large a compressed file claims to be."""
    test_heads.check_what_expands_is_bounded(label, tmp_path)
