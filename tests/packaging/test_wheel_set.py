"""The wheels that a release makes are those that are meant, for as long as the tool that makes them is updated."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = ["cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t"]
SYSTEMS = {
    "linux": ("x86_64,aarch64", ["manylinux_x86_64", "manylinux_aarch64", "musllinux_x86_64", "musllinux_aarch64"]),
    "macos": ("x86_64,arm64", ["macosx_x86_64", "macosx_arm64"]),
    "windows": ("AMD64,ARM64", ["win_amd64", "win_arm64"]),
}

pytestmark = pytest.mark.skipif(find_spec("cibuildwheel") is None, reason="cibuildwheel is not installed")


def identifiers(*options):
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", *options]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_python_on_every_machine(system):
    """A new Python shows up here first: look whether numpy and zlib-ng have wheels for it, then add it."""
    architectures, platforms = SYSTEMS[system]
    wanted = {f"{python}-{platform}" for python in PYTHONS for platform in platforms}
    assert identifiers("--platform", system, "--archs", architectures) == wanted


def test_a_machine_builds_what_it_can_test():
    """No 32-bit wheels, and no emulation, unless asked for: here what a Linux machine of this kind would make."""
    if not sys.platform.startswith("linux"):
        pytest.skip("asks for what is built on Linux")
    made = identifiers("--platform", "linux")
    assert len(made) == 2 * len(PYTHONS)
    assert {it.split("-")[0] for it in made} == set(PYTHONS)
    assert len({it.split("_", 1)[1] for it in made}) == 1
