"""Model cards: what a network is, how it was trained, how well it does, and whether its attention lives."""
from math import hypot
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

from ..models.checkpoints import CheckpointError, read_metadata
from ..reports.text import ends, number
from ..statistics import Statistics, summaries
from ..statistics.dimension import TAIL
from ..statistics.directions import HEAVY

# in which a baseline may differ: what it has no attention for, and what the card names
OF_ATTENTION = ("attention", "reduction", "min_width", "history", "decay_gates", "precision")


def card(name: str, metadata: dict, statistics: Statistics | None = None, baseline: dict | None = None) -> str:
    """The model card, as Markdown; every figure in it was measured.

    Args:
        name: the network's.
        metadata: what ``train`` wrote into the file.
        statistics: of this network, for the number of directions of each gate.
        baseline: metadata of a network of the same recipe without attention, for its accuracy.

    Raises:
        ValueError: for a baseline with attention, of another recipe or other data, or of a network without attention.
    """
    recipe, data, accuracy, made = (metadata[key] for key in ("recipe", "data", "accuracy", "made"))
    size, plain = recipe["image_size"], recipe["attention"] == "none"
    attention = "no attention" if plain else f"attention {recipe['attention'].upper()}"
    rows = {
        "Architecture": f"bottleneck network of 3/4/6/3 units, {attention}, "
                        f"widths {'/'.join(map(str, recipe['widths']))} (×4 out), strides "
                        f"{'/'.join(map(str, recipe['strides']))} after a 3×3 stem of stride 2",
        **({} if plain else {"Attention": _hidden(recipe)}),
        "Input": f"{size}×{size} pixels",
        "Classes": str(len(metadata["classes"])),
        "Data": f"{data['name']}: {data['training']:,} training and {data['validation']:,} validation pictures",
        "Recipe": _recipe(recipe),
        "Augmentation": f"random crops of {recipe['scale']:.0%} of the area or more, mirroring; training pictures of "
                        f"{recipe['start_size']} growing to {size} pixels over {recipe['grow']:.0%} of the epochs",
        "Precision": f"{recipe['precision']} (stored in fp16)",
        "Seed": str(recipe["seed"]),
        "Accuracy": _accuracy(accuracy),
    }
    if baseline is not None:
        rows["Without attention"] = _without_attention(metadata, baseline)
    rows["Made"] = f"{made['date']}, torch {made['torch']}, timm {made['timm']}, on {made['device']}"
    lines = [f"# {name}", "", "| | |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in rows.items()]
    if statistics is not None:
        lines += ["", *_directions(statistics)]
    if data["note"]:
        lines += ["", data["note"]]
    return "\n".join(lines) + "\n"


def in_short(metadata: dict) -> str:
    """What was trained, by which recipe, and how accurate it is: the note in the log of a training.

    Args:
        metadata: what ``train`` writes into the file.
    """
    recipe = metadata["recipe"]
    return (f"{recipe['attention'].upper()}, {_hidden(recipe)}; {_recipe(recipe)}; "
            f"{_accuracy(metadata['accuracy'])}")


def _hidden(recipe: dict) -> str:
    return f"reduction {recipe['reduction']}, hidden layer of at least {recipe['min_width']}"


def _recipe(recipe: dict) -> str:
    gates_decay = recipe["attention"] == "none" or recipe.get("decay_gates", True)
    decayed = "on all weights" if gates_decay else "on all weights but the gates'"
    clipped = f"gradients clipped at norm {recipe['clip']:g}, " if recipe.get("clip") else ""
    return (f"{number(recipe['epochs'], 'epoch')}, batch {recipe['batch_size']}, SGD with Nesterov momentum "
            f"{recipe['momentum']}, learning rate {recipe['lr']} after {recipe['warmup']} epochs of warm-up, cosine to "
            f"0, weight decay {recipe['weight_decay']} {decayed}, {clipped}label smoothing "
            f"{recipe['label_smoothing']}")


def write_card(path: str | Path, statistics: Statistics | None = None, baseline: str | Path | None = None) -> Path:
    """Write the card of a network that ``train`` made beside its file, with what was measured since.

    Args:
        path: its safetensors file.
        statistics: of this network.
        baseline: the file of a network of the same recipe without attention.

    Returns:
        The card.

    Raises:
        CheckpointError: for a file that ``train`` did not write.
        ValueError: for statistics of another network, a network that was pruned, and a baseline that is none.
    """
    path = Path(path)
    metadata = trained(path)
    if statistics is not None and statistics.metadata["weights"] != _weights(path):
        raise ValueError(f"the statistics in {statistics.path} are of other weights than those of {path.name}")
    if metadata.get("removed"):  # what the file says of accuracy was measured before
        raise ValueError(f"{path.name} lacks attention blocks that it was trained with: its accuracy was not measured "
                         f"since")
    text = card(path.stem, metadata, statistics, None if baseline is None else trained(Path(baseline)))
    target = path.with_suffix(".md")
    target.write_text(text, encoding="utf-8")
    return target


def trained(path: Path) -> dict:
    """The metadata of a file that ``train`` wrote.

    Raises:
        CheckpointError: for another file.
    """
    metadata = read_metadata(path)
    whole = {"recipe", "data", "accuracy", "made", "classes"} <= set(metadata)
    if not whole or "attention" not in metadata["recipe"]:  # of an ablation the variant has it, not the recipe
        raise CheckpointError(f"{path.name} does not say how it was trained: senet-viz train did not write it.")
    return metadata


def _weights(path: Path) -> str:
    """The hash of the weights as a network holds them."""
    from ..models import load
    from ..models.identity import weights_hash

    return weights_hash(load(f"file:{path}", device="cpu").module)


def _accuracy(accuracy: dict) -> str:
    return (f"top-1 {accuracy['top1']:.1%}, top-5 {accuracy['top5']:.1%} on the {accuracy['images']:,} validation "
            f"pictures")


def _without_attention(metadata: dict, baseline: dict) -> str:
    """The accuracy of the same network without attention."""
    if metadata["recipe"]["attention"] == "none":
        raise ValueError("the network has no attention itself, so that a baseline says nothing about it")
    if baseline["recipe"]["attention"] != "none":
        raise ValueError(f"the baseline is a network without attention, not with {baseline['recipe']['attention']}")
    ours, theirs = ({key: value for key, value in each["recipe"].items() if key not in OF_ATTENTION}
                    | {"data": [each["data"][key] for key in ("name", "training", "validation")]}
                    for each in (metadata, baseline))
    other = [key.replace("_", " ") for key in ours if ours[key] != theirs.get(key)]
    if other:
        raise ValueError(f"the baseline has another {' and '.join(other)}, so that it is none")
    precision = baseline["recipe"]["precision"]
    recipe = "of the same recipe" + ("" if precision == metadata["recipe"]["precision"] else f" in {precision}")
    gained, low, high = _difference(metadata["accuracy"], baseline["accuracy"])
    return (f"{_accuracy(baseline['accuracy'])}, {recipe}: attention makes {100 * gained:+.1f} points of top-1 "
            f"({ends(100 * low, 100 * high, 1)} over other pictures, 95%; of one training each)")


def _difference(one: dict, other: dict) -> tuple[float, float, float]:
    """The difference between two top-1, and its 95 % interval, as of different pictures.

    From the intervals of each by E. Wilson, as R. Newcombe has it ("Interval estimation for the difference between
    independent proportions", Statistics in Medicine 17, 1998, method 10). Both saw the same pictures; where they are
    right on the same ones, which is not kept, the interval is too wide.
    """
    (first, low, high), (second, least, most) = (
        (each["top1"], *binomtest(round(each["top1"] * each["images"]), each["images"]).proportion_ci(method="wilson"))
        for each in (one, other))
    gained = first - second
    return gained, gained - hypot(first - low, most - second), gained + hypot(high - first, second - least)


def _directions(statistics: Statistics) -> list[str]:
    """A table of how many directions each block's gate and its input have."""
    table = summaries.dimension(statistics)
    rows = {(row["label"], row["source"]): row for row in table.to_dict("records")}
    lines = [f"In how many directions each gate moves over {statistics.sampled:,} pictures of "
             f"{statistics.metadata['data']} (participation ratio ± standard error):", "",
             "| block | channels | gate | its squeezed input z | hidden units that live |",
             "| --- | --- | --- | --- | --- |"]
    hidden = summaries.hidden_units(statistics).set_index("label")
    for block in statistics.blocks:
        gate, given = (rows[block.label, source] for source in ("gate", "squeeze"))
        live = hidden.loc[block.label] if block.label in hidden.index else None
        units = "" if live is None else f"{live['alive']} of {live['units']}"
        lines.append(f"| {block.label} | {gate['channels']} | {_number(gate)} | {_number(given)} | {units} |")
    if any(_heavy(row) for (_, source), row in rows.items() if source in ("gate", "squeeze")):
        lines += ["", f"†: {TAIL:.0%} of the pictures hold over {HEAVY:.0%} of the variance; in brackets the number "
                      f"without them."]
    return lines


def _heavy(row: dict) -> bool:
    return pd.notna(row["tail"]) and row["tail"] > HEAVY


def _number(row: dict) -> str:
    if pd.isna(row["dimension"]):
        return "not told"
    text = f"{row['dimension']:.1f} ± {row['error']:.2f}"
    without = f" ({row['trimmed']:.1f})" if pd.notna(row["trimmed"]) else ""
    return f"{text} †{without}" if _heavy(row) else text
