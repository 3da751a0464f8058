"""Settings for all tests: machines are shared, and some interpreters slow, so no test has a deadline.

Hypothesis tries the same few examples in each run, so that none fails by chance and nobody waits. ``--hypothesis-profile``
chooses another number: ``many`` for a change that is to be accepted, ``few`` for emulated machines and memcheck. The long
form tries other examples each time.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", **SLOW, derandomize=True, max_examples=30)
settings.register_profile("many", **SLOW, derandomize=True, max_examples=300)
settings.register_profile("few", **SLOW, derandomize=True, max_examples=10)
settings.register_profile("long", **SLOW, derandomize=False, max_examples=1000)
settings.load_profile("quick")


def pytest_addoption(parser):
    """Add ``--long``, with which stress tests try everything, for an hour or more."""
    parser.addoption("--long", action="store_true", help="let the stress tests try everything, not a sample")


def pytest_configure(config):
    """Load the profile before tests are imported, since they take their settings then."""
    if config.getoption("--long"):
        settings.load_profile("long")
    _let_children_share_bytecode(config)


def _let_children_share_bytecode(config):
    """If bytecode is not to be written beside the sources, keep it in a temporary folder.

    Otherwise each of the hundred processes that tests start would compile numpy and the package anew.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        folder = tempfile.mkdtemp(prefix="bytecode-")
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture
def listing_is_cheap(monkeypatch):
    """Names are listed whenever that is needed: on a busy machine one listing may take all of the time that it may take."""
    monkeypatch.setattr("neuralib.persistence._keeping.numbering._MOST_CREDIT_S", 1e9)
