"""The command line: ``python -m senet_viz models|fetch|inspect|kernels|collect|evaluate|prune|export|train``."""
import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from .training.recipe import Recipe

HELP = {  # of the recipe's options
    "attention": "se, sk or none",
    "widths": "channels of each stage's 3×3 convolutions",
    "strides": "stride of each stage's first unit",
    "reduction": "r of the attention",
    "min_width": "least length of the attention's hidden layer",
    "image_size": "side of the pictures in pixels, a multiple of 8",
    "start_size": "side of the training pictures in the first epoch",
    "grow": "share of the epochs over which the side grows",
    "epochs": "number of epochs",
    "batch_size": "pictures in a batch",
    "lr": "highest learning rate",
    "warmup": "epochs until it is reached",
    "momentum": "Nesterov momentum",
    "weight_decay": "on everything but biases, BN and the gates' own layers",
    "decay_gates": "let the weights of the gates' layers decay like all others",
    "clip": "largest norm of all gradients together in a step; 0 for no limit",
    "label_smoothing": "of the cross entropy",
    "scale": "least share of the area that a random crop keeps",
    "precision": "bf16 (autocast) or fp32",
    "seed": "of everything random",
}


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    main = argparse.ArgumentParser(prog="python -m senet_viz", description="Make channel attention visible.")
    commands = main.add_subparsers(dest="command", required=True)

    train = commands.add_parser(
        "train", help="train a slim SE, SK or plain bottleneck network",
        description="Train a bottleneck network of 3/4/6/3 units with SE, SK or no attention on a folder of pictures "
                    "(train/CLASS/…, val/CLASS/…) or on Parquet files (train*.parquet, val*.parquet with the columns "
                    "image and label). Run again, it goes on where it stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    train.add_argument("data", help="folder with the training and validation pictures")
    train.add_argument("out", help="file to write (….safetensors); a card is put beside it")
    for field in fields(Recipe):
        if isinstance(field.default, bool):
            train.add_argument("--" + field.name.replace("_", "-"), action="store_true", help=HELP[field.name])
            continue
        several = isinstance(field.default, tuple)
        train.add_argument("--" + field.name.replace("_", "-"), default=field.default,
                           type=int if several else type(field.default), nargs=4 if several else None,
                           help=HELP[field.name])
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    train.add_argument("--workers", type=int, default=2, help="processes that decode pictures")
    train.add_argument("--note", default="", help="a sentence for the card, on the data's licence for instance")
    train.set_defaults(run=_train)

    models = commands.add_parser(
        "models", help="list models, or describe one",
        description="List the networks with channel attention that can be loaded by name (attention blocks, "
                    "parameters, side of the input, published top-1 in %, licence, whether the weights are on this "
                    "machine), or describe one with its attention blocks.")
    models.add_argument("name", nargs="?", help="demo/…, timm/…, torchvision/… or file:…")
    models.add_argument("--search", metavar="TEXT",
                        help="list those whose name or kind of attention has all these words")
    models.add_argument("--out", help="write the list to this CSV file instead")
    _add_model_options(models)
    models.set_defaults(run=_models)

    fetch = commands.add_parser("fetch", help="download weights, to work without a network later",
                                description="Download the weights of networks into the cache, where they are not there "
                                            "yet, and print the files.")
    fetch.add_argument("names", metavar="MODEL", nargs="+", help="timm/… or torchvision/…")
    fetch.set_defaults(run=_fetch)

    inspect = commands.add_parser("inspect", help="predictions and gates of photos",
                                  description="Print the top classes of photos and how each block's gate is "
                                              "distributed.")
    inspect.add_argument("name", metavar="MODEL", help="demo/…, timm/…, torchvision/… or file:…")
    inspect.add_argument("photos", metavar="PHOTO", nargs="+", help="pictures to read")
    inspect.add_argument("--class", dest="target", help="also print Grad-CAM's strongest cell per stage for this class")
    inspect.add_argument("--out", help="write every block's gates to this CSV file: picture, block, branch, channel, "
                                       "value")
    _add_model_options(inspect)
    inspect.set_defaults(run=_inspect)

    kernels = commands.add_parser(
        "kernels", help="which kernel photos' objects choose as they grow",
        description="Look at photos with their object at many sizes and print how fast each unit's preference for the "
                    "larger kernel changes per doubling of size, beside the same blur without the zoom and as large a "
                    "crop elsewhere, and what is left beyond them. It takes a selective-kernel network.")
    kernels.add_argument("name", metavar="MODEL", help="demo/…, timm/…, torchvision/… or file:…")
    kernels.add_argument("photos", metavar="PHOTO", nargs="+", help="pictures to read")
    kernels.add_argument("--zoom", type=float, nargs="+", metavar="Z",
                         help="sizes of the object, 1 as it is (default: 0.5 to 3 in steps of 1/8)")
    kernels.add_argument("--box", type=float, nargs=4, metavar=("L", "T", "R", "B"),
                         help="left, top, right and bottom edge of the object in pixels, of one photo (default: around "
                              "its centre)")
    kernels.add_argument("--out", help="write each unit's preference at each size to this CSV file: picture, look, "
                                       "size, block, difference, …")
    _add_model_options(kernels)
    kernels.set_defaults(run=_kernels)

    collect = commands.add_parser(
        "collect", help="statistics of the gates over a data set",
        description="Look at every picture of a data set and write into one folder how the gates were distributed, by "
                    "class and over all. Run again with the same arguments, it goes on where it stopped, and ends with "
                    "the same bytes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    collect.add_argument("name", metavar="MODEL", help="demo/…, timm/…, torchvision/… or file:…")
    collect.add_argument("data", metavar="DATA", help="a folder with one sub-folder a class, Parquet files, or a text "
                                                      "file of paths and labels; local or an fsspec address")
    collect.add_argument("out", metavar="OUT", help="folder to write")
    collect.add_argument("--zoom", type=float, nargs="+", default=[1.0], metavar="Z",
                         help="look at each picture with its centre enlarged by these factors")
    collect.add_argument("--around", choices=["centre", "box"], default="centre",
                         help="enlarge around the picture's centre or its box")
    collect.add_argument("--controls", action="store_true",
                         help="look also, for each zoom but 1, at the picture with the same blur and no zoom, and at "
                              "as large a crop elsewhere")
    collect.add_argument("--compile", action="store_true", help="run the network through torch.compile")
    collect.add_argument("--random-weights", action="store_true",
                         help="look also at the same network with random weights, as a control")
    collect.add_argument("--compact", action="store_true", help="write a small archive: float16, fewer details")
    _add_run_options(collect)
    collect.set_defaults(run=_collect)

    evaluate = commands.add_parser(
        "evaluate", help="accuracy with gates changed",
        description="Top-1 and top-5 over labelled pictures, unedited and with each edit of the gates, with the 95 %% "
                    "interval of the difference over the same pictures. VALUE is a number (1: no attention), mean (the "
                    "gates' mean over a data set), \"shuffle images\" (another picture's gates), for kernels 3x3, "
                    "uniform and the like. Nothing is trained anew. Run again with the same arguments, it goes on "
                    "where it stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    evaluate.add_argument("name", metavar="MODEL", help="demo/…, timm/…, torchvision/… or file:…")
    evaluate.add_argument("data", metavar="DATA", help="as for collect; every class must be one of the model's")
    evaluate.add_argument("out", metavar="OUT", nargs="?", help="folder to write; nothing is kept without it")
    evaluate.add_argument("--edit", nargs="+", action="extend", default=[], metavar="EDIT",
                          help="BLOCKS=VALUE, such as SE_5_*=1 or \"stage 5=mean; SE_3_4[7,9-12]=0\"")
    for option, what in (("--each-block", "each block"), ("--each-stage", "each stage and the whole network")):
        evaluate.add_argument(option, nargs="*", metavar="VALUE",
                              help=f"{what} in turn; without VALUE 1, or each kernel alone and the even mixture")
    evaluate.add_argument("--statistics", metavar="FOLDER", help="that collect wrote, of which the mean is taken; the "
                                                                 "embedded ones for an embedded model")
    evaluate.add_argument("--compact", action="store_true", help="write a small folder: float16, no names of files")
    _add_run_options(evaluate)
    evaluate.set_defaults(run=_evaluate)

    prune = commands.add_parser(
        "prune", help="remove attention blocks for good",
        description="Write a smaller network, in which the gates of some attention blocks are held: at 1 the block "
                    "goes, at another number or the gates' mean over a data set a number a channel stays, and of a "
                    "selective-kernel unit one branch (3x3). Nothing is trained anew. Prints what that saves, with the "
                    "median time of one picture on this device.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    prune.add_argument("name", metavar="MODEL", help="demo/…, timm/…, torchvision/… or file:…")
    prune.add_argument("out", metavar="OUT", help="file to write, ….safetensors")
    chosen = prune.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--blocks", help="SE_5_*, or \"stage 5\", or several with commas between")
    chosen.add_argument("--evaluation", metavar="FOLDER",
                        help="that evaluate wrote with --each-block: the blocks that lost little there, each by itself")
    prune.add_argument("--within", type=float, default=0.1, metavar="POINTS", help="how little, of top-1 in %%")
    prune.add_argument("--by", help="a number, mean, or for kernels 3x3, branch 0 (default: no attention, 1; in "
                                    "NFNets, where a factor of 2 follows, 0.5)")
    prune.add_argument("--statistics", metavar="FOLDER", help="that collect wrote, of which the mean is taken; the "
                                                              "embedded ones for an embedded model")
    _add_model_options(prune)
    prune.set_defaults(run=_prune)

    export = commands.add_parser(
        "export", help="statistics as long tables",
        description="Write the statistics of a folder as long tables for pandas, DuckDB and polars: channels (a row a "
                    "class, zoom, block, branch and channel), variance, histograms and images.")
    export.add_argument("folder", metavar="OUT", help="a folder that collect wrote")
    export.add_argument("--to", choices=["csv", "parquet"], default="parquet", help="format")
    export.add_argument("--into", help="folder to write (default: OUT/tables)")
    export.set_defaults(run=_export)
    return main


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--split", help="train or val: the sub-folder or the Parquet files of that name")
    command.add_argument("--limit", type=int, help="look only at so many pictures, spread evenly over the data set")
    command.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of the network")
    command.add_argument("--batch-size", type=int, default=32, help="pictures in a forward")
    command.add_argument("--shard-size", type=int, default=512, help="pictures in a shard, the unit that is kept")
    command.add_argument("--threads", type=int, default=None, help="of the CPU in a forward; all where not given")
    command.add_argument("--engine", choices=["local", "ray"], default="local",
                         help="compute here, or on a Ray cluster")
    command.add_argument("--address", help="of the Ray cluster; one is started here where none runs")
    command.add_argument("--workers", type=int, default=2,
                         help="processes that decode pictures; with ray, that compute")
    _add_model_options(command)


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--arch", help="architecture of a file: that does not say its own, timm/… or torchvision/…")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")


def _models(args: argparse.Namespace) -> None:
    from .models import catalog, load

    if args.name is None:
        table = catalog(args.search or "")
        if args.out:
            table.to_csv(args.out, index=False)
        elif table.empty:
            raise ValueError(f"no network of the list has {args.search!r} in its name or kind of attention")
        else:
            shown = table.assign(
                parameters=table["parameters"].map("{:,}".format), downloaded=table["downloaded"].map({True: "yes"}),
                top1=table["top1"].map("{:.1f}".format, na_action="ignore"))
            print(shown.astype(object).where(shown.notna(), "").to_string(index=False))
        return
    if args.search is not None or args.out:
        raise ValueError("--search and --out are for the list, without a model's name")
    model = load(args.name, arch=args.arch, device=args.device)
    for key, value in {"Model": model.name, **model.info, "Parameters": f"{model.parameters:,}",
                       "Classes": str(len(model.classes)), "Device": str(model.device)}.items():
        print(f"{key:14}{value}")
    for block in model.blocks:
        kernels = f"  kernels {', '.join(map(str, block.kernels))}" if block.kernels else ""
        gain = f"  times {block.gain:g} after the gate" if block.gain != 1 else ""
        print(f"{block.label:14}{block.name:32}{block.channels:5} channels{kernels}{gain}")


def _fetch(args: argparse.Namespace) -> None:
    from .models import fetch

    for name in args.names:
        print(fetch(name) or f"{name} needs no download", flush=True)


def _inspect(args: argparse.Namespace) -> None:
    import pandas as pd

    from . import tables
    from .data.images import UnreadableImage, open_image
    from .gates import inspect
    from .models import load

    model = load(args.name, arch=args.arch, device=args.device)
    if args.out and not model.blocks:
        raise ValueError(f"{model.name} has no attention blocks, so there are no gates to write.")
    target = None if args.target is None else [model.class_index(args.target)]
    views = {}
    for photo in args.photos:
        try:
            batch = model.batch([open_image(photo)])
        except UnreadableImage as error:
            raise UnreadableImage(f"{photo}: {error}") from error
        views[photo] = inspect(model, batch, target, model.stages.values() if target else ())
    print(tables.predictions(views, model.classes).to_string(index=False, float_format="%.4f"))
    summary = tables.summary(views)
    columns = ["picture", "label", "kernel", "channels", "mean", "std", "below", "above"]
    print("\n" + (summary[columns].to_string(index=False, float_format="%.4f") if model.blocks else
                  f"{model.name} has no attention blocks."))
    if target and model.stages:
        cams = {photo: {stage: view.cams[layer][0, 0].cpu().numpy() for stage, layer in model.stages.items()}
                for photo, view in views.items()}
        cells = tables.cells(cams)
        strongest = cells.loc[cells.groupby(["picture", "map"], sort=False)["value"].idxmax()]
        print("\n" + strongest.to_string(index=False, float_format="%.4g"))
    if args.out:
        pd.concat([tables.gates(views, block).assign(block=block.label) for block in model.blocks]).to_csv(
            args.out, index=False)


def _kernels(args: argparse.Namespace) -> None:
    from .data.images import UnreadableImage, open_image
    from .experiments.sweep import SIZES, size_preference, size_slopes, sweep
    from .models import load

    if args.box and len(args.photos) > 1:
        raise ValueError(f"a box is of one photo, and there are {len(args.photos)}")
    model = load(args.name, arch=args.arch, device=args.device)
    preference = {}
    for photo in args.photos:
        try:
            image = open_image(photo)
        except UnreadableImage as error:
            raise UnreadableImage(f"{photo}: {error}") from error
        preference[photo] = size_preference(sweep(model, image, args.zoom or SIZES, args.box))
    slopes = _by_picture({photo: size_slopes(table) for photo, table in preference.items()})
    print("No slopes: they take sizes from 1 up." if slopes.empty else
          slopes.drop(columns=["block", "stage"]).to_string(index=False, float_format="%.4f"))
    if args.out:
        _by_picture(preference).to_csv(args.out, index=False)


def _by_picture(parts: dict):
    """Tables below each other, with a first column that says of which picture."""
    import pandas as pd

    return pd.concat(parts, names=["picture"]).reset_index("picture").reset_index(drop=True)


def _train(args: argparse.Namespace) -> None:
    from .training import train

    values = {field.name: getattr(args, field.name) for field in fields(Recipe)}
    recipe = Recipe(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    from .models.devices import choose_device

    result = train(args.data, args.out, recipe, device=choose_device(args.device), workers=args.workers, note=args.note)
    print(f"{args.out}: top-1 {result['accuracy']['top1']:.1%}, top-5 {result['accuracy']['top5']:.1%}")


def _collect(args: argparse.Namespace) -> None:
    from .collecting import Settings, collect

    settings = Settings(
        zooms=tuple(args.zoom), around=args.around, controls=args.controls, compiled=args.compile,
        random_weights=args.random_weights, **_computing(args))
    settings.check()
    stats = _over_data(args, lambda model, **options: collect(
        model, args.data, args.out, settings, compact=args.compact, **options))
    unreadable = stats.metadata["unreadable"]
    classes = int((stats.count > 0).sum())
    print(f"{args.out}: {stats.metadata['images']:,} pictures of {classes:,} class{'es' * (classes != 1)}"
          + (f"; {unreadable:,} could not be used, see {args.out}/unreadable.csv" if unreadable else ""))


def _evaluate(args: argparse.Namespace) -> None:
    from .collecting import Computing, each_block, each_stage, evaluate

    settings = Computing(**_computing(args))
    settings.check()

    def look(model, **options):
        edits = [*args.edit]
        for make, values in ((each_block, args.each_block), (each_stage, args.each_stage)):
            edits += [] if values is None else make(model, values)
        return evaluate(model, args.data, args.out, edits, settings, statistics=args.statistics, compact=args.compact,
                        **options)

    table = _over_data(args, look)
    percent = table[["edit", "images", "top1", "difference", "low", "high", "lost", "gained", "top5", "difference5",
                     "low5", "high5"]].copy()
    shares = percent.select_dtypes("float").columns
    percent[shares] *= 100
    print(percent.to_string(index=False, float_format="%.2f"))
    print("Accuracies and differences in %; low and high: 95 % interval of the difference over the same pictures")
    unreadable = table.attrs["unreadable"]
    if unreadable:
        print(f"{unreadable:,} could not be used" + (f", see {args.out}/unreadable.csv" if args.out else ""))


def _prune(args: argparse.Namespace) -> None:
    from .collecting import open_evaluation
    from .collecting.evaluate import gate_means, harmless
    from .experiments.prune import latency, prune, save_pruned
    from .gates.removals import no_attention
    from .models import load
    from .models.checkpoints import read_metadata
    from .models.identity import weights_hash
    from .statistics import StatisticsError

    if Path(args.out).suffix != ".safetensors":
        raise ValueError(f"{args.out} is not the name of a safetensors file")
    model = load(args.name, arch=args.arch, device=args.device)
    blocks, by = args.blocks, no_attention(model.blocks) if args.by is None else args.by
    if args.evaluation:
        table = open_evaluation(args.evaluation)
        if table.attrs["weights"] != weights_hash(model.module):
            raise StatisticsError(f"the evaluation in {args.evaluation} is of other weights than those of {model.name}")
        blocks = ",".join(harmless(table, model.blocks, by, args.within))
        if not blocks:
            raise ValueError(f"no block of the evaluation in {args.evaluation} lost {args.within:g} points or less "
                             f"with its gate at {by}")
    smaller, removed = prune(model, blocks, gate_means(model, args.statistics) if by == "mean" else by)
    save_pruned(args.out, smaller, removed, args.name)
    before, after = (1e3 * seconds for seconds in latency([model.module, smaller.module], model.batch([model.noise()])))
    saved = model.parameters - smaller.parameters
    megabytes = 4e-6 * saved
    print(f"{args.out}: {', '.join(change['name'] for change in removed)}\n"
          f"parameters {model.parameters:,} → {smaller.parameters:,} ({saved / model.parameters:.1%} and "
          f"{megabytes:.2f} MB of float32 saved)\n"
          f"one picture {before:.2f} ms → {after:.2f} ms on {model.device} (median of 30, in turn)")
    if args.arch or "architecture" not in read_metadata(args.out):
        print(f"it is loaded with --arch {args.arch or args.name}")


def _computing(args: argparse.Namespace) -> dict:
    """The options of every run over a data set that change its bits."""
    import torch

    # a machine's cores are shared by the workers of a cluster that lies on it
    shared = max(1, args.workers) if args.engine == "ray" else 1
    threads = max(1, torch.get_num_threads() // shared) if args.threads is None else args.threads
    return {"precision": args.precision, "batch_size": args.batch_size, "shard_size": args.shard_size,
            "threads": threads}


def _over_data(args: argparse.Namespace, work: Callable):
    """What a run over a data set gives; the first Ctrl-C lets it finish its shard."""
    from .collecting import Stopped
    from .models import load

    cluster = args.engine == "ray"  # whose machines may have what this one lacks
    model = load(args.name, arch=args.arch, device="cpu" if cluster else args.device)
    try:
        with _finish_first() as stop:
            return work(model, split=args.split, limit=args.limit, device=args.device if cluster else None,
                        engine=args.engine, workers=args.workers, address=args.address, stop=stop)
    except Stopped as error:
        raise KeyboardInterrupt(str(error)) from error


@contextmanager
def _finish_first() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C is only noted, for whoever asks the function; the second interrupts."""
    asked = threading.Event()

    def note(number, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        print("\nfinishing the shard at hand; press Ctrl-C again to stop at once", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread
        yield asked.is_set
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _export(args: argparse.Namespace) -> None:
    from .statistics import export, open_statistics

    for path in export(open_statistics(args.folder), args.into or Path(args.folder, "tables"), args.to):
        print(path)


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one line on bad input, 130 when interrupted."""
    args = parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"senet_viz {args.command}: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"senet_viz {args.command}: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130
    return 0


def _sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # an error of a process that decodes pictures arrives with its traceback, whose last line is "class: message"
    return lines[-1].partition(": ")[2] if lines[0].startswith("Caught ") else lines[0]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it lets it clear away partial files
    sys.exit(main())
