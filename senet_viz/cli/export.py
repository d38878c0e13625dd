"""``senet-viz export``: statistics for other programs."""
import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "export", help="statistics as long tables",
        description="Write the statistics of a folder as long tables for pandas, DuckDB and polars: channels (a row a "
                    "class, zoom, block, branch and channel), variance, histograms and images.")
    command.add_argument("folder", metavar="OUT", help="a folder that collect wrote")
    command.add_argument("--to", choices=["csv", "parquet"], default="parquet", help="format")
    command.add_argument("--into", help="folder to write (default: OUT/tables)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the tables, and print the files."""
    from ..statistics import export, open_statistics

    for path in export(open_statistics(args.folder), args.into or Path(args.folder, "tables"), args.to):
        print(path)
