"""The gates of the sampled pictures, and what they are made of, as ``collect`` keeps them beside the statistics.

How channels move together is measured while a run is merged; what two networks make of the same pictures can only be
told later, from the vectors themselves.
"""
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .archive import Statistics, StatisticsError

SAMPLE = "sample.safetensors"
SOURCES = ("gate", "squeeze")


class WholeGates:
    """Gates of pictures, at the first zoom of their run; read as they are asked for.

    Attributes:
        index: (n,) int64, the pictures' numbers in the data, as the column index of ``Statistics.images`` has them.
    """

    def __init__(self, stats: Statistics, tensors):
        self._stats, self._tensors = stats, tensors
        self.index: np.ndarray = tensors.get_tensor("index")

    def __call__(self, block, source: str = "gate", branch: int = -1) -> np.ndarray:
        """The vectors of a block, (n, C) float32.

        Args:
            block: the block, its name or its label.
            source: "gate", or "squeeze" for the squeezed input z, which has no branches.
            branch: whose gate.
        """
        values = self._tensors.get_tensor(f"{self._stats.block(block).name}.{source}")
        return values[:, 0 if source == "squeeze" else branch]


def whole_gates(stats: Statistics) -> WholeGates | None:
    """Of an archive; None for one that keeps none: a compact one, one without a sample, or one of before it was kept.

    Raises:
        StatisticsError: where they are damaged.
    """
    path = stats.path / SAMPLE
    if not path.is_file():
        return None
    try:
        return WholeGates(stats, safe_open(path, framework="np"))
    except (OSError, SafetensorError) as error:
        raise StatisticsError(f"the sample in {stats.path} is damaged ({error})") from error


def write_whole(path, index: np.ndarray, vectors: Mapping[tuple[str, str], np.ndarray]) -> None:
    """Write them.

    Args:
        path: of the file.
        index: (n,) int64.
        vectors: (name of a block, source) → (n, M, C) float32, M = 1 of "squeeze".

    Raises:
        OSError: when the disk is full.
    """
    try:
        save_file({"index": index} | {f"{name}.{source}": values for (name, source), values in vectors.items()}, path)
    except SafetensorError as error:  # what it makes of a full disk
        raise OSError(str(error)) from error
