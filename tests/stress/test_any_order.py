"""All stores agree with a dict: longer runs of what ``test_model.py`` tries."""

from __future__ import annotations

import test_model
from hypothesis import settings


def test_stores_agree_with_the_model_in_longer_runs(long):
    """More examples, and longer ones in the long form."""
    longer = type("Longer", (test_model.Places,), {}).TestCase
    longer.settings = (
        settings(max_examples=2000, stateful_step_count=50)
        if long
        else settings(max_examples=20, stateful_step_count=20)
    )
    longer().runTest()
