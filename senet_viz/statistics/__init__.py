"""Statistics of channel attention over data sets: collecting them, and opening what was collected."""
from .archive import Statistics, StatisticsError, open_statistics
from .collect import Stopped, collect
from .export import export
from .shards import Settings

__all__ = ["Settings", "Statistics", "StatisticsError", "Stopped", "collect", "export", "open_statistics"]
