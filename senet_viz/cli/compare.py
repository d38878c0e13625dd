"""``senet-viz compare``: what differs between networks, over collected data or on photos."""
import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._output import Column, check_file, print_json, print_table, records
from ._photos import open_photo, short_names

if TYPE_CHECKING:
    import pandas as pd

    from ..statistics import Statistics

CURVES = (Column("run", "run"), Column("label", "block"), Column("omega_squared", "ω²", ".2f"),
          Column("dimension", "directions", ".1f"), Column("spread", "spread", ".3f", 1),
          Column("mean", "mean", ".3f", 2), Column("beyond", "saturated", ".1%", 3),
          Column("fixed", "dead, open, constant", ".1%", 4))
DIFFERENCES = (Column("beside", "run"), Column("place", "place"), Column("title", "measure"),
               Column("first", "first", ".4g", 1), Column("second", "second", ".4g", 1),
               Column("difference", "difference", "+z.3g"), Column("interval", "95 %", right=True),
               Column("over", "interval for", spare=2))
ALIKE = (Column("beside", "run"), Column("what", "CKA of"), Column("first", "block"), Column("second", "with"),
         Column("cka", "CKA", "z.2f"), Column("interval", "95 %", right=True),
         Column("chance", "shuffled", spare=1, right=True))
PHOTOS = (Column("picture", "picture"), Column("run", "network"), Column("label", "block"), Column("kernel", "kernel"),
          Column("mean", "mean", ".4f"), Column("std", "std", ".4f"), Column("below", "below 0.05", ".1%", 1),
          Column("above", "above 0.95", ".1%", 1))
APART = (Column("pair", "photos"), Column("run", "network"), Column("label", "block"),
         Column("distance", "distance of gates", ".4f"))
STATIC = (Column("run", "run"), Column("place", "place"), Column("top1", "top-1 with mean gates", ".1%"),
          Column("difference", "change", "+.2%"), Column("interval", "95 %", right=True),
          Column("verdict", "the gate is"))


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "compare", help="networks side by side, over collected data or on photos",
        description="Print what the gates of collected runs do over depth, by how much each further run differs from "
                    "the first, with 95 % intervals, and how alike they see classes and pictures (linear CKA, beside "
                    "shuffled pairs); of networks with the same blocks also which channels changed. Blocks are aligned "
                    "by stage and place in it. With --models and --photos: the gates of networks on the same photos.")
    command.add_argument("runs", metavar="RUN", nargs="*",
                         help="folders that collect wrote, or embedded models (demo/…); two or more")
    command.add_argument("--evaluation", metavar="FOLDER", nargs="+", default=[],
                         help="that evaluate wrote of these networks with gates at their mean; those of embedded "
                              "models are known")
    command.add_argument("--zoom", type=float, default=1.0, help="of the pictures of the runs (default: 1)")
    command.add_argument("--models", metavar="MODEL", nargs="+", help="networks to load: demo/…, timm/…, "
                                                                      "torchvision/… or file:…")
    command.add_argument("--photos", metavar="PHOTO", nargs="+", help="pictures to read, for --models")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps, for --models")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--json", action="store_true", help="print one JSON document, with all digits, for programs")
    where.add_argument("--out", metavar="FILE",
                       help="write everything as one long CSV table: quantity, run, beside, level, place, "
                            "beside_place, value, low, high")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare, and print tables and sentences."""
    check_file(args.out)
    if args.models or args.photos:
        if args.runs or args.evaluation:
            raise ValueError("compare takes either runs, or --models and --photos")
        if not args.photos or len(args.models or []) < 2:
            raise ValueError("--models takes two networks or more, and --photos the pictures to show them")
        _photos(args)
    elif len(args.runs) < 2:
        raise ValueError("compare takes two runs or more (folders that collect wrote, or demo/…), or --models and "
                         "--photos")
    else:
        _runs(args)


def _open(name: str) -> "Statistics":
    from ..data.places import ASSETS
    from ..statistics import open_statistics

    embedded = sorted(path.name for path in (ASSETS / "statistics").glob("*/"))
    source, _, model = name.partition("/")
    if source == "demo" and model in embedded:
        return open_statistics(ASSETS / "statistics" / model)
    if not Path(name).is_dir():
        raise FileNotFoundError(f"there is no folder {name}, nor an embedded model of that name; these are: "
                                f"{', '.join(f'demo/{each}' for each in embedded)}")
    return open_statistics(name)


def _runs(args: argparse.Namespace) -> None:
    import pandas as pd

    from ..collecting.beside import evaluations_of
    from ..experiments.compare import static_findings, static_gates
    from ..statistics.comparison_sections import ComparisonSections, run_names

    opened = [_open(name) for name in args.runs]
    sections = ComparisonSections(dict(zip(run_names(opened), opened)), zoom=args.zoom)
    evaluations = evaluations_of(sections.runs, args.evaluation)
    static = static_gates({name: (table, sections.runs[name].blocks) for name, table in evaluations.items()})
    found = [*sections.curves().found]
    differences, alike, channels = [], [], []
    for name in list(sections.runs)[1:]:
        pair = sections.beside(name)
        differences.append(pair.difference_table.assign(beside=name))
        found += pair.differences().found
        for make in (lambda pair=pair: pair.classes()[0], pair.pictures):
            try:
                section = make()
            except ValueError as error:  # said, and the rest goes on
                found.append(_sentence(error))
                continue
            table = pd.DataFrame(section.table)
            alike.append(table.assign(what=table.get("source", "classes"), beside=name))
            found += section.found
        if pair.equal:
            section = pair.channels()
            channels.append(pd.DataFrame(section.table).assign(beside=name))
            found += section.found
    found += static_findings(static, list(sections.runs))
    tables = {"blocks": sections.table, "differences": _joined(differences), "similarity": _joined(alike),
              "channels": _joined(channels), "static": static}
    said = [_bare(sentence) for sentence in found]
    if args.json:
        print_json({name: records(table) for name, table in tables.items()} | {"found": said})
        return
    if args.out:
        _long(tables, next(iter(sections.runs))).to_csv(args.out, index=False)
    print_table(CURVES, records(tables["blocks"]))
    _print_differences(tables["differences"])
    if len(tables["similarity"]):
        print()
        print_table(ALIKE, records(_intervals(tables["similarity"], "z.2f").assign(
            chance=[f"{low:z.2f} to {high:z.2f}" for low, high in zip(
                tables["similarity"]["shuffled_low"], tables["similarity"]["shuffled_high"])])))
    if len(stages := static[static["level"] == "stage"]):
        print()
        print_table(STATIC, records(_intervals(stages, "+.2%")))
    print("", *said, sep="\n")


def _print_differences(table: "pd.DataFrame") -> None:
    from ..statistics.comparison import MEASURES

    stages = _intervals(table[table["level"] == "stage"], "+z.3g")
    print()
    print_table(DIFFERENCES, records(stages.assign(title=[MEASURES[name].title for name in stages["measure"]])))


def _intervals(table: "pd.DataFrame", form: str) -> "pd.DataFrame":
    return table.assign(interval=["" if low != low else f"{low:{form}} to {high:{form}}"
                                  for low, high in zip(table["low"], table["high"])])


def _joined(parts: list) -> "pd.DataFrame":
    import pandas as pd

    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _long(tables: "dict[str, pd.DataFrame]", first: str) -> "pd.DataFrame":
    """All of it, a row a number."""
    import pandas as pd

    from ..statistics.comparison import MEASURES

    blocks, rows = tables["blocks"], []
    for measure in MEASURES:
        rows += [(measure, row["run"], "", "block", row["label"], "", row[measure], None, None)
                 for row in records(blocks)]
    for row in records(tables["differences"]):
        places = (row["first_block"] or row["place"], row["second_block"] or row["place"])
        rows.append((row["measure"], first, row["beside"], row["level"], *places, row["difference"], row["low"],
                     row["high"]))
    for row in records(tables["similarity"]):
        rows.append((f"cka {row['what']}", first, row["beside"], "block", row["first"], row["second"], row["cka"],
                     row["low"], row["high"]))
        rows.append((f"cka {row['what']}, shuffled", first, row["beside"], "block", row["first"], row["second"],
                     row["shuffled"], row["shuffled_low"], row["shuffled_high"]))
    for row in records(tables["channels"]):
        channel = f"{row['label']}:{row['channel']}"
        rows += [(quantity, first, row["beside"], "channel", channel, channel, row[column], None, None)
                 for quantity, column in (("mean", "difference"), ("class profile", "correlation"))]
    for row in records(tables["static"]):
        rows.append(("top1 with mean gates", row["run"], "", row["level"], row["place"], "", row["difference"],
                     row["low"], row["high"]))
    return pd.DataFrame(rows, columns=["quantity", "run", "beside", "level", "place", "beside_place", "value", "low",
                                       "high"])


def _photos(args: argparse.Namespace) -> None:
    import pandas as pd

    from ..experiments import compare
    from ..gates import inspect
    from ..models import load

    views: dict[str, dict[str, Any]] = {}
    pictures = {photo: open_photo(photo) for photo in args.photos}
    for name in args.models:
        model = load(name, device=args.device)
        if not model.blocks:
            raise ValueError(f"{name} has no attention blocks, so there are no gates to compare.")
        run = name if name not in views else f"{name} [{sum(each.startswith(name) for each in views) + 1}]"
        views[run] = {photo: inspect(model, model.batch([picture])) for photo, picture in pictures.items()}
    table, apart = compare.photos(views), compare.distances(views)
    said = [_bare(sentence) for sentence in compare.photo_findings(table, apart)]
    if args.json:
        print_json({"photos": records(table), "distances": records(apart), "found": said})
        return
    if args.out:
        rows = [(measure, row["run"], "", "block", row["label"], "", row["picture"], "", row[measure])
                for row in records(table) for measure in ("mean", "std", "below", "above")]
        rows += [("distance", row["run"], "", "block", row["label"], "", row["first"], row["second"], row["distance"])
                 for row in records(apart)]
        pd.DataFrame(rows, columns=["quantity", "run", "beside", "level", "place", "beside_place", "photo",
                                    "beside_photo", "value"]).to_csv(args.out, index=False)
    names = short_names(args.photos)
    print_table(PHOTOS, [{**row, "picture": names[row["picture"]]} for row in records(table)])
    if len(apart):
        print()
        print_table(APART, [{**row, "pair": f"{names[row['first']]}, {names[row['second']]}"}
                            for row in records(apart)])
    print("", *said, sep="\n")


def _sentence(error: ValueError) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."


def _bare(sentence: str) -> str:
    """Without marks of Markdown, and with what was escaped for it as it stands."""
    return re.sub(r"\\([!-/:-@\[-`{-~])|\*\*|`", r"\1", sentence)
