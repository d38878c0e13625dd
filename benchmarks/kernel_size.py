"""Does the size of the object move the choice of kernel? A table for each run of ``collect``.

``python benchmarks/kernel_size.py FOLDER …``; see README.md. Each folder was written by, for example,
``python -m senet_viz collect demo/sknet50_slim DATA FOLDER --zoom 1 1.5 2 --controls``.

For each unit the mean over channels of the largest kernel's weight minus the smallest's; its change when the object is
enlarged; that of the two controls; what is left beyond the larger, and how much would be found
(``senet_viz.statistics.kernels.size_effects``).
"""
import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import senet_viz as sv
from senet_viz.statistics import kernels

COLUMNS = {"label": "unit", "before": "at 1×", "change": "change", "low": "from", "high": "to", "blur": "blur",
           "elsewhere": "elsewhere", "random_low": "random, least", "random_high": "random, most",
           "left": "left", "images_up": "images up", "classes_up": "classes up",
           "beyond": "beyond", "detectable": "would be found"}
SHARES = ("images up", "classes up")


def report(folder: Path) -> str:
    """The tables and sentences of one run, as Markdown."""
    stats = sv.open_statistics(folder)
    made = stats.metadata
    parts = [f"## {made['model']} over {Path(made['data']).name}: {made['images']:,} pictures, {len(stats.classes)} "
             f"classes, zoomed around the {made['settings']['around']}"]
    zooms = kernels.enlarged(stats)
    doses = kernels.dose_response(stats) if len(zooms) > 1 else None
    for zoom in zooms:
        effects = kernels.size_effects(stats, zoom)
        count, cut = effects["images"].iloc[0], effects["truncated"].iloc[0]
        parts.append(f"### Enlarged to {zoom:g}×: {count:,} pictures{f', {cut:,} left out as cut' if cut else ''}")
        parts.append(table(effects[list(COLUMNS)].rename(columns=COLUMNS)))
        parts += kernels.kernel_findings(stats, effects, kernels.by_share(stats), doses)
    return "\n\n".join(parts)


def table(rows: pd.DataFrame) -> str:
    """Rows as a Markdown table."""
    def cell(column: str, value) -> str:
        if isinstance(value, str):
            return value
        if column == "beyond":
            return "**yes**" if value else "no"
        return "" if pd.isna(value) else f"{value:.0%}" if column in SHARES else f"{value:+.4f}"

    lines = [f"| {' | '.join(rows.columns)} |", "| --- |" + " ---: |" * (len(rows.columns) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(cell(*pair) for pair in zip(rows.columns, row))} |"
                                for row in rows.itertuples(index=False, name=None))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    print("\n\n".join(report(folder) for folder in parser.parse_args().folders))
