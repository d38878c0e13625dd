"""``senet-viz train``: a network of one's own."""
import argparse
from dataclasses import fields
from typing import Any

from ..training.recipe import Recipe

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
    "precision": "bf16 (autocast), fp32, or auto for the faster of them on this machine",
    "seed": "of everything random",
}


def add(commands: argparse._SubParsersAction) -> None:
    """Its options, those of the recipe among them."""
    command = commands.add_parser(
        "train", help="train a slim SE, SK or plain bottleneck network",
        description="Train a bottleneck network of 3/4/6/3 units with SE, SK or no attention on a folder of pictures "
                    "(train/CLASS/…, val/CLASS/…) or on Parquet files (train*.parquet, val*.parquet with the columns "
                    "image and label). Run again, it goes on where it stopped; what is finished is left as it is.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    command.add_argument("data", metavar="DATA", help="folder with the training and validation pictures")
    command.add_argument("out", metavar="OUT", help="file to write (….safetensors); a card is put beside it")
    for field in fields(Recipe):
        option = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            command.add_argument(option, action="store_true", help=HELP[field.name])
            continue
        several = isinstance(field.default, tuple)
        command.add_argument(option, default=field.default, type=int if several else type(field.default),
                             nargs=4 if several else None, help=HELP[field.name])
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    command.add_argument("--workers", type=int, default=2, help="processes that decode pictures")
    command.add_argument("--note", default="", help="a sentence for the card, on the data's licence for instance")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train, and print the accuracy."""
    from ..models.devices import choose_device
    from ..training import train

    given: dict[str, Any] = {field.name: getattr(args, field.name) for field in fields(Recipe)}
    for several in ("widths", "strides"):
        given[several] = tuple(given[several])
    recipe = Recipe(**given)
    result = train(args.data, args.out, recipe, device=choose_device(args.device), workers=args.workers, note=args.note)
    print(f"{args.out}: top-1 {result['accuracy']['top1']:.1%}, top-5 {result['accuracy']['top5']:.1%}")
