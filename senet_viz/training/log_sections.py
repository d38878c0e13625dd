"""What the logs of one or two trainings show, section by section: words, figure, table, and its script."""
from collections.abc import Mapping

import pandas as pd

from .. import figures
from ..reports.html import Section
from ..reports.text import plain
from .log import MEASURES, collapses, findings, grid, labels

HEADS = {  # title, lead, how to read it
    "map": ("Every block over the training",
            "A row is a block, a column a measured step. Does the attention of a block live, and from when on?",
            "Each number is of one training batch, by the network's own forward in training mode, so that it scatters "
            "from step to step. Directions are the participation ratio of the covariance over the pictures of the "
            "batch, from two halves of it: 1 where all channels rise and fall together. White is not known: there are "
            "fewer than three pictures for each direction, nothing moves, or the block has no hidden layer. Two runs "
            "share a scale of colours."),
    "curves": ("One block over the training", "The same measure of a single block, step by step.", ""),
}


class LogSections:
    """The sections over the logs of one or two runs.

    Attributes:
        labels: the blocks of the first run, in network order.

    Args:
        runs: name → table, as ``read_log`` gives it.
        paths: name → where the log lies, for the scripts.
    """

    def __init__(self, runs: Mapping[str, pd.DataFrame], paths: Mapping[str, str]):
        self.runs, self.paths = dict(runs), dict(paths)
        self.labels = labels(next(iter(self.runs.values())))

    def findings(self, name: str) -> list[str]:
        """What a run's log says at its end, in sentences (Markdown)."""
        return findings(self.runs[name])

    def telling(self) -> str:
        """The block to look at first: of those that collapsed that of fewest directions, else the last known."""
        fallen = pd.concat([collapses(table) for table in self.runs.values()])
        fallen = fallen[fallen["label"].isin(self.labels)]
        if len(fallen):
            return str(fallen.sort_values("dimension")["label"].iloc[0])
        known = set(pd.concat(list(self.runs.values())).dropna(subset=["dimension"])["label"])
        return next((label for label in reversed(self.labels) if label in known), self.labels[-1])

    def map(self, name: str, measure: str) -> Section:
        """One measure of every block over the steps of a run."""
        quantity, words = MEASURES[measure]
        tops = [table[measure].max() for table in self.runs.values()]
        table, note = grid(self.runs[name], measure), self.runs[name].attrs.get("note", "")
        return Section(
            f"{quantity.capitalize()}: {name}", " ".join(filter(None, (
                f"**{plain(name)}**. {words.capitalize()}.", note and f"*{plain(note)}.*"))),
            figures.training_map(table, measure=measure, quantity=quantity, top=pd.Series(tops).max() or None),
            self.runs[name][["step", "block", "label", "pictures", measure]],
            _script([f"result = read_log({self.paths[name]!r})[['step', 'block', 'label', 'pictures', {measure!r}]]"]))

    def curves(self, label: str, measure: str) -> Section:
        """One measure of one block over the steps of all runs that have it."""
        quantity, words = MEASURES[measure]
        parts = {name: table.loc[table["label"] == label, ["step", "block", "label", "pictures", measure]]
                 for name, table in self.runs.items()}
        parts = {name: part for name, part in parts.items() if len(part)}
        table = pd.concat([part.assign(run=name) for name, part in parts.items()], ignore_index=True)
        lines = [f"logs = {{{', '.join(f'{name!r}: {self.paths[name]!r}' for name in parts)}}}",
                 "result = pd.concat([read_log(path).assign(run=name) for name, path in logs.items()])",
                 f"result = result.loc[result['label'] == {label!r}, {[*table.columns]!r}]"]
        return Section(
            f"{quantity.capitalize()} of {label}", f"**{label}**: {words}.",
            figures.training_curves(parts, measure=measure, quantity=quantity, label=label), table,
            _script(lines, "import pandas as pd\n\n"))


def _script(lines: list[str], imports: str = "") -> str:
    return "\n".join([f"{imports}from senet_viz.training.log import read_log\n", *lines, "print(result)", ""])
