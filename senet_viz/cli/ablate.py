"""``senet-viz ablate``: variants of attention, trained alike and compared."""
import argparse

from ..reports.text import ends
from ._output import Column, print_json, print_table, records

VARIANTS = [
    Column("variant", "variant"), Column("top1", "top-1", ".2f"), Column("top5", "top-5", ".2f", 3),
    Column("difference", "change", "+z.2f"), Column("pictures", "pictures", spare=4, right=True),
    Column("seeds", "seeds", spare=4, right=True), Column("both", "both", right=True),
    Column("trained", "trained", ",", 2), Column("gone", "diverged", ",", 1), Column("parameters", "params", ",", 5),
    Column("macs", "MACs", ",", 6), Column("dimension", "directions", ".1f", 3),
    Column("seconds", "seconds", ",.0f", 7)]


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "ablate", help="train variants of attention alike, and compare them",
        description="Train every variant of a plan with each of its seeds, and write into one folder how accurate each "
                    "is, what it differs from the reference by on the same pictures, and what it costs. Run again with "
                    "the same arguments, it goes on where it stopped, and ends with the same table.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    command.add_argument("plan", metavar="PLAN", help="a TOML file: recipe, seeds, variants, and the reference")
    command.add_argument("data", metavar="DATA", help="folder with the training and validation pictures")
    command.add_argument("out", metavar="OUT", help="folder to write")
    command.add_argument("--limit", type=int, metavar="N", help="take at most N pictures of each split, evenly spread")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    command.add_argument("--threads", type=int, default=1, help="of the CPU, in one training")
    command.add_argument("--engine", choices=["local", "ray"], default="local",
                         help="this process, or a Ray cluster, whose machines can read DATA")
    command.add_argument("--workers", type=int, default=1, help="trainings at a time, each a process")
    command.add_argument("--address", help="of the Ray cluster; else the one that is running, or a new one here")
    command.add_argument("--keep-weights", action="store_true", help="keep each trained network, too")
    command.add_argument("--json", action="store_true", help="print one JSON document, with all digits, for programs")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train, and print a row a variant."""
    from ..training import ablate
    from ..training.ablation_sections import findings

    try:
        found = ablate(args.plan, args.data, args.out, limit=args.limit, device=args.device, threads=args.threads,
                       engine=args.engine, workers=args.workers, address=args.address, keep_weights=args.keep_weights)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("interrupted; finished epochs are kept: run again to go on") from error
    if args.json:
        print_json({"plan": found.plan.meaning(), "data": found.about["data"], "variants": records(found.table),
                    "trainings": records(found.trainings)})
        return
    rows = []
    for row in records(found.table):
        for name, of in (("pictures", ""), ("seeds", "_seeds"), ("both", "_both")):
            low, high = row[f"low{of}"], row[f"high{of}"]
            row[name] = "" if low != low else ends(100 * low, 100 * high, 2)
        percent = {name: 100 * row[name] for name in ("top1", "top5", "difference")}
        rows.append(row | percent | {"gone": row["diverged"] or None})
    print_table(VARIANTS, rows)
    print(f"Changes of top-1 from {found.plan.reference} are in percentage points, over the same pictures, with 95 % "
          f"intervals for other pictures, other seeds, and both")
    print(*(sentence.replace("**", "") for sentence in findings(found)), sep="\n")
