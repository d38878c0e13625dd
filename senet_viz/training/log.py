"""The log of a ``Monitor``: reading it again, and what it says."""
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..data.places import ASSETS
from ..reports.text import listed
from ..statistics.dimension import ONE
from .monitor import COLUMNS

MEASURES = {  # column → what it is called, and in words
    "dimension": ("directions", "in how many directions the channels move from picture to picture; 1 is one number"),
    "first": ("first direction", "share of the variance along the first direction"),
    "std": ("spread over pictures", "standard deviation of the gate over pictures, averaged over channels"),
    "mean": ("mean gate", "over pictures and channels"),
    "below": ("below .05", "share of the gate that is as good as shut"),
    "above": ("above .95", "share of the gate that is as good as open"),
    "alive": ("living hidden units", "share of them that are above zero for 1 to 99 % of the pictures"),
}
LABEL = r"[A-Za-z]+_-?\d{1,4}_\d{1,6}(#\d{1,4})?"  # others could not be shown as they stand
LONGEST = 500  # characters of a note
MOST = 2_000_000  # rows that a log may have: a hundred blocks, measured twenty thousand times


class LogError(ValueError):
    """A file that is no log of a monitor; the message is one sentence."""


def read_log(source: str | Path | bytes) -> pd.DataFrame:
    """The table of a log that ``Monitor.save`` wrote, in the order of its steps and blocks; columns as of its table.

    Its ``attrs["note"]`` is the note that was saved with it, "" without one.

    Args:
        source: path of a Parquet file, or its bytes.

    Raises:
        LogError: for a file that is none.
        OSError: for one that cannot be opened.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        missing = [column for column in COLUMNS if column not in file.schema_arrow.names]
        if missing:
            raise LogError(f"This is no log of a monitor: it has no column {', '.join(missing)}.")
        if file.metadata.num_rows > MOST:
            raise LogError(f"A log of more than {MOST:,} rows is not opened; this one has {file.metadata.num_rows:,}.")
        table = file.read(columns=COLUMNS).to_pandas()
    except (pa.ArrowException, OSError) as error:  # of bytes in memory: no file failed
        raise LogError("This is no log of a monitor, which is a Parquet file that Monitor.save wrote.") from error
    if table.empty:
        raise LogError("The log is empty: no training forward was measured.")
    try:
        table = table.astype({"step": "int64", "pictures": "int64", "block": str, "label": str}
                             | dict.fromkeys(MEASURES, "float64"))
    except (TypeError, ValueError) as error:
        raise LogError("This is no log of a monitor: its columns are not what a monitor writes.") from error
    if not np.isfinite(table[list(MEASURES)].to_numpy()[table[list(MEASURES)].notna().to_numpy()]).all():
        raise LogError("This is no log of a monitor: it has infinite numbers.")
    if not table["label"].str.fullmatch(LABEL).all():
        raise LogError("This is no log of a monitor: its labels are not those of blocks, such as SE_3_4.")
    if table.duplicated(["step", "block"]).any():
        raise LogError("The log has a block twice at one step: it was put together from several runs.")
    note = table.attrs.get("note", "")
    table = table.sort_values("step", kind="stable", ignore_index=True)
    table.attrs = {"note": note[:LONGEST] if isinstance(note, str) else ""}
    return table


def embedded_logs() -> dict[str, Path]:
    """Name → file of the logs that come with the program."""
    return {path.stem: path for path in sorted((ASSETS / "training").glob("*.parquet"))}


def labels(table: pd.DataFrame) -> list[str]:
    """The blocks, in network order as far as the log tells: those of its first step, then others."""
    return list(dict.fromkeys(table["label"]))


def grid(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One measure as a row a block (index: its label, in network order), a column a measured step, nan if unknown."""
    return table.pivot(index="label", columns="step", values=measure).reindex(labels(table))


def collapses(table: pd.DataFrame) -> pd.DataFrame:
    """Which blocks end with a gate along one direction, and since when: a row a block that does.

    Columns: label, since (the first step from which on its dimension stays under ``ONE`` until the end), dimension (the
    last one that is known).
    """
    rows = []
    for label, part in table.dropna(subset=["dimension"]).groupby("label", sort=False):
        low = part["dimension"].to_numpy() < ONE
        if low[-1]:
            since = len(low) - int(np.argmin(low[::-1])) if not low.all() else 0
            rows.append((label, int(part["step"].iloc[since]), float(part["dimension"].iloc[-1])))
    return pd.DataFrame(rows, columns=["label", "since", "dimension"])


def findings(table: pd.DataFrame) -> list[str]:
    """What the log says at its end, in sentences (Markdown)."""
    blocks, gone = labels(table), table[table["mean"].isna()]  # of a training that diverged
    found = [f"From step {gone['step'].min():,} on gates are no numbers (NaN), in {gone['label'].nunique()} of "
             f"{len(blocks)} blocks: the training diverged. What follows is of before."] if len(gone) else []
    table = table.drop(gone.index)
    if table.empty:
        return [f"The gates of its {len(blocks)} blocks are no numbers (NaN) at any step: the training diverged."]
    known = table.dropna(subset=["dimension"])
    last = int(table["step"].max())
    if known.empty:
        return [*found, f"In how many directions the gates of its {len(blocks)} blocks move is not known: the batches "
                        f"of {_range(table['pictures'])} pictures are too small to tell."]
    fallen = collapses(table)
    ends = known.groupby("label", sort=False)["dimension"].last()
    once = table["step"].nunique() == 1
    when = (f"At step {last:,}" if len(gone) else f"Measured once, at step {last:,}," if once else
            f"At the end, step {last:,},")
    untold = f"; of {blocks_left} more it cannot be told" if (blocks_left := len(blocks) - len(ends)) else ""
    found += [f"{when} the gates of {len(fallen) or 'none'} of {len(ends)} blocks move along one direction"
              + (f": {listed(f'**{label}**' for label in fallen['label']) if once else _since(fallen)}"
                 if len(fallen) else "") + f"{untold}."]
    rest = ends.drop(fallen["label"].tolist())
    if len(rest):
        low, high = str(rest.idxmin()), str(rest.idxmax())
        found.append(f"{'The others have' if len(fallen) else 'They have'} {rest[low]:.1f} (**{low}**) to "
                     f"{rest[high]:.1f} (**{high}**) directions." if len(rest) > 1 else
                     f"**{low}** has {rest[low]:.1f} directions.")
    alive = table.dropna(subset=["alive"]).groupby("label", sort=False)["alive"].last()
    if len(alive):
        low = str(alive.idxmin())
        found.append(f"Fewest of the hidden units live in **{low}**: {alive[low]:.0%} of them."
                     if alive.nunique() > 1 else f"Of the hidden units {alive[low]:.0%} live, in every block.")
    found.append(f"Each number is of one batch of {_range(table['pictures'])} pictures, so that it scatters.")
    return found


def _since(fallen: pd.DataFrame) -> str:
    return ", ".join(f"**{row.label}** since step {row.since:,}" for row in fallen.itertuples())


def _range(values: pd.Series) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
