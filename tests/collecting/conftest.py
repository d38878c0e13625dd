"""The small networks and runs of ``tests.runs``."""
from tests.runs import batch, compact, content, data_set, full, network, run, settings, small_maps

__all__ = ["batch", "compact", "content", "data_set", "full", "network", "run", "settings", "small_maps"]
