"""Single photos beside a data set's statistics: their gates over the means of their classes.

``gates`` are those of one picture each, picture → block name → (M, C), as ``gates_of`` gives them, of the network that
the statistics are of; ``classes`` says what each shows, picture → the class's name. Which class a photo is nearest to
tells ``summaries.nearest_classes``.
"""
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..gates import View
from ..tables import panels
from .archive import Statistics
from .summaries import block_lines, class_names

SHOWN = 8  # classes in a figure, and colours


def gates_of(views: Mapping[str, View]) -> dict[str, dict[str, np.ndarray]]:
    """The gates of each picture: picture → block name → (M, C), float32.

    Args:
        views: of one picture each, by its name.
    """
    return {name: {block: gate[0].cpu().numpy() for block, gate in view.gates.items()} for name, view in views.items()}


def known_classes(stats: Statistics, classes: Mapping[str, str]) -> list[int]:
    """Which of the photos' classes the data set has pictures of: indices in order of appearance, at most ``SHOWN``."""
    index = {name: i for i, name in enumerate(class_names(stats)) if stats.count[i] > 0}
    return [index[name] for name in dict.fromkeys(classes.values()) if name in index][:SHOWN]


def lines(stats: Statistics, gates: Mapping[str, Mapping[str, np.ndarray]], classes: Mapping[str, str], *,
          zoom: float = 1.0) -> pd.DataFrame:
    """The photos' gates beside the means of their classes and of all, in the blocks of the SE paper's Fig. 6.

    The columns of ``summaries.block_lines``, and photo (is the line a photo's, whose name then stands as class) and own
    (the photo's class). The line over all is the mean of class means, or of pictures where none has a label.

    Args:
        stats: the statistics.
        gates: of the photos; the last branch is taken, as of the classes.
        classes: of the photos; those without one, as of a network that gives no classes, have no line of a class.
        zoom: of the pictures behind the statistics.
    """
    known, overall = known_classes(stats, classes), "class" if (stats.count > 0).any() else "image"
    parts = []
    for block in panels(stats.blocks):
        parts.append(block_lines(stats, [block], known, overall=overall, zoom=zoom).assign(photo=False))
        for name, of in gates.items():
            values = of[block.name][-1]
            parts.append(pd.DataFrame({"class": name, "channel": np.arange(len(values)), "value": values,
                                       "label": block.label, "photo": True, "own": classes.get(name, "")}))
    return pd.concat(parts, ignore_index=True)


def mean_pictures(pictures: Mapping[str, np.ndarray], groups: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The mean picture of each group: group → (H, W, 3) uint8, in order of appearance.

    Args:
        pictures: name → (H, W, 3) uint8, all of one size.
        groups: name → its group.
    """
    return {group: np.mean([pictures[name] for name, own in groups.items() if own == group], axis=0).round()
            .astype(np.uint8) for group in dict.fromkeys(groups.values())}
