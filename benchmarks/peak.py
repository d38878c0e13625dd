"""The most memory that a process has held, for benchmarks that start one to measure it."""
import re
import resource
import sys
from pathlib import Path


def peak_memory() -> float:
    """MB of this process, or of the largest of its children that have ended.

    On Linux ``ru_maxrss`` begins, in a process just started, with what the one that started it held; what is read here
    does not.
    """
    unit = 1024 if sys.platform == "linux" else 2**20
    own, children = (resource.getrusage(who).ru_maxrss / unit
                     for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    if held := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()) if unit == 1024 else None:
        own = int(held[1]) / 1024
    return max(own, children)
