"""``senet-viz prune``: attention blocks removed for good."""
import argparse
from pathlib import Path

from ._options import add_model, add_model_options, add_statistics
from ._output import print_json


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "prune", help="remove attention blocks for good",
        description="Write a smaller network, in which the gates of some attention blocks are held: at 1 the block "
                    "goes, at another number or the gates' mean over a data set the numbers are folded into the "
                    "layer before or behind it (where neither can take them a number a channel stays), and of a "
                    "selective-kernel unit one branch (3x3) stays. Nothing is trained anew. Prints what that saves, "
                    "with the median time of one picture on this device.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_model(command)
    command.add_argument("out", metavar="OUT", help="file to write, ….safetensors")
    chosen = command.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--blocks", help="SE_5_*, or \"stage 5\", or several with commas between")
    chosen.add_argument("--evaluation", metavar="FOLDER",
                        help="that evaluate wrote with --each-block: the blocks that lost little there, each by itself")
    command.add_argument("--within", type=float, default=0.1, metavar="POINTS", help="how little, of top-1 in %%")
    command.add_argument("--by", help="a number, mean, or for kernels 3x3, branch 0 (default: no attention, 1; in "
                                      "NFNets, where a factor of 2 follows, 0.5)")
    add_statistics(command)
    command.add_argument("--json", action="store_true", help="print what it saves as one JSON document, for programs")
    add_model_options(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the smaller network, and print what it saves."""
    from ..collecting import open_evaluation
    from ..collecting.evaluate import gate_means, harmless
    from ..experiments.prune import latency, prune, save_pruned
    from ..gates.removals import no_attention
    from ..models import load
    from ..models.checkpoints import read_metadata
    from ..models.identity import weights_hash
    from ..statistics import StatisticsError

    if Path(args.out).suffix != ".safetensors":
        raise ValueError(f"{args.out} is not the name of a safetensors file")
    model = load(args.name, arch=args.arch, device=args.device, ignore_unexpected=args.ignore_unexpected)
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
    seconds = latency([model.module, smaller.module], model.example_batch)
    saved = model.parameters - smaller.parameters
    arch = None if not args.arch and "architecture" in read_metadata(args.out) else args.arch or args.name
    if args.json:
        print_json({"file": args.out, "blocks": [change["name"] for change in removed], "arch": arch,
                    "folded": {change["name"]: change["into"] for change in removed if "into" in change},
                    "scaled": [change["name"] for change in removed if change["by"] == "scale"],
                    "parameters": {"before": model.parameters, "after": smaller.parameters},
                    "seconds": dict(zip(("before", "after"), seconds)), "device": str(model.device)})
        return
    labels = {block.name: block.label for block in model.blocks}
    folded = [f"{labels[change['name']]} into {change['into']}" for change in removed if "into" in change]
    scaled = [labels[change["name"]] for change in removed if change["by"] == "scale"]
    before, after = (1e3 * value for value in seconds)
    megabytes = 4e-6 * saved
    print(f"{args.out}: {', '.join(change['name'] for change in removed)}\n"
          f"parameters {model.parameters:,} → {smaller.parameters:,} ({saved / model.parameters:.1%} and "
          f"{megabytes:.2f} MB of float32 saved)\n"
          f"one picture {before:.2f} ms → {after:.2f} ms on {model.device} (median of 30, in turn)")
    if folded:
        print(f"gates folded into weights, so that nothing is multiplied: {', '.join(folded)}")
    if scaled:
        print(f"a number a channel stays, for no layer beside takes it in: {', '.join(scaled)}")
    if arch:
        print(f"it is loaded with --arch {arch}")
