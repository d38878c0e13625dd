"""The evaluations that belong to collected runs."""
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from ..data.places import ASSETS
from ..statistics import Statistics
from ..statistics.archive import METADATA, StatisticsError
from .evaluate import TABLE, open_evaluation


def evaluations_of(runs: Mapping[str, Statistics], folders: Iterable[str | Path] = ()) -> dict[str, pd.DataFrame]:
    """Accuracy with gates fixed at their mean, of the runs whose network it was evaluated of: name → the table.

    The folder of each is in ``.attrs``, beside its metadata.

    Args:
        runs: name → statistics; an evaluation belongs to those of the same weights.
        folders: that ``evaluate`` wrote, looked at first; then those of the embedded networks.

    Raises:
        FileNotFoundError, StatisticsError: for a folder that is given and holds no evaluation, or one of none of the
            networks, or without gates at their mean.
    """
    given = {Path(folder): _opened(folder) for folder in folders}
    own = {stats.metadata["weights"] for stats in runs.values()}
    for folder, table in given.items():
        if table.attrs["weights"] not in own:
            raise StatisticsError(f"the evaluation in {folder} is of none of these networks")
        if not _has_mean(table):
            raise StatisticsError(f"the evaluation in {folder} has no gates at their mean: evaluate with --each-stage "
                                  f"mean")
    embedded = [_opened(path) for path in sorted((ASSETS / "evaluation").glob("*/"))
                if (path / METADATA).is_file() and (path / TABLE).is_file()]
    found = {}
    for name, stats in runs.items():
        fitting = [table for table in [*given.values(), *embedded]
                   if table.attrs["weights"] == stats.metadata["weights"] and _has_mean(table)]
        if fitting:
            found[name] = fitting[0]
    return found


def _opened(folder: str | Path) -> pd.DataFrame:
    table = open_evaluation(folder)
    table.attrs["folder"] = str(folder)
    return table


def _has_mean(table: pd.DataFrame) -> bool:
    return bool(table["edit"].str.endswith("=mean").any())
