"""Settings for all tests: machines are shared, and some interpreters slow, so no test has a deadline."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("patient", **SLOW)
settings.register_profile(
    "few", **SLOW, max_examples=10
)  # for emulated machines, or memcheck: --hypothesis-profile=few
settings.load_profile("patient")


def pytest_addoption(parser):
    """The long form of the stress tests tries everything, for an hour or more."""
    parser.addoption("--long", action="store_true", help="let the stress tests try everything, not a sample")
