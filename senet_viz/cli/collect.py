"""``senet-viz collect``: the gates over a data set."""
import argparse

from ._options import add_model, add_run_options
from ._runs import computing, over_data


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "collect", help="statistics of the gates over a data set",
        description="Look at every picture of a data set and write into one folder how the gates were distributed, by "
                    "class and over all. Run again with the same arguments, it goes on where it stopped, and ends with "
                    "the same bytes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_model(command)
    command.add_argument("data", metavar="DATA", help="a folder with one sub-folder a class, Parquet files, or a text "
                                                      "file of paths and labels; local or an fsspec address")
    command.add_argument("out", metavar="OUT", help="folder to write")
    command.add_argument("--zoom", type=float, nargs="+", default=[1.0], metavar="Z",
                         help="look at each picture with its centre enlarged by these factors")
    command.add_argument("--around", choices=["centre", "box"], default="centre",
                         help="enlarge around the picture's centre or its box")
    command.add_argument("--controls", action="store_true",
                         help="look also, for each zoom but 1, at the picture with the same blur and no zoom, and at "
                              "as large a crop elsewhere")
    command.add_argument("--compile", choices=["yes", "no", "auto"], nargs="?", const="yes", default="no",
                         help="run the network through torch.compile; auto where the run ends sooner with it, the "
                              "compiling included")
    command.add_argument("--random-weights", type=int, nargs="?", const=3, default=0, metavar="N",
                         help="look also at the same network with random weights, drawn N times (3 without N), as a "
                              "control")
    command.add_argument("--sample", type=int, default=1024, metavar="N",
                         help="pictures, evenly spread, whose gates are kept whole until the end, to tell in how many "
                              "directions they move; 0 for none")
    command.add_argument("--compact", action="store_true", help="write a small archive: float16, fewer details")
    add_run_options(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Collect, and print how many pictures there were."""
    from ..collecting import Settings, collect

    settings = Settings(
        zooms=tuple(args.zoom), around=args.around, controls=args.controls, random_weights=args.random_weights,
        compiled={"yes": True, "no": False}.get(args.compile, args.compile), sample=args.sample, **computing(args))
    settings.check()
    stats = over_data(args, lambda model, **options: collect(
        model, args.data, args.out, settings, compact=args.compact, **options))
    unreadable = stats.metadata["unreadable"]
    classes = int((stats.count > 0).sum())
    print(f"{args.out}: {stats.metadata['images']:,} pictures of {classes:,} class{'es' * (classes != 1)}"
          + (f"; {unreadable:,} could not be used, see {args.out}/unreadable.csv" if unreadable else ""))
