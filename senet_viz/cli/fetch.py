"""``senet-viz fetch``: weights into the cache."""
import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "fetch", help="download weights, to work without a network later",
        description="Download the weights of networks into the cache, where they are not there yet, and print the "
                    "files.")
    command.add_argument("names", metavar="MODEL", nargs="+", help="timm/… or torchvision/…")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Fetch one after the other."""
    from ..models import fetch

    for name in args.names:
        print(fetch(name) or f"{name} needs no download", flush=True)
