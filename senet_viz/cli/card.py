"""``senet-viz card``: the card of a network that was trained here, with what was measured since."""
import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "card", help="write the card of a trained network anew",
        description="Write the card of a network that train made, beside its file: data, recipe and accuracy, and from "
                    "statistics of it in how many directions each gate moves.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    command.add_argument("file", metavar="FILE", help="….safetensors, that train wrote")
    command.add_argument("--statistics", metavar="FOLDER", help="that collect wrote of this network")
    command.add_argument("--baseline", metavar="FILE",
                         help="a network of the same recipe with --attention none, for its accuracy")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write it, and print where it is."""
    from ..statistics import open_statistics
    from ..training.cards import write_card

    stats = None if args.statistics is None else open_statistics(args.statistics)
    print(write_card(args.file, stats, args.baseline))
