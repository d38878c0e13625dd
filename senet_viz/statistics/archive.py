"""Statistics on disk: one folder, opened by memory map."""
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from ..data.checksums import damaged
from ..gates import AttentionBlock, Subspace
from ..gates.blocks import block_of
from .drivers import DRIVERS

if TYPE_CHECKING:
    import plotly.graph_objects as go

TENSORS, IMAGES, METADATA = "statistics.safetensors", "images.parquet", "metadata.json"
SOURCES = ("gate", "shuffled", "squeeze", "random")
# of a gate's channels together
MEASURES = ("dimension", "error", "first", "redundancy", "tail", "classes", "trimmed", "decoded", "nearest", "asked",
            "among")
COMPONENTS = 8  # principal directions that are kept of each gate
FARTHEST = 20  # pictures that are named of each gate, and of its input
DESCRIBED = (  # of each block
    "name", "label", "kind", "channels", "branches", "kernels", "stage", "index", "gate", "paths", "shortcut",
    "shortcut_is_input", "split_input", "squeeze")


class StatisticsError(ValueError):
    """A folder that holds no statistics, or damaged ones; the message is one sentence."""


class Statistics:
    """Channel attention over a data set. ``open_statistics`` makes one; tensors are read as they are asked for.

    A block is given by its name, its label, or itself; ``zoom`` is one of ``zooms``. K classes, M branches, C channels.
    A pickle holds the folder's path alone, which is opened anew.

    Attributes:
        path: the folder.
        metadata: what the run depended on ("model", "weights", "data", "settings", "versions", …), and counts:
            "images" (looked at), "unlabelled", "unreadable" (unreadable.csv names them), "compact".
        blocks: the network's attention blocks, in network order.
        classes: the K names.
        zooms: the factors by which pictures were enlarged.
        count: (K,) int64, pictures of each class.
    """

    def __init__(self, path: Path, metadata: dict, tensors):
        self.path, self.metadata, self._tensors = path, metadata, tensors
        self._names = frozenset(tensors.keys())
        self.blocks = [AttentionBlock(**{name: _tuple(block[name]) for name in DESCRIBED})
                       for block in metadata["blocks"]]
        self.classes: list[str] = list(metadata["classes"])
        self.zooms: tuple[float, ...] = tuple(metadata["settings"]["zooms"])
        self.count = self._get("count")

    def __reduce__(self) -> tuple:
        return open_statistics, (self.path.absolute(),)  # another process may work in another folder

    def __repr__(self) -> str:
        return (f"Statistics({self.metadata['model']!r} on {self.metadata['data']!r}: {self.metadata['images']:,} "
                f"images, {len(self.classes)} classes, {len(self.blocks)} blocks, zooms {self.zooms})")

    def _repr_html_(self) -> str:
        from .showing import html

        return html(self)

    def plot(self, which: str = "classes", block=None, *, zoom: float | None = None, **options) -> "go.Figure":
        """A Plotly figure of the statistics, the same as on the page Classes.

        =============  =================================================================================================
        ``which``      what is drawn
        =============  =================================================================================================
        "classes"      the mean gate of some classes channel by channel, in some blocks (the SE paper's Fig. 6);
                       ``classes`` and ``blocks`` name them, ``band`` is "std" or "error"
        "specificity"  how much of each block's variance goes with the class (ω²), beside controls
        "dimension"    in how many directions each gate moves, beside its input and random weights
        "driving"      what predicts each gate; ``properties=True`` shows the properties of the picture one by one
        "heat_map"     every class in every channel of one block; ``centred`` and ``clustered`` are True or False
        "saturation"   how many channels are dead, always open or constant
        "kernels"      what a zoom changes in the choice of kernels, beside controls
        =============  =================================================================================================

        Args:
            which: one of these.
            block: for "heat_map"; the last one when None.
            zoom: one of ``zooms``; the first when None, of "kernels" the first above 1.
            options: as told above.

        Raises:
            ValueError: one sentence, for a figure, block, class or zoom that there is none of, and for what these
                statistics do not tell.

        >>> stats.plot("classes", classes=["teapot", "ladybug"], blocks=["SE_5_3"], band="std")
        """
        from .showing import plot

        return plot(self, which, block, zoom, options)

    def mean(self, block, zoom: float = 1.0) -> np.ndarray:
        """Mean gate of each class, (K, M, C) float64; nan for a class without pictures."""
        if self.fine:
            return self._by_class(block, "deviation", zoom) + self._overall(block, "mean", zoom)
        return self._by_class(block, "mean", zoom)

    def std(self, block, zoom: float = 1.0) -> np.ndarray:
        """Standard deviation of the gate over the pictures of each class (dividing by their number), (K, M, C)."""
        if f"{self.block(block).name}.std" in self._names:
            return self._by_class(block, "std", zoom)
        with np.errstate(invalid="ignore"):
            return np.sqrt(self._by_class(block, "M2", zoom) / self.count[:, None, None])

    def min(self, block, zoom: float = 1.0) -> np.ndarray:
        """Smallest gate in each class, (K, M, C). Raises ValueError in a compact archive, which keeps none."""
        return self._by_class(block, "min", zoom)

    def max(self, block, zoom: float = 1.0) -> np.ndarray:
        """Largest gate in each class, (K, M, C). Raises ValueError in a compact archive, which keeps none."""
        return self._by_class(block, "max", zoom)

    def overall_mean(self, block, weight: str = "image", zoom: float = 1.0) -> np.ndarray:
        """Mean gate over all, (M, C): over all pictures, unlabelled ones too ("image"), or over class means ("class").

        The SE paper's "all" is the second; they differ where classes have different numbers of pictures.
        """
        if weight == "class":
            return np.nanmean(self.mean(block, zoom), axis=0)
        if weight != "image":
            raise ValueError(f"weight is 'image' or 'class', not {weight!r}")
        return self._overall(block, "mean", zoom)

    def overall_std(self, block, zoom: float = 1.0) -> np.ndarray:
        """Standard deviation of the gate over all pictures, (M, C)."""
        return np.sqrt(self._overall(block, "M2", zoom) / self.metadata["images"])

    def overall_min(self, block, zoom: float = 1.0) -> np.ndarray:
        """Smallest gate of all, (M, C)."""
        return self._overall(block, "min", zoom)

    def overall_max(self, block, zoom: float = 1.0) -> np.ndarray:
        """Largest gate of all, (M, C)."""
        return self._overall(block, "max", zoom)

    def histogram(self, block, zoom: float = 1.0) -> np.ndarray:
        """Counts of pictures in equal bins of the gate's value over 0..1, (M, C, bins) int64."""
        return self._get(f"{self.block(block).name}.histogram", zoom).astype(np.int64)

    @property
    def fine(self) -> bool:
        """Whether a compact archive keeps each class's deviation from the mean of all, not its mean, in float16."""
        return f"{self.blocks[0].name}.deviation" in self._names

    def variance(self, block, source: str = "gate", zoom: float = 1.0, draw: int = 0
                 ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of squares between the classes and within them, over labelled pictures: two arrays (M, C).

        Args:
            block: whose gate.
            source: "gate"; or a control: "shuffled" (the same gates, labels dealt out anew; nan for channels that were
                not sampled), "squeeze" (the squeezed input z of the block; M = 1), "random" (the gate of the same
                network with random weights).
            zoom: one of ``zooms``.
            draw: which draw of random weights, 0 to ``draws`` − 1.

        Raises:
            ValueError: for a source that the run did not look at.
        """
        if source not in self.sources:
            raise ValueError(f"these statistics hold {', '.join(self.sources)}, not {source!r}")
        name = self.block(block).name
        between, within = (self._get(f"{name}.{source}.{part}", zoom) for part in ("between", "within"))
        if source == "random":
            between, within = self._drawn(between, draw, 2), self._drawn(within, draw, 2)
        return between, within

    def tells(self, name: str) -> bool:
        """Whether something that is measured from the sample is there: "measures", "rank", "farthest" or "drivers"."""
        first = self.blocks[0].name
        return bool(self.sampled) and not self._names.isdisjoint({f"{first}.{name}", f"{first}.gate.{name}"})

    @property
    def draws(self) -> int:
        """How often random weights were drawn anew for the control "random"; 0 where the run had none."""
        name = f"{self.blocks[0].name}.random.between"
        if name not in self._names:
            return 0
        first = self._tensors.get_slice(name)[0]
        return len(first) if first.ndim == 3 else 1

    @staticmethod
    def _drawn(values: np.ndarray, draw: int, dimensions: int) -> np.ndarray:
        """One draw's values; archives of before there were several have no axis for them."""
        return values[draw] if values.ndim > dimensions else values

    @property
    def sources(self) -> list[str]:
        """What ``variance`` can tell of."""
        return [source for source in SOURCES if f"{self.blocks[0].name}.{source}.between" in self._names]

    def measures(self, block, source: str = "gate", branch: int = -1, zoom: float = 1.0, draw: int = 0
                 ) -> dict[str, float]:
        """How a block's channels move together, measured from the sampled pictures; nan where it cannot be told.

        Keys: dimension (participation ratio of the covariance, 1 or more), error (its standard error), first (share of
        the variance along the first direction), redundancy (mean squared correlation of two channels), tail (share of
        the variance that 1 % of the pictures hold), classes (effective number of classes among which the variance
        between classes is spread), trimmed (the dimension without that 1 % of the pictures), decoded (share of pictures
        whose class is told from it, 0..1), nearest (share of pictures to whose gate the mean of their own class is the
        nearest, as ``summaries.nearest_classes`` measures it), asked and among (how many pictures decoded is a share
        of, and how many classes they have). ``senet_viz.statistics.dimension`` and ``decoding`` say how.

        Args:
            block: whose gate.
            source: "gate"; "squeeze" (the squeezed input z of the block, which has no branches) or, where the run
                looked at it, "random" (the gate of the same network with random weights).
            branch: whose gate.
            zoom: one of ``zooms``.
            draw: which draw of random weights, 0 to ``draws`` − 1.

        Raises:
            ValueError: for statistics without a sample of pictures, and a source that the run did not look at.
        """
        name = f"{self.block(block).name}.{source}.measures"
        self._sampled()
        if name not in self._names:
            raise ValueError(f"the dimension was not measured of {source!r} in these statistics")
        values = self._get(name, zoom)
        values = self._drawn(values, draw, 2) if source == "random" else values
        told = values[0 if source == "squeeze" else branch].tolist()
        return dict.fromkeys(MEASURES, np.nan) | dict(zip(MEASURES, told))  # earlier archives have fewer

    def rank_specificity(self, block, source: str = "gate", branch: int = -1, zoom: float = 1.0, draw: int = 0
                         ) -> np.ndarray:
        """ω² of each channel's ranks over the sampled pictures that have a label, (C,); nan where it cannot be told.

        A few outliers weigh no more in it than any other picture. Arguments and errors are those of ``measures``.
        """
        values = self._of_sample(block, f"{source}.rank", zoom)
        values = self._drawn(values, draw, 2) if source == "random" else values
        return values[0 if source == "squeeze" else branch].astype(float)

    def farthest(self, block, source: str = "gate", branch: int = -1, zoom: float = 1.0) -> np.ndarray:
        """The sampled pictures farthest from the mean of a gate or ("squeeze") of its input, the farthest first.

        Up to ``FARTHEST`` numbers, as the column index of ``images`` has them, int64. Arguments and errors are those of
        ``measures``.
        """
        values = self._of_sample(block, f"{source}.farthest", zoom)[0 if source == "squeeze" else branch]
        return values[values >= 0]

    def drivers(self, block, branch: int = -1, zoom: float = 1.0) -> dict[str, float]:
        """What share of the gate's variance, before its activation, each of ``senet_viz.statistics.drivers`` predicts.

        nan for what is not known of these pictures. Arguments and errors are those of ``measures``.
        """
        return dict(zip(DRIVERS, self._of_sample(block, "drivers", zoom)[branch].tolist()))

    def hidden(self, block, zoom: float = 1.0) -> dict[str, float]:
        """A block's hidden layer; {} for a block without one.

        Keys: units, alive (how many are above zero in 1 to 99 % of the sampled pictures), effective (their effective
        number by what each adds to the gate before its activation).

        Raises:
            ValueError: for statistics without a sample of pictures.
        """
        name = f"{self.block(block).name}.hidden"
        self._sampled()
        if name not in self._names:
            return {}
        return dict(zip(("units", "alive", "effective"), self._get(name, zoom).tolist()))

    def components(self, block, zoom: float = 1.0) -> np.ndarray:
        """The first principal directions of the gate over the sampled pictures, (k, M, C) float32, each of length 1.

        k is ``COMPONENTS``, or less where the gate has no more.

        Raises:
            ValueError: for statistics without a sample of pictures.
        """
        self._sampled()
        directions = self._get(f"{self.block(block).name}.components", zoom).astype(np.float32).swapaxes(0, 1)
        return directions[np.square(directions).sum(2).min(1) > 0.5]  # where there are no more they are 0

    def rank(self, k: int, zoom: float = 1.0) -> dict[str, Subspace]:
        """Each block's mean gate over all pictures and first k principal directions, for edits (``sv.Edit``).

        Args:
            k: 0 or more; 0 is the mean alone. Of a gate with fewer directions, or where fewer are kept (at most
                ``COMPONENTS``), the edit of its block is refused.
            zoom: one of ``zooms``.

        Raises:
            ValueError: for statistics without a sample of pictures.

        >>> sv.inspect(model, batch, edits=[sv.Edit("SE_4_*", stats.rank(1))])
        """
        found = {}
        for block in self.blocks:
            directions = self.components(block, zoom) if k else np.zeros((0, block.branches, block.channels))
            mean = self.overall_mean(block, zoom=zoom)
            found[block.name] = Subspace(mean.astype(np.float32), directions[:k].astype(np.float32), k)
        return found

    @property
    def sampled(self) -> int:
        """How many pictures' gates were kept whole to measure how channels move together; 0 for none."""
        return self.metadata.get("sampled", 0)

    def _of_sample(self, block, name: str, zoom: float) -> np.ndarray:
        self._sampled()
        name = f"{self.block(block).name}.{name}"
        if name not in self._names:
            raise ValueError("these statistics do not tell: they were collected before it was measured, or the run did "
                             "not look at it; collect them anew")
        return self._get(name, zoom)

    def _sampled(self) -> None:
        if not self.sampled:
            raise ValueError("these statistics do not tell how channels move together: they were collected without a "
                             "sample of whole gates, or before there was one; collect them anew")

    def images(self, columns: list[str] | None = None) -> pd.DataFrame:
        """A row a picture and look.

        Columns: index, file, label (−1 for none), look ("zoom", or "blur" or "elsewhere", which are compared with it),
        zoom (its factor), top1, probability; where boxes are known, box (the object's share of the picture) and fits
        (whether it lies whole in what the zoom leaves, before the transform's own crop); of each block's last branch
        LABEL_mean, _std, _below (share of channels under .05), _above (over .95), and of units that weigh branches
        _difference (mean over channels of the last branch's weight minus the first's). A compact archive has only the
        means, or the differences.
        """
        return pq.read_table(self.path / IMAGES, columns=columns).to_pandas()

    def block(self, block) -> AttentionBlock:
        """The block of a name or a label.

        Raises:
            ValueError: where there is none.
        """
        return block_of(self.blocks, block)

    @cached_property
    def pictures(self) -> int:
        """How many pictures were looked at, unlabelled ones too."""
        return self.metadata["images"]

    def _by_class(self, block, moment: str, zoom: float) -> np.ndarray:
        name = f"{self.block(block).name}.{moment}"
        if name not in self._names:
            raise ValueError("compact statistics keep no extremes by class; overall_min and overall_max are there")
        values = self._get(name, zoom).astype(np.float64)
        values[self.count == 0] = np.nan
        return values

    def _overall(self, block, moment: str, zoom: float) -> np.ndarray:
        return self._get(f"{self.block(block).name}.overall_{moment}", zoom)

    def _get(self, name: str, zoom: float | None = None) -> np.ndarray:
        if zoom is None:
            return self._tensors.get_tensor(name)
        if zoom not in self.zooms:
            raise ValueError(f"these statistics were taken at zoom {', '.join(f'{z:g}' for z in self.zooms)}, not at "
                             f"{zoom!r}")
        return self._tensors.get_slice(name)[self.zooms.index(zoom)]


def open_statistics(path: str | Path) -> Statistics:
    """The statistics that ``python -m senet_viz collect`` wrote into a folder.

    Raises:
        FileNotFoundError: when there is no such folder.
        StatisticsError: when it holds none, not yet (an unfinished run), or damaged ones.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}")
    if not (path / METADATA).is_file():
        raise StatisticsError(f"{path} holds an unfinished run: collect again with the same arguments to finish it"
                              if (path / "run.json").is_file() else f"{path} holds no statistics")
    try:
        metadata = json.loads((path / METADATA).read_text(encoding="utf-8"))
        if name := damaged(path / METADATA, metadata):
            raise ValueError(f"{name} has changed since it was written")
        return Statistics(path, metadata, safe_open(path / TENSORS, framework="np"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise StatisticsError(f"the statistics in {path} are damaged ({error})") from error


def describe(blocks: list[AttentionBlock]) -> list[dict]:
    """Blocks as JSON holds them."""
    return json.loads(json.dumps([{name: getattr(block, name) for name in DESCRIBED} for block in blocks]))


def _tuple(value):
    return tuple(value) if isinstance(value, list) else value
