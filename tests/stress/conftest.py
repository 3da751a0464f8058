"""Shared fixtures of the stress tests: the quick or the long form, and the processes that are traced."""

from __future__ import annotations

import random

import pytest
from stress.victims import Victims


@pytest.fixture(scope="session")
def long(request):
    """Whether the long form was asked for by ``--long``: all cases, and not a sample."""
    return request.config.getoption("--long")


@pytest.fixture(scope="session")
def sample(long):
    """A function that returns some of many items: always the same; in the long form, all."""

    def choose(items, count):
        items = list(items)
        return items if long or len(items) <= count else random.Random(0).sample(items, count)

    return choose


def pytest_generate_tests(metafunc):
    """Run tests with ``scenario`` and ``publishing`` for each pair in the module's ``TRIED``.

    In the quick form, each scenario has one method of publishing, which differs from test to test.
    """
    if {"scenario", "publishing"} <= set(metafunc.fixturenames):
        tried = metafunc.module.TRIED
        if not metafunc.config.getoption("--long"):
            rng = random.Random(metafunc.function.__name__)
            tried = [rng.choice([case for case in tried if case[0] == name]) for name in dict(tried)]
        metafunc.parametrize(("scenario", "publishing"), tried)


@pytest.fixture(scope="module")
def victims():
    """Starts processes under strace, and disturbs them."""
    made = Victims()
    yield made
    made.close()


def pytest_configure(config):
    config.addinivalue_line("markers", "long: in the long form only (--long)")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        for test in items:
            if test.get_closest_marker("long"):
                test.add_marker(pytest.mark.skip(reason="in the long form only (--long)"))
