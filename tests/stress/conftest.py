"""What the stress tests share: how long they run, and the victims."""

from __future__ import annotations

import random

import pytest
from stress.victims import Victims


@pytest.fixture(scope="session")
def long(request):
    """Whether everything is tried, and not a sample."""
    return request.config.getoption("--long")


@pytest.fixture(scope="session")
def sample(long):
    """Return some of many, or, in the long form, all."""

    def choose(items, count):
        items = list(items)
        return items if long or len(items) <= count else random.Random(0).sample(items, count)

    return choose


@pytest.fixture(scope="module")
def victims():
    made = Victims()
    yield made
    made.close()
