"""Training a network with channel attention on a folder or on Parquet files."""
from .loop import train
from .recipe import Recipe

__all__ = ["Recipe", "train"]
