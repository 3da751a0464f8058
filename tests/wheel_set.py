"""The wheels of a release."""

from __future__ import annotations

# A new Python is added when cibuildwheel offers it and numpy and zlib-ng have wheels for it.
PYTHONS = ["cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t"]
# For each system, the architectures as cibuildwheel names them, and the platforms of the wheels.
SYSTEMS = {
    "linux": ("x86_64,aarch64", ["manylinux_x86_64", "manylinux_aarch64", "musllinux_x86_64", "musllinux_aarch64"]),
    "macos": ("x86_64,arm64", ["macosx_x86_64", "macosx_arm64"]),
    "windows": ("AMD64,ARM64", ["win_amd64", "win_arm64"]),
}
IDENTIFIERS = {
    f"{python}-{platform}" for python in PYTHONS for _, platforms in SYSTEMS.values() for platform in platforms
}


def identifier(wheel_name):
    """Return which of them a file is: ``…-cp311-cp311-manylinux_2_17_x86_64.whl`` is ``cp311-manylinux_x86_64``."""
    _, abi, platforms = wheel_name.removesuffix(".whl").rsplit("-", 2)
    platform = platforms.split(".")[0]  # other tags in the name are older names of the same platform
    for system in ("manylinux", "musllinux", "macosx", "win"):
        if platform.startswith(system):
            for architecture in ("x86_64", "aarch64", "arm64", "amd64"):
                if platform.endswith(f"_{architecture}"):
                    return f"{abi}-{system}_{architecture}"
    return f"{abi}-{platform}"
