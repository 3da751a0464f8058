"""The peak of this process's memory.

Not by ``getrusage`` where Linux can tell: there a child begins with the peak of the process that started it, which hides
what the child takes.
"""

from __future__ import annotations

import sys


def peak_bytes() -> int:
    """Return the most memory that this process has had at once."""
    if sys.platform == "linux":
        with open("/proc/self/status") as status:
            return next(int(it.split()[1]) << 10 for it in status if it.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    """Let the peak begin again with what this process has now, where the system can do that."""
    if sys.platform == "linux":
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
