"""Training a network with channel attention on a folder or on Parquet files."""
from .recipe import Recipe
from .train import train

__all__ = ["Recipe", "train"]
