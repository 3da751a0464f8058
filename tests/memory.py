"""The peak of this process's memory.

On Linux, ``getrusage`` is not used: a child process begins with the peak of the process that started it, which hides what the
child takes itself.
"""

from __future__ import annotations

import sys


def peak_bytes() -> int:
    """Return the most memory that this process has had at once."""
    if sys.platform == "linux":
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    """Let the peak begin again with what this process has now, where the system can do that."""
    if sys.platform == "linux":
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
