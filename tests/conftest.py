"""Settings for all tests: these machines are shared, so no test has a deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.register_profile("few", deadline=None, max_examples=10)  # for emulated machines: --hypothesis-profile=few
settings.load_profile("patient")


def pytest_addoption(parser):
    """The long form of the stress tests tries everything, for an hour or more."""
    parser.addoption("--long", action="store_true", help="let the stress tests try everything, not a sample")
