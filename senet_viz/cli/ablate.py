"""``senet-viz ablate``: variants of attention, trained alike and compared."""
import argparse


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
    command.add_argument("--workers", type=int, default=1, help="trainings at a time, of Ray")
    command.add_argument("--address", help="of the Ray cluster; else the one that is running, or a new one here")
    command.add_argument("--keep-weights", action="store_true", help="keep each trained network, too")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train, and print the table."""
    from ..training import ablate

    found = ablate(args.plan, args.data, args.out, limit=args.limit, device=args.device, threads=args.threads,
                   engine=args.engine, workers=args.workers, address=args.address, keep_weights=args.keep_weights)
    table = found.table
    width = max(len("variant"), table["variant"].str.len().max())
    print(f"{'variant':{width}}  {'top-1':>6}  {'top-5':>6}  {'difference':>10}  {'over both':>16}  {'params':>11}  "
          f"{'MMACs':>7}  {'seconds':>7}  {'dim':>5}")
    for row in table.to_dict("records"):
        told = row["difference"] == row["difference"]
        between = f"{100 * row['low_both']:+.2f} to {100 * row['high_both']:+.2f}" if told else ""
        print(f"{row['variant']:{width}}  {100 * row['top1']:6.2f}  {100 * row['top5']:6.2f}  "
              f"{format(100 * row['difference'], '+10.2f') if told else '':>10}  {between:>16}  "
              f"{row['parameters']:11,}  {row['macs'] / 1e6:7.2f}  {row['seconds']:7,.0f}  {row['dimension']:5.1f}"
              + (f"  diverged with {row['diverged']} of {row['diverged'] + row['trained']} seeds"
                 if row["diverged"] else ""))
    print(f"{args.out}: {len(found.trainings)} trainings of {len(table)} variants; differences of top-1 from "
          f"{found.plan.reference} in points, with 95 % intervals over pictures and seeds")
