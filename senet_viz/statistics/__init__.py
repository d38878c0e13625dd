"""Reading what was collected: archives, summaries and sentences, exports."""
from .archive import Statistics, StatisticsError, open_statistics
from .export import export

__all__ = ["Statistics", "StatisticsError", "export", "open_statistics"]
