"""Running over a data set: plan, shards, engines, merge; accuracy with gates changed."""
from .collect import collect
from .evaluate import each_block, each_stage, evaluate, open_evaluation
from .plan import Computing
from .runs import Stopped
from .shards import Settings

__all__ = ["Computing", "Settings", "Stopped", "collect", "each_block", "each_stage", "evaluate", "open_evaluation"]
