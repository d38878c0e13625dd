"""The command line: ``python -m senet_viz train|models …``."""
import argparse
import sys
from dataclasses import fields

from .training.recipe import Recipe


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
        several = isinstance(field.default, tuple)
        train.add_argument("--" + field.name.replace("_", "-"), default=field.default,
                           type=int if several else type(field.default), nargs=4 if several else None, help=" ")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    train.add_argument("--workers", type=int, default=2, help="processes that decode pictures")
    train.add_argument("--note", default="", help="a sentence for the card, on the data's licence for instance")
    train.set_defaults(run=_train)
    return main


def _train(args: argparse.Namespace) -> None:
    from .training import train

    values = {field.name: getattr(args, field.name) for field in fields(Recipe)}
    recipe = Recipe(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    from .models.devices import choose_device

    result = train(args.data, args.out, recipe, device=choose_device(args.device), workers=args.workers, note=args.note)
    print(f"{args.out}: top-1 {result['accuracy']['top1']:.1%}, top-5 {result['accuracy']['top5']:.1%}")


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one line on bad input, 130 when interrupted."""
    args = parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"senet_viz {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
