"""The folder answers as a dict would: more of what ``test_model.py`` tries."""

from __future__ import annotations

import test_model
from hypothesis import settings


def test_whatever_is_done_in_whatever_order(long):
    """With more examples, and in the long form with longer ones."""
    longer = type("Longer", (test_model.Folder,), {}).TestCase
    longer.settings = (
        settings(max_examples=2000, stateful_step_count=50, deadline=None)
        if long
        else settings(max_examples=50, stateful_step_count=20, deadline=None)
    )
    longer().runTest()
