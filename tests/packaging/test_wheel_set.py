"""A release builds exactly the intended wheels, also after cibuildwheel is updated."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import wheel_set

ROOT = Path(__file__).parents[2]
needs_cibuildwheel = pytest.mark.skipif(find_spec("cibuildwheel") is None, reason="cibuildwheel is not installed")


def identifiers(*options):
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", *options]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split())


@needs_cibuildwheel
def test_every_python_on_every_machine():
    """A new Python or machine makes this test fail first."""
    made = set()
    for system, (architectures, _) in wheel_set.SYSTEMS.items():
        made |= identifiers("--platform", system, "--archs", architectures)
    assert made == wheel_set.IDENTIFIERS
    assert len(made) == 56


@needs_cibuildwheel
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for what is built on Linux")
def test_a_machine_builds_what_it_can_test():
    """No 32-bit wheels and no emulation by default: what a Linux machine of this kind would build."""
    made = identifiers("--platform", "linux")
    assert len(made) == 2 * len(wheel_set.PYTHONS)
    assert len({identifier.split("_", 1)[1] for identifier in made}) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64", "cp311-manylinux_x86_64"),
        ("cp314-cp314t-musllinux_1_2_aarch64", "cp314t-musllinux_aarch64"),
        ("cp312-cp312-macosx_10_13_x86_64", "cp312-macosx_x86_64"),
        ("cp315-cp315-macosx_11_0_arm64", "cp315-macosx_arm64"),
        ("cp313-cp313-win_arm64", "cp313-win_arm64"),
        ("cp311-cp311-linux_x86_64", "cp311-linux_x86_64"),
    ],
)
def test_wheels_are_told_apart_by_their_names(name, expected):
    """A wheel without a manylinux tag is refused."""
    assert wheel_set.identifier(f"neuralib_persistence-1.0.0-{name}.whl") == expected
    assert (expected in wheel_set.IDENTIFIERS) == ("-linux_" not in expected)
