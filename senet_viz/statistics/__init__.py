"""Statistics of channel attention over data sets: collecting and opening them; accuracy with gates changed."""
from .archive import Statistics, StatisticsError, open_statistics
from .collect import collect
from .evaluate import each_block, each_stage, evaluate, open_evaluation
from .export import export
from .plan import Computing
from .runs import Stopped
from .shards import Settings

__all__ = [
    "Computing", "Settings", "Statistics", "StatisticsError", "Stopped", "collect", "each_block", "each_stage",
    "evaluate", "export", "open_evaluation", "open_statistics",
]
