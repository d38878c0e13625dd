"""The most memory that a process has held, for benchmarks that start one to measure it."""
import re
import resource
import sys
from pathlib import Path


def peak() -> float:
    """MB of this process, or of the largest of its children that have ended."""
    unit = 1024 if sys.platform == "linux" else 2**20
    own, children = (resource.getrusage(who).ru_maxrss / unit
                     for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    if sys.platform == "linux":  # where ru_maxrss begins with what the process held that started this one
        own = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / unit
    return max(own, children)
