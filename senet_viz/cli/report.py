"""``senet-viz report``: what the app shows of photos, or of a data set, as one HTML file."""
import argparse
import shlex
import sys
from pathlib import Path

from ._options import add_model_options
from ._output import check_file
from ._photos import open_photo, short_names

MOST = 16  # photos in a report, as on a page
USAGE = """%(prog)s MODEL PHOTO [PHOTO ...] --out FILE.html [options]
       %(prog)s --statistics OUT --out FILE.html [options]"""


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "report", help="photos, or a data set, as one HTML file", usage=USAGE,
        description="Write what the app shows of photos (its page Explore) or of statistics that collect wrote (its "
                    "page Classes) into one HTML file, which opens without a network and can be sent: figures, "
                    "sentences, tables and scripts. Printed, from the browser or with --pdf, it fits A4.")
    # a network and photos, or --statistics; not nargs="*", which would not find photos behind an option
    command.add_argument("name", metavar="MODEL", help="demo/…, timm/…, torchvision/… or file:…").required = False
    command.add_argument("photos", metavar="PHOTO", nargs="+",
                         help=f"pictures to read, at most {MOST}").required = False
    command.add_argument("--statistics", metavar="OUT",
                         help="a folder that collect wrote, instead of a model and photos")
    command.add_argument("--out", metavar="FILE.html", required=True, help="the file to write")
    command.add_argument("--class", dest="target", help="what Grad-CAM explains (default: each photo's own top class)")
    command.add_argument("--pdf", metavar="FILE.pdf",
                         help="print it into this file too; takes Chromium, Chrome or Edge")
    command.add_argument("--chromium", metavar="PATH",
                         help="the browser that prints (default: CHROME_PATH, or the first that is found)")
    add_model_options(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the report, then write it, and print it."""
    from ..data.files import replacing
    from ..reports.pdf import find_chromium, print_pdf

    _check(args)
    chromium = find_chromium(args.chromium) if args.pdf else ""
    made, about = _of_data(args) if args.statistics else _of_photos(args)
    with replacing(args.out) as part:
        part.write_text(made, encoding="utf-8")
    print(f"{args.out}: {about}, {Path(args.out).stat().st_size / 1e6:.1f} MB")
    if args.pdf:
        print_pdf(args.out, args.pdf, chromium)
        print(args.pdf)


def _check(args: argparse.Namespace) -> None:
    if args.statistics and (args.name or args.target):
        raise ValueError("a report is of a model and photos, or of --statistics: of a data set name no model, photo "
                         "or class")
    if not args.statistics and not args.photos:
        raise ValueError("there is nothing to report: name a model and photos, or with --statistics a folder that "
                         "collect wrote")
    if args.photos and len(args.photos) > MOST:
        raise ValueError(f"a report shows at most {MOST} photos, and {len(args.photos)} were named; collect looks at "
                         f"whole folders")
    for path, endings in ((args.out, (".html", ".htm")), (args.pdf, (".pdf",))):
        if path and Path(path).suffix.lower() not in endings:
            raise ValueError(f"{path} does not end in {endings[0]}")
        check_file(path)


def _command(args: argparse.Namespace) -> dict[str, str]:
    """The line at the head of a report that says how to make it again."""
    words = ["--statistics", args.statistics] if args.statistics else [args.name, *args.photos]
    words += [word for option, value in (("--class", args.target), ("--arch", args.arch)) if value
              for word in (option, value)]
    words += ["--ignore-unexpected"] * args.ignore_unexpected
    return {"Command": shlex.join(["senet-viz", "report", *words, "--out", Path(args.out).name])}


def _of_data(args: argparse.Namespace) -> tuple[str, str]:
    from ..statistics import open_statistics
    from ..statistics.data_report import data_report
    from ..statistics.sections import DataSections

    data = DataSections(open_statistics(args.statistics))
    return data_report(data, facts=_command(args)), data.what


def _of_photos(args: argparse.Namespace) -> tuple[str, str]:
    from ..experiments.looking import look
    from ..experiments.picture_report import picture_report
    from ..experiments.picture_sections import NO_CAMS, PictureSections
    from ..gates.answers import OTHER
    from ..models import for_and_against, load
    from ..reports.scripts import load_model

    model = load(args.name, arch=args.arch, device=args.device, ignore_unexpected=args.ignore_unexpected)
    model.check_pictures()
    if not model.blocks:
        raise ValueError(f"{model.name} has no attention blocks, so there is nothing to report.")
    binary = model.answer.binary
    if binary:
        model = for_and_against(model)
    if args.target is not None and model.answer.task == OTHER:
        raise ValueError(model.answer.lacks(NO_CAMS))
    target = None if args.target is None else model.class_index(args.target)
    looks, unread = {}, {}
    for path, name in short_names(args.photos).items():
        try:
            looks[name] = path, look(model, open_photo(path))
        except (ValueError, OSError) as error:
            if len(args.photos) == 1:
                raise
            unread[name] = str(error).removeprefix(f"{path}: ")
            print(f"left out {path}: {unread[name]}", file=sys.stderr)
    if not looks:
        raise ValueError(f"none of the {len(args.photos)} photos can be shown")
    sections = PictureSections(
        model, load_model(args.name, str(model.device), arch=args.arch, binary=binary,
                          ignore_unexpected=args.ignore_unexpected),
        {name: path for name, (path, _) in looks.items()}, {name: found.view for name, (_, found) in looks.items()},
        {name: found.seen for name, (_, found) in looks.items()})
    left_out = {"Left out": "; ".join(f"{name}: {why}" for name, why in unread.items())} if unread else {}
    return (picture_report(sections, target=target, facts=left_out | _command(args)),
            f"{len(looks)} photo{'s' * (len(looks) > 1)} in {model.name}")
