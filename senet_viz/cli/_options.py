"""Options that several commands take."""
import argparse
import pkgutil
from pathlib import Path

MODEL = "demo/…, timm/…, torchvision/… or file:…"
ENGINES = Path(__file__).parents[1] / "collecting" / "engines"  # a file each; to import them would take seconds


def add_model(command: argparse.ArgumentParser) -> None:
    """The network's name."""
    command.add_argument("name", metavar="MODEL", help=MODEL)


def add_model_options(command: argparse.ArgumentParser) -> None:
    """How the network is loaded."""
    command.add_argument("--arch", help="architecture of a file: that does not say its own, timm/… or torchvision/…")
    command.add_argument("--ignore-unexpected", action="store_true",
                         help="leave out tensors of a file: that the architecture has no place for, as another head's")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")


def add_run_options(command: argparse.ArgumentParser) -> None:
    """How a data set is gone through."""
    command.add_argument("--split", help="train or val: the sub-folder or the Parquet files of that name")
    command.add_argument("--limit", type=int, help="look only at so many pictures, spread evenly over the data set")
    command.add_argument("--precision", choices=["fp32", "bf16", "fp16", "auto"], default="fp32",
                         help="of the network; auto takes bf16 where it is the faster, timed where the run begins")
    command.add_argument("--batch-size", type=int, default=32, help="pictures in a forward")
    command.add_argument("--shard-size", type=int, default=512, help="pictures in a shard, the unit that is kept")
    command.add_argument("--threads", type=int, default=None, help="of the CPU in a forward; all where not given")
    command.add_argument("--engine", choices=[file.name for file in pkgutil.iter_modules([str(ENGINES)])],
                         default="local",
                         help="compute here, or on a Ray cluster")
    command.add_argument("--address", help="of the Ray cluster; one is started here where none runs")
    command.add_argument("--workers", type=int, default=2,
                         help="processes that decode pictures; with ray, that compute")
    add_model_options(command)


def add_statistics(command: argparse.ArgumentParser) -> None:
    """Where the gates' means come from."""
    command.add_argument("--statistics", metavar="FOLDER", help="that collect wrote, of which the mean is taken; the "
                                                                 "embedded ones for an embedded model")


def add_output(command: argparse.ArgumentParser, out: str) -> None:
    """``--json`` for programs, or ``--out`` for a file; not both."""
    where = command.add_mutually_exclusive_group()
    where.add_argument("--json", action="store_true", help="print one JSON document, with all digits, for programs")
    where.add_argument("--out", metavar="FILE", help=out)
