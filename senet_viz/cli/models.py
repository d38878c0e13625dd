"""``senet-viz models``: the networks that can be loaded by name, and one of them in full."""
import argparse
from dataclasses import asdict
from typing import Any

from ._options import MODEL, add_model_options, add_output
from ._output import Column, check_file, print_json, print_table

LIST = (
    Column("name", "model"), Column("kind", "attention", spare=1), Column("blocks", "blocks", spare=2),
    Column("parameters", "parameters", ","), Column("input", "pixels", spare=3), Column("classes", "classes", ",", 5),
    Column("top1", "top-1 %", ".1f"), Column("top1_input", "at pixels", spare=6),
    Column("licence", "licence", spare=4), Column("downloaded", "here", lambda here: "yes" if here else ""))
BLOCKS = (
    Column("label", "block"), Column("name", "module"), Column("kind", "attention", spare=2),
    Column("channels", "channels", ","), Column("kernels", "kernels", lambda sizes: ", ".join(map(str, sizes))),
    Column("gain", "times after the gate", lambda gain: f"{gain:g}" if gain != 1 else "", 1))


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "models", help="list models, or describe one",
        description="List the networks with channel attention that can be loaded by name (attention blocks, "
                    "parameters, side of the input in pixels, published top-1 in % and the side it was measured at, "
                    "licence, whether the weights are here, on this machine), or describe one with its attention "
                    "blocks.")
    command.add_argument("name", nargs="?", help=MODEL)
    command.add_argument("--search", metavar="TEXT",
                         help="list those whose name or kind of attention has all these words")
    add_output(command, "write the list to this CSV file instead")
    add_model_options(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the list, or what one network is."""
    if args.name is None:
        _list(args)
    elif args.search is not None or args.out:
        raise ValueError("--search and --out are for the list, without a model's name")
    else:
        _describe(args)


def _list(args: argparse.Namespace) -> None:
    from ..models.listing import catalog, entries

    check_file(args.out)
    found = entries(args.search or "")
    if not found:
        raise ValueError(f"no network of the list has {args.search!r} in its name or kind of attention")
    if args.out:
        catalog(args.search or "").to_csv(args.out, index=False)
        return
    rows = [{column.key: getattr(entry, column.key) for column in LIST} for entry in found]
    if args.json:
        print_json(rows)
    else:
        print_table(LIST, rows)


def _describe(args: argparse.Namespace) -> None:
    from ..models import load

    model = load(args.name, arch=args.arch, device=args.device, ignore_unexpected=args.ignore_unexpected)
    if args.json:
        print_json({"name": model.name, "info": model.info, "parameters": model.parameters, "classes": model.classes,
                    "input": model.input_size, "device": str(model.device),
                    "blocks": [_block(block) for block in model.blocks]})
        return
    for key, value in {"Model": model.name, **model.info, "Parameters": f"{model.parameters:,}",
                       "Classes": f"{len(model.classes):,}", "Device": str(model.device)}.items():
        print(f"{key:14}{value}")
    if model.blocks:
        print()
        print_table(BLOCKS, [_block(block) for block in model.blocks])


def _block(block) -> dict[str, Any]:
    keys = ("label", "name", "kind", "channels", "branches", "kernels", "stage", "index", "gain")
    return {key: value for key, value in asdict(block).items() if key in keys}
