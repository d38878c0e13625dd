"""``senet-viz evaluate``: accuracy with gates changed."""
import argparse
from typing import TYPE_CHECKING

from ..reports.text import ends
from ._options import add_model, add_run_options, add_statistics
from ._output import Column, print_json, print_table, records
from ._runs import computing, over_data

if TYPE_CHECKING:
    import pandas as pd

    from ..gates import Edit
    from ..models import Model

SCORED = 256  # pictures from which what a channel passes on is known
OF_UNEDITED = ("edit", "images", "top1", "top5")  # which its row has; the others compare with it
EDITS = (
    Column("edit", "edit"), Column("images", "pictures", ",", 3), Column("top1", "top-1 %", ".2f"),
    Column("difference", "change", "+z.2f"), Column("interval", "95 %, pictures", right=True),
    Column("interval_classes", "95 %, classes", spare=1, right=True),
    Column("lost", "lost", ",", 2), Column("gained", "gained", ",", 2), Column("top5", "top-5 %", ".2f", 4),
    Column("difference5", "top-5 change", "+z.2f", 5), Column("interval5", "95 %, pictures", spare=6, right=True),
    Column("interval5_classes", "95 %, classes", spare=7, right=True))


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "evaluate", help="accuracy with gates changed",
        description="Top-1 and top-5 over labelled pictures, unedited and with each edit of the gates, with two 95 % "
                    "intervals of the difference over the same pictures: for other pictures of these classes, and for "
                    "other classes of the same kind. VALUE is a number (1: no attention), mean (the gates' mean over a "
                    "data set), \"rank 1\" (that and what lies along their first principal direction), \"shuffle "
                    "images\" (another picture's gates), \"shuffle class\" (another's of the same class), \"shuffle "
                    "classes\" (one's of another class), for kernels 3x3, uniform and the like. Nothing is trained "
                    "anew. Run again with the same arguments, it goes on where it stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_model(command)
    command.add_argument("data", metavar="DATA", help="as for collect; every class must be one of the model's")
    command.add_argument("out", metavar="OUT", nargs="?", help="folder to write; nothing is kept without it")
    command.add_argument("--edit", nargs="+", action="extend", default=[], metavar="EDIT",
                         help="BLOCKS=VALUE, such as SE_5_*=1 or \"stage 5=mean; SE_3_4[7,9-12]=0\"")
    for option, what in (("--each-block", "each block"), ("--each-stage", "each stage and the whole network")):
        command.add_argument(option, nargs="*", metavar="VALUE",
                             help=f"{what} in turn; without VALUE 1, or each kernel alone and the even mixture")
    command.add_argument("--each-channel", nargs="+", metavar="BLOCKS",
                         help="of these blocks (SE_5_3, SE_5_*, \"stage 5\") single channels in turn, each fixed at "
                              "its mean; beside how class-specific they are, where OUT is kept")
    command.add_argument("--channels", type=int, default=32, metavar="N", help="how many of each block, evenly spaced")
    command.add_argument("--remove-channels", type=float, nargs="+", metavar="SHARE",
                         help="this share of each block's channels set to 0, those with the lowest mean gate, and by "
                              "other scores")
    add_statistics(command)
    command.add_argument("--compact", action="store_true", help="write a small folder: float16, no names of files")
    command.add_argument("--json", action="store_true",
                         help="print one JSON document, with all digits and shares in 0..1, for programs")
    add_run_options(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Evaluate, and print a row an edit."""
    from ..collecting import Computing, evaluate

    settings = Computing(**computing(args))
    settings.check()
    found: list[str] = []

    def look(model, **options):
        table = evaluate(model, args.data, args.out, _edits(model, args), settings, statistics=args.statistics,
                         compact=args.compact, **options)
        found.extend(_findings(model, table, args))
        return table

    table = over_data(args, look)
    unreadable = table.attrs["unreadable"]
    if args.json:
        print_json({**{key: table.attrs[key] for key in ("model", "data", "unreadable")}, "edits": records(table),
                    "found": found})
        return
    percent = table.copy()
    percent[percent.filter(regex="^(top|difference|low|high)").columns] *= 100
    for n in ("", "5", "_classes", "5_classes"):
        pairs = zip(percent[f"low{n}"], percent[f"high{n}"])
        percent[f"interval{n}"] = ["" if low != low else ends(low, high, 2) for low, high in pairs]
    unedited, *edits = records(percent)
    print_table(EDITS, [{key: value if key in OF_UNEDITED else None for key, value in unedited.items()}, *edits])
    print("Changes are in percentage points, over the same pictures; lost: right without the edit and wrong with it\n"
          "95 % intervals: for other pictures of these classes; for other classes of the same kind")
    if unreadable:
        print(f"{unreadable:,} could not be used" + (f", see {args.out}/unreadable.csv" if args.out else ""))
    print(*found, sep="\n", end="\n" if found else "")


def _edits(model: "Model", args: argparse.Namespace) -> "dict[str, str | list[Edit]]":
    """All that are asked for, by name."""
    from ..collecting import each_block, each_stage
    from ..collecting.evaluate import statistics_of
    from ..data.datasets import open_pictures
    from ..experiments.removal import channel_scores, removal_edits
    from ..experiments.selectivity import each_channel
    from ..gates import Edit, EditError

    edits = [*args.edit]
    for make, values in ((each_block, args.each_block), (each_stage, args.each_stage)):
        edits += [] if values is None else make(model, values)
    for where in args.each_channel or []:
        blocks = [block for block in model.blocks if Edit(where, 1).matches(block)]
        if not blocks:
            raise EditError(f"{where} matches no block; the network's are: "
                            f"{', '.join(block.label for block in model.blocks)}")
        edits += each_channel(blocks, args.channels)
    named: dict[str, str | list[Edit]] = {edit: edit for edit in edits}
    if args.remove_channels:
        images = open_pictures(args.data, args.split, any_file=model.reader is not None).spread(
            SCORED, model.transform, model.reader)
        scores = channel_scores(model, statistics_of(model, args.statistics), images)
        named |= removal_edits(scores, args.remove_channels)
    return named


def _findings(model: "Model", table: "pd.DataFrame", args: argparse.Namespace) -> list[str]:
    """What single channels and removed ones show, in sentences."""
    from ..collecting.evaluate import statistics_of
    from ..experiments.removal import removal_curve, removal_findings
    from ..experiments.selectivity import channel_effects, selectivity_findings

    found = removal_findings(removal_curve(table), float(table["top1"].iloc[0]))
    if args.each_channel and args.out:
        stats = statistics_of(model, args.statistics)
        found += selectivity_findings(stats, channel_effects(args.out, stats, model.classes))
    return [sentence.replace("**", "") for sentence in found]
