"""``senet-viz figure``: collected statistics as figures for a paper."""
import argparse
import os
import sys
import warnings
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "figure", help="figures for a paper",
        description="Draw collected statistics as vector figures at the width of a column, each with its caption "
                    "(model, data and numbers) in a text file beside it, and for LaTeX in a .tex file. se6, se7: the "
                    "SE paper's Figs. 6 and 7; sk3, sk4: the SK paper's Figs. 3 and 4; dimension and specificity: "
                    "over depth.")
    command.add_argument("folder", metavar="OUT", help="a folder that collect wrote, or the name of an embedded model")
    command.add_argument("figures", metavar="FIGURE", nargs="+",
                         choices=["se6", "se7", "sk3", "sk4", "dimension", "specificity"],
                         help="se6, se7, sk3, sk4, dimension or specificity")
    command.add_argument("--into", metavar="FOLDER", default="figures",
                         help="folder to write FIGURE.pdf, .txt and .tex into (default: figures)")
    command.add_argument("--format", choices=["pdf", "svg"], default="pdf")
    command.add_argument("--style", choices=["paper", "paper-serif"], default="paper",
                         help="letters without or with serifs, of 7 to 9 points (default: paper)")
    command.add_argument("--width", default="column", metavar="WIDTH",
                         help="column (84 mm), page (174 mm) or a number of mm (default: column)")
    command.add_argument("--classes", nargs="+", default=[], metavar="NAME",
                         help="of se6 and se7 (default: the paper's, where the data has them)")
    command.add_argument("--blocks", nargs="+", default=[], metavar="LABEL",
                         help="of se6, se7, sk3 and sk4, such as SE_4_6 or \"SE_5_*\" (default: as in the papers)")
    command.add_argument("--zoom", type=float, metavar="Z",
                         help="of the pictures; in sk4 the size to compare with 1 (default: the next larger one)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Draw, and print the files."""
    from ..data.places import ASSETS
    from ..statistics import open_statistics
    from ..statistics.paper_figures import PaperFigures, latex

    for option, figures in (("classes", {"se6", "se7"}), ("blocks", {"se6", "se7", "sk3", "sk4"})):
        if getattr(args, option) and not figures & set(args.figures):
            raise ValueError(f"--{option} is of {', '.join(sorted(figures))}")
    into = _folder(args.into)
    embedded = ASSETS / "statistics" / args.folder.removeprefix("demo/")
    path = embedded if args.folder.startswith("demo/") and embedded.is_dir() else Path(args.folder)
    paper = PaperFigures(open_statistics(path), width=args.width, style=args.style, blocks=args.blocks,
                         classes=args.classes, zoom=args.zoom)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        drawn = {name: paper.draw(name) for name in dict.fromkeys(args.figures)}  # all, before one is written
        for name, printed in drawn.items():
            paper.save(printed, into / f"{name}.{args.format}", args.format)
    if any("missing from font" in str(warning.message) for warning in said):
        print("the font lacks letters of some names: boxes stand for them", file=sys.stderr)
    for name, printed in drawn.items():
        texts = {"txt": f"{printed.caption}\n\n{printed.numbers}\n"}
        if args.format == "pdf":  # which LaTeX includes
            texts["tex"] = latex(printed, name)
        for suffix, text in texts.items():
            (into / f"{name}.{suffix}").write_text(text, encoding="utf-8")
        for suffix in (args.format, *texts):
            print(into / f"{name}.{suffix}")


def _folder(path: str) -> Path:
    """A folder to write into, made where it is not there."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{path} is a file, not a folder to write into")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {path} cannot be written")
    return folder
