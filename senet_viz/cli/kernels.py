"""``senet-viz kernels``: which kernel the objects of photos choose as they grow."""
import argparse

from ._options import add_model, add_model_options, add_output
from ._output import Column, check_file, print_json, print_table, records
from ._photos import open_photo, short_names

SLOPES = (Column("picture", "picture"), Column("label", "unit"), Column("zoom", "zoom", "z.4f"),
          Column("blur", "blur", "z.4f", 1), Column("elsewhere", "elsewhere", "z.4f", 1),
          Column("random_low", "least random", "z.4f", 1), Column("random_high", "most random", "z.4f", 1),
          Column("left", "left", "z.4f"))


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "kernels", help="which kernel photos' objects choose as they grow",
        description="Look at photos with their object at many sizes and print how fast each unit's preference for the "
                    "larger kernel changes per doubling of size (zoom), beside the same blur without the zoom (blur), "
                    "as large a crop elsewhere (elsewhere) and, where asked for, networks with random weights, and "
                    "what is left beyond them. It takes a selective-kernel network.")
    add_model(command)
    command.add_argument("photos", metavar="PHOTO", nargs="+", help="pictures to read")
    command.add_argument("--zoom", type=float, nargs="+", metavar="Z",
                         help="sizes of the object, 1 as it is (default: 0.5 to 3 in steps of 1/8)")
    command.add_argument("--box", type=float, nargs=4, metavar=("L", "T", "R", "B"),
                         help="left, top, right and bottom edge of the object in pixels, of one photo (default: around "
                              "its centre)")
    command.add_argument("--random-weights", type=int, nargs="?", const=3, default=0, metavar="N",
                         help="look also at the same network with random weights, drawn N times (3 without N), as a "
                              "control")
    add_output(command, "write each unit's preference at each size to this CSV file: picture, look, size, block, "
                        "difference, …")
    add_model_options(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Sweep the size of each photo's object."""
    from ..experiments.sweep import SIZES, size_preference, size_slopes, sweep
    from ..models import load

    if args.box and len(args.photos) > 1:
        raise ValueError(f"a box is of one photo, and there are {len(args.photos)}")
    check_file(args.out)
    model = load(args.name, arch=args.arch, device=args.device, ignore_unexpected=args.ignore_unexpected)
    preference = {photo: size_preference(sweep(model, open_photo(photo), args.zoom or SIZES, args.box,
                                               draws=args.random_weights))
                  for photo in args.photos}
    sizes = _by_picture(preference)
    slopes = _by_picture({photo: size_slopes(table) for photo, table in preference.items()})
    if args.json:
        print_json({"model": model.name, "slopes": records(slopes), "sizes": records(sizes)})
        return
    if args.out:
        sizes.to_csv(args.out, index=False)
    if slopes["zoom"].isna().all():
        print("No slopes: they take two sizes or more, from 1 up.")
        return
    print_table(SLOPES, records(slopes.assign(picture=slopes["picture"].map(short_names(args.photos)))))
    print("Change of the largest kernel's weight minus the smallest's, mean over channels, per doubling of the size")


def _by_picture(parts: dict):
    """Tables below each other, with a first column that says of which picture."""
    import pandas as pd

    return pd.concat(parts, names=["picture"]).reset_index("picture").reset_index(drop=True)
