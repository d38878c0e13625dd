"""The small networks and runs of ``tests.runs`` and ``tests.comparing``."""
from tests.comparing import drawn, kinds, many, near, other_classes, without
from tests.runs import batch, compact, content, data_set, full, network, run, settings, small_maps

__all__ = ["batch", "compact", "content", "data_set", "drawn", "full", "kinds", "many", "near", "network",
           "other_classes", "run", "settings", "small_maps", "without"]
