"""Networks side by side on the same photos, and how much each rests on its gates, as sections of a page or report."""
from collections.abc import Mapping

import pandas as pd

from .. import figures
from ..reports.html import Section
from ..reports.run_scripts import of_evaluations, on_photos
from ..statistics.sections import Finding, Head
from . import compare

HEADS = {
    "static": Head(
        "Does a gate have to be the picture's?",
        "Top-1 with the gates of a stage, or of all blocks, fixed at their mean over the data set.",
        "*Dynamic*: the mean gate loses more than a point of top-1, by the whole interval; *nearly static*: neither it "
        "nor another picture's gate does; *replaceable*: it does not, another's may; *not told*: none of this can be "
        "said. Two networks that were evaluated over the same pictures are compared picture by picture, which shows "
        "smaller differences than two intervals. Nothing is trained anew. It is measured by `senet-viz evaluate`, and "
        "What if has more of it."),
    "photos": Head(
        "On the same photos",
        "The gates of both networks for each of your photos, live.",
        "The first network is the model in the sidebar. A panel is a measure over a block's channels, at each depth; a "
        "colour is a photo, the style of a line the network. The distance of two photos is the root mean square over "
        "channels of the difference of their gates. Of blocks that weigh kernels the gate is the weight of the "
        "largest."),
}


def static(table: pd.DataFrame, paths: Mapping[str, str]) -> Finding:
    """Accuracy with gates at their mean.

    Args:
        table: of ``compare.static_gates``, with rows of stages.
        paths: of all runs: name → folder, for the script.
    """
    head, found = HEADS["static"], compare.static_findings(table, list(paths))
    figure = figures.static_compared(table[table["level"] == "stage"])
    return Finding(head.title, " ".join([head.lead, head.more, *found]), figure, table, of_evaluations(paths),
                   found=found)


class PhotoComparison:
    """The sections of photos in several networks.

    Args:
        views: network → photo → its view.
        loading: network → the lines of a script that make ``model``.
        paths: photo → where a script would find it.
    """

    def __init__(self, views: compare.Views, loading: Mapping[str, str], paths: Mapping[str, str]):
        self.loading, self.paths = loading, paths
        self.table, self.apart = compare.photos(views), compare.distances(views)

    def gates(self) -> Finding:
        """Mean, spread and saturation over depth, and how far photos are apart."""
        head, found = HEADS["photos"], compare.photo_findings(self.table, self.apart)
        return Finding(head.title, " ".join([head.lead, head.more, *found]),
                       figures.compared_photos(self.table, self.apart), self.table,
                       on_photos(self.loading, self.paths, "compare.photos(views)"), found=found)

    def distances(self) -> Section | None:
        """How far apart the gates of two photos are; None of a single photo."""
        if self.apart.empty:
            return None
        return Section("How far photos are apart", "The root mean square over channels of the difference of two "
                       "photos' gates, in each network and block.", None, self.apart,
                       on_photos(self.loading, self.paths, "compare.distances(views)"))
