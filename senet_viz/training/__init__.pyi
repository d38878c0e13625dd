"""Training a network with channel attention on a folder or on Parquet files."""
from .loop import train
from .monitor import CollapseWarning, Monitor
from .recipe import Recipe

__all__ = ["CollapseWarning", "Monitor", "Recipe", "train"]
