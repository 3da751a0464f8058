"""Settings for all tests: machines are shared, and some interpreters slow, so no test has a deadline.

Hypothesis tries the same examples in each run, so that none fails by chance; in the long form it tries others each time.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("patient", **SLOW, derandomize=True)
settings.register_profile("long", **SLOW, derandomize=False)
settings.register_profile(
    "few", **SLOW, derandomize=True, max_examples=10
)  # for emulated machines, or memcheck: --hypothesis-profile=few
settings.load_profile("patient")


def pytest_addoption(parser):
    """The long form of the stress tests tries everything, for an hour or more."""
    parser.addoption("--long", action="store_true", help="let the stress tests try everything, not a sample")


def pytest_configure(config):
    """Before the tests are imported, which take their settings then."""
    if config.getoption("--long"):
        settings.load_profile("long")
