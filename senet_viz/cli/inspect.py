"""``senet-viz inspect``: what a network makes of photos, and how its gates stand."""
import argparse

from ._options import add_model, add_model_options, add_output
from ._output import Column, check_file, check_folder, print_json, print_table, records
from ._overlays import beginnings, blocks_named, write_overlays
from ._photos import open_photo, short_names

PREDICTIONS = (Column("picture", "picture"), Column("rank", "rank", spare=1), Column("class", "class"),
               Column("probability", "probability", ".4f"))
SHARES = (Column("picture", "picture"), Column("rank", "rank", spare=1), Column("class", "class"),
          Column("share", "of pixels", ".1%"))
GATES = (Column("picture", "picture"), Column("label", "block"), Column("kernel", "kernel"),
         Column("channels", "channels", ",", 1), Column("mean", "mean", ".4f"), Column("std", "std", ".4f"),
         Column("below", "below 0.05", ".1%", 2), Column("above", "above 0.95", ".1%", 2))
CELLS = (Column("picture", "picture"), Column("map", "Grad-CAM at"), Column("row", "row"), Column("column", "column"),
         Column("value", "strongest cell", ".4g"))
OVERLAYS = (Column("picture", "picture"), Column("map", "map"), Column("class", "of class"),
            Column("seen", "of the photo seen", ".0%", 1), Column("file", "file"))


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "inspect", help="predictions and gates of photos",
        description="Print the top classes of photos, of a segmentation those of their pixels, and how each block's "
                    "gate is distributed over its channels: mean, standard deviation, and the shares below 0.05 and "
                    "above 0.95.")
    add_model(command)
    command.add_argument("photos", metavar="PHOTO", nargs="+", help="pictures to read")
    command.add_argument("--class", dest="target",
                         help="also print Grad-CAM's strongest cell per stage for this class")
    command.add_argument("--overlay", metavar="FOLDER",
                         help="write PNGs of each photo, as large as it is, with Grad-CAM at each stage over the part "
                              "that the network saw: for the class, or for each photo's own most probable one")
    command.add_argument("--gate-change", metavar="BLOCK", nargs="+", default=[],
                         help="with --overlay: also what the gate of these blocks changed, SE_5_3 or SE_5_*")
    command.add_argument("--opacity", type=float, default=0.5, help="with --overlay: of the maps, 0 to 1")
    command.add_argument("--cells", action="store_true", help="with --overlay: show the maps' cells as they are")
    add_output(command, "write every block's gates to this CSV file: picture, branch, kernel, channel, value, block")
    add_model_options(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Look at each photo in one forward."""
    import pandas as pd

    from .. import tables
    from ..gates import SemanticSegmentationTarget, contribution_points, inspect
    from ..gates.answers import OTHER, SEGMENTATION, target_of
    from ..models import for_and_against, load

    check_file(args.out)
    check_folder(args.overlay)
    if args.gate_change and not args.overlay:
        raise ValueError("--gate-change draws over photos: give the folder for them with --overlay.")
    if not 0 <= args.opacity <= 1:
        raise ValueError(f"--opacity is from 0 to 1, not {args.opacity:g}.")
    model = load(args.name, arch=args.arch, device=args.device, ignore_unexpected=args.ignore_unexpected)
    if args.out and not model.blocks:
        raise ValueError(f"{model.name} has no attention blocks, so there are no gates to write.")
    if model.answer.binary:
        model = for_and_against(model)
    if args.target is not None and model.answer.task == OTHER:
        raise ValueError(model.answer.lacks("--class has nothing to choose from"))
    if args.overlay and model.answer.task == OTHER:
        raise ValueError(model.answer.lacks("there is no class whose Grad-CAM --overlay could draw"))
    changed = blocks_named(model, args.gate_change)
    if args.overlay and not model.stages and not changed:
        raise ValueError(f"In {model.name} no module gives the feature map of a stage: there is no Grad-CAM to draw.")
    target = None if args.target is None else [model.class_index(args.target)]
    pixels = model.answer.task == SEGMENTATION
    explained = [SemanticSegmentationTarget(target[0])] if target and pixels else target
    stages = model.stages.values() if target or args.overlay else ()
    layers = [*stages, *((block.name, "output") for block in changed)]
    features = contribution_points(changed)
    views, overlays = {}, []
    files = beginnings(args.photos)
    for photo in args.photos:
        image = open_photo(photo)
        batch = model.batch([image])
        own = args.overlay and pixels and not target  # which class has the most pixels is known only afterwards
        view = views[photo] = inspect(model, batch, explained, () if own else layers, () if own else features)
        if args.overlay:
            index = target[0] if target else _own_class(view, pixels)
            if own:
                view = inspect(model, batch, [target_of(view, index)], layers, features)
            overlays += [{"picture": photo, **row} for row in write_overlays(
                args.overlay, files[photo], view, image, model, model.class_labels[index], changed,
                opacity=args.opacity, smooth=not args.cells)]
        views[photo].features.clear()  # drawn, and large
    predictions, summary = records(tables.predictions(views, model.classes)), records(tables.summary(views))
    shares = records(tables.class_shares(views, model.classes)) if pixels else []
    strongest = []
    if target and model.stages:
        cams = {photo: {stage: view.cams[layer][0, 0].cpu().numpy() for stage, layer in model.stages.items()}
                for photo, view in views.items()}
        cells = tables.cells(cams)
        strongest = records(cells.loc[cells.groupby(["picture", "map"], sort=False)["value"].idxmax()])
    if args.json:
        gates = [{**row, "values": views[row["picture"]].gates[row["block"]][0, row["branch"]].cpu()}
                 for row in summary]
        print_json({"model": model.name, "class": target and model.classes[target[0]], "predictions": predictions,
                    "shares": shares, "gates": gates, "strongest": strongest, "overlays": overlays,
                    "without": model.answer.without})
        return
    if args.out:
        pd.concat([tables.gates(views, block).assign(block=block.label) for block in model.blocks]).to_csv(
            args.out, index=False)
    names = short_names(args.photos)
    if model.answer.task == OTHER:
        print(f"{model.answer.lacks('there are no predictions')}\n")
    parts = (PREDICTIONS, predictions), (SHARES, shares), (GATES, summary), (CELLS, strongest), (OVERLAYS, overlays)
    for n, (columns, rows) in enumerate((columns, rows) for columns, rows in parts if rows):
        print("\n" * (n > 0), end="")
        print_table(columns, [{**row, "picture": names[row["picture"]]} for row in rows])
    if not model.blocks:
        print(f"\n{model.name} has no attention blocks.")


def _own_class(view, pixels: bool) -> int:
    """The most probable class of a photo, or in a segmentation the one with the most pixels."""
    from ..gates.answers import class_map

    if not pixels:
        return int(view.logits[0].argmax())
    labels = class_map(view)
    return int(labels[labels >= 0].mode().values) if (labels >= 0).any() else 0
