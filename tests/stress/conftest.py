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


def pytest_generate_tests(metafunc):
    """Try each scenario of the module's ``TRIED`` in every way; in the quick form, in one way, which differs by test."""
    if {"scenario", "way"} <= set(metafunc.fixturenames):
        tried = metafunc.module.TRIED
        if not metafunc.config.getoption("--long"):
            rng = random.Random(metafunc.function.__name__)
            tried = [rng.choice([it for it in tried if it[0] == name]) for name in dict(tried)]
        metafunc.parametrize(("scenario", "way"), tried)


@pytest.fixture(scope="module")
def victims():
    made = Victims()
    yield made
    made.close()


def pytest_configure(config):
    config.addinivalue_line("markers", "long: in the long form only (--long)")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        for it in items:
            if it.get_closest_marker("long"):
                it.add_marker(pytest.mark.skip(reason="in the long form only (--long)"))
