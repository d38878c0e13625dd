"""What attention costs: parameters and multiply-accumulates of the papers' networks, with it and without.

Every number is counted on a network that is built for it, on PyTorch's meta device, where no weight has a value, and
once: a count is kept. What the papers published stands beside it (``senet_viz.reports.papers``).
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..gates.hooks import hooked
from ..layers import SelectiveKernel, SqueezeExcite
from ..models import macs
from ..models.insert import with_attention
from ..models.networks import NETWORKS
from ..models.resnet import ResNet, _stem7
from ..reports import papers

UNITS = (3, 4, 6, 3)  # of a 50-layer network; 3, 4, 23, 3 of one of 101 layers
NOT_BUILT = "not built here"
BUILT = {  # the SE paper's networks → those of this package
    "ResNet-50": "se_resnet50", "ResNet-101": "se_resnet101", "ResNet-152": "se_resnet152",
    "ResNeXt-50": "se_resnext50_32x4d", "ResNeXt-101": "se_resnext101_32x4d", "VGG-16 with BN": "se_vgg16_bn",
    "BN-Inception": "se_bn_inception", "Inception-ResNet-v2": "se_inception_resnet_v2", "MobileNet": "se_mobilenet",
    "ShuffleNet": "se_shufflenet", "SENet-154": "senet154"}
PLAIN = {"Inception-v3": "se_inception_v3", "Inception-ResNet-v2": "se_inception_resnet_v2"}  # counted without SE
SIDES = {"se_inception_v3": 299, "se_inception_resnet_v2": 299}  # of the picture, in pixels; of the others 224
PLACES = {"standard": "standard", "PRE": "pre", "POST": "post", "Identity": "identity", "3×3": "3x3"}


@dataclass(frozen=True)
class Cost:
    """A network with attention beside the same without.

    Attributes:
        table: a row a part: part ("stem", "stage 2" … "stage 5", "classifier"), units, channels (C of each gate),
            hidden (width of its hidden layer), without (parameters of the network without attention), attention (those
            that it adds).
        macs, macs_without: multiply-accumulates of one picture of 224×224: convolutions and matrix products; pooling
            and scaling are not counted.
        pointwise: what attention does to each value of a map, one operation each: its part in the squeeze's mean and
            the multiplication by the gate; of several branches also the sums over them.
    """

    table: pd.DataFrame
    macs: int
    macs_without: int
    pointwise: int

    @property
    def attention(self) -> int:
        """Parameters that attention adds."""
        return int(self.table["attention"].sum())

    @property
    def parameters(self) -> int:
        """Parameters of the network with attention."""
        return self.attention + int(self.table["without"].sum())

    @property
    def share(self) -> float:
        """What attention adds over the network with it, 0..1."""
        return self.attention / self.parameters


@lru_cache(256)
def se_cost(reduction: int = 16, width: int = 64, bias: bool = False, units: tuple[int, ...] = UNITS) -> Cost:
    """SE-ResNet-50, or one as deep with other widths.

    Args:
        reduction: r.
        width: of the first stage's 3×3 convolutions, 64 in the paper; each stage is twice as wide as the one before,
            and a gate has four times as many channels.
        bias: whether the gate's two layers have biases; the released networks' have, the paper's formula counts none.
        units: of each stage.

    Raises:
        ValueError: for a size below 1.
    """
    return _cost("SE-ResNet", width, units, 1, se=lambda c: SqueezeExcite(c, reduction, fc="conv", bias=bias))


@lru_cache(256)
def sk_cost(branches: int = 2, groups: int = 32, reduction: int = 16, min_width: int = 32, width: int = 128,
            units: tuple[int, ...] = UNITS) -> Cost:
    """SKNet-50 = SK[M, G, r], L in the place of each 3×3 of ResNeXt-50, or one as deep with other widths.

    Args:
        branches: M; 3×3 with dilations 1, 2, …
        groups: G, of each branch's convolution, and of the 3×3 without attention.
        reduction: r.
        min_width: L, the least width of the hidden layer z.
        width: of the first stage's 3×3 convolutions, C, 128 in the paper; each stage has twice that of the one before.
        units: of each stage.

    Raises:
        ValueError: as ``SelectiveKernel``.
    """
    return _cost("ResNeXt", width, units, groups, sk=lambda i, o, stride: SelectiveKernel(
        i, o, branches=branches, groups=groups, reduction=reduction, min_width=min_width, stride=stride))


@lru_cache(8)
def se_resnext_cost(units: tuple[int, ...] = UNITS) -> Cost:
    """SE-ResNeXt-50 32×4d, the SK paper's SENet-50, with biases."""
    return _cost("ResNeXt", 128, units, 32, se=lambda c: SqueezeExcite(c, 16, fc="conv"))


def _build(backbone: str, width: int, units: tuple[int, ...], groups: int, **attention) -> ResNet:
    options: dict[str, Any] = {"expansion": 2, "groups": groups}
    if backbone == "SE-ResNet":
        options = {"expansion": 4, "stride_first": True}
    with torch.device("meta"):
        stem = _stem7(ceil_mode=backbone == "SE-ResNet")
        return ResNet(stem, 64, units, [width << stage for stage in range(4)], **options, **attention).eval()


@lru_cache(32)
def _without(backbone: str, width: int, units: tuple[int, ...], groups: int) -> tuple[dict[str, int], int]:
    network = _build(backbone, width, units, groups)
    return {name: _count(part) for name, part in network.named_children()}, macs(network)


def _cost(backbone: str, width: int, units: tuple[int, ...], groups: int, **attention) -> Cost:
    network, (without, macs_without) = _build(
        backbone, width, units, groups, **attention), _without(backbone, width, units, groups)
    rows = []
    for name, part in network.named_children():
        if not without[name]:
            continue
        label = {"stem": "stem", "fc": "classifier"}.get(name) or f"stage {int(name.removeprefix('layer')) + 1}"
        gates = [module for module in part.modules() if isinstance(module, (SqueezeExcite, SelectiveKernel))]
        hidden, channels = 0, 0
        if gates:
            first = gates[0].reduce if isinstance(gates[0], SqueezeExcite) else gates[0].fuse[1]
            hidden, channels = next(first.parameters()).shape[:2]
        rows.append((label, len(gates), channels, hidden, without[name], _count(part) - without[name]))
    table = pd.DataFrame(rows, columns=["part", "units", "channels", "hidden", "without", "attention"])
    total, pointwise = _operations(network)
    return Cost(table, total, macs_without, pointwise)


def _operations(network: nn.Module) -> tuple[int, int]:
    """Multiply-accumulates of one 224×224 picture, and what its gates do to each value of a map."""
    found: list[int] = []

    def look(branches: int, output: torch.Tensor) -> None:
        # the squeeze; the products with the weights; M maps summed, and as many weighted ones (a product each)
        found.append(output.numel() * (1 + branches + branches - 1))

    with hooked(network) as hooks:
        for path, part in network.named_modules():
            if isinstance(part, (SqueezeExcite, SelectiveKernel)):
                branches = len(part.branches) if isinstance(part, SelectiveKernel) else 1
                hooks.after(path, lambda _, output, branches=branches: look(branches, output))
        return macs(network, (224, 224)), sum(found)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def reductions() -> pd.DataFrame:
    """The SE paper's table of reduction ratios: errors as published, cost as counted here (SE without biases).

    Columns: name, reduction (0 for no SE), top1, top5 (published single-crop errors, %), published (parameters in
    millions, as published), parameters, attention, macs (counted here).
    """
    def counted(reduction: int) -> dict:
        found = se_cost(reduction or 16)
        if not reduction:
            return {"parameters": found.parameters - found.attention, "attention": 0, "macs": found.macs_without}
        return {"parameters": found.parameters, "attention": found.attention, "macs": found.macs}
    return pd.DataFrame([{**row, **counted(row["reduction"])} for row in papers.REDUCTIONS.to_dict("records")])


def networks() -> pd.DataFrame:
    """The SK paper's networks beside those that it compares with: errors as published, cost as counted here.

    Columns: name, top1 (published error, %, 224×224), parameters, attention, macs (counted here).
    """
    deep = (3, 4, 23, 3)
    costs = {"ResNeXt-50": sk_cost(), "SENet-50": se_resnext_cost(), "SKNet-50": sk_cost(),
             "SKNet-50, three kernels": sk_cost(branches=3), "ResNeXt-101": sk_cost(units=deep),
             "SENet-101": se_resnext_cost(units=deep), "SKNet-101": sk_cost(units=deep)}
    rows = []
    for name, top1 in papers.NETWORKS.items():
        found, plain = costs[name], name.startswith("ResNeXt")
        rows.append({"name": name, "top1": top1,
                     "parameters": found.parameters - plain * found.attention,
                     "attention": 0 if plain else found.attention,
                     "macs": found.macs_without if plain else found.macs})
    return pd.DataFrame(rows)


@lru_cache(64)
def _counted(name: str) -> tuple[int, int, int, int]:
    """Of one of ``NETWORKS``: parameters and multiply-accumulates, and what of each its SE blocks are."""
    side = SIDES.get(name, 224)
    with torch.device("meta"):
        network = NETWORKS[name](1000).eval()
    blocks = [module for module in network.modules() if isinstance(module, SqueezeExcite)]
    # a block's layers meet one vector a picture: a weight is one product
    products = sum(parameter.numel() for block in blocks for parameter in block.parameters() if parameter.dim() > 1)
    return _count(network), macs(network, (side, side)), sum(map(_count, blocks)), products


def se_networks() -> pd.DataFrame:
    """The SE paper's networks without SE and with it: errors as published, cost as counted here (SE with biases).

    For pictures of 224×224, and of 299×299 for Inception-ResNet-v2.

    Columns: those of ``papers.SE_NETWORKS``, gain (points of top-1 error that SE saves), parameters (with SE),
    attention (parameters that SE adds), macs (with SE), attention_macs.
    """
    table = papers.SE_NETWORKS
    counts = pd.DataFrame([_counted(BUILT[name]) for name in table["name"]],
                          columns=["parameters", "macs", "attention", "attention_macs"])
    table = table.assign(gain=table["top1"] - table["se_top1"], **counts[[
        "parameters", "attention", "macs", "attention_macs"]])
    return table[[*table.columns.drop("section"), "section"]]


@lru_cache(16)
def _placed(stage: int | None, place: str) -> tuple[int, int]:
    """Parameters and multiply-accumulates of ResNet-50 with SE in one stage or in all, at a place of the unit."""
    network = _build("SE-ResNet", 64, UNITS, 1)
    with_attention(network.get_submodule(f"layer{stage - 1}") if stage else network, place=place, bias=False)
    return _count(network), macs(network.eval())


def _choice(choice: str) -> tuple[int, int] | None:
    """The same of a row of ``papers.ABLATIONS``; None where no such network is built."""
    if choice == "none":
        return None
    if choice == "no SE":
        parameters, operations = _without("SE-ResNet", 64, UNITS, 1)
        return sum(parameters.values()), operations
    stage = int(choice.removeprefix("stage ")) if choice.startswith("stage ") else None
    return _placed(stage, PLACES.get(choice, "standard"))  # another squeeze or excitation has the same layers


def ablations() -> pd.DataFrame:
    """The SE paper's ablations of SE-ResNet-50: errors as published, cost as counted here (SE without biases, r = 16).

    Columns: those of ``papers.ABLATIONS``, parameters, attention, macs (counted; nan where no such network is built
    here), note (``NOT_BUILT`` there, else "").
    """
    table = papers.ABLATIONS
    table = table.assign(**_columns([_choice(choice) for choice in table["choice"]],
                                    sum(_without("SE-ResNet", 64, UNITS, 1)[0].values())))
    return table[[*table.columns.drop("section"), "section"]]


def competitors() -> pd.DataFrame:
    """The SK paper's Table 2: errors and cost as published, and cost as counted here, of the Inceptions for 299×299.

    Columns: those of ``papers.COMPETITORS``, parameters, macs (counted; nan where no such network is built here), note.
    """
    counted = networks().set_index("name")
    counts: list[tuple[int, int] | None] = []
    for name in papers.COMPETITORS["name"]:
        if name in PLAIN:
            whole, operations, *attention = _counted(PLAIN[name])
            counts.append((whole - attention[0], operations - attention[1]))
        else:
            counts.append(tuple(counted.loc[name, ["parameters", "macs"]]) if name in counted.index else None)
    return papers.COMPETITORS.assign(**_columns(counts))


def kernels() -> pd.DataFrame:
    """The SK paper's ablations of the kernels: errors as published, cost as counted here.

    Columns: those of ``papers.KERNELS``, parameters, macs.
    """
    return papers.KERNELS.assign(**_columns([_kernels(choice) for choice in papers.KERNELS["choice"]])).drop(
        columns="note")


@lru_cache(32)
def _kernels(choice: str) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a row of ``papers.KERNELS``."""
    def convolution(i: int, o: int, stride: int, dilation: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(i, o, 3, stride, dilation, dilation, groups=32, bias=False), nn.BatchNorm2d(o),
                             nn.ReLU())

    def selective(i: int, o: int, stride: int, second: Callable[[int, int, int], nn.Module] | None = None,
                  branches: int = 2) -> nn.Module:
        unit = SelectiveKernel(i, o, branches=branches, groups=32, stride=stride)
        if second is not None:
            unit.branches[1] = second(i, o, stride)
        return unit

    def true(i: int, o: int, stride: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(i, o, 5, stride, 2, groups=64, bias=False), nn.BatchNorm2d(o), nn.ReLU())

    units: dict[str, Callable[[int, int, int], nn.Module]] = {
        "3×3 alone": lambda i, o, s: convolution(i, o, s, 1), "5×5 alone": lambda i, o, s: convolution(i, o, s, 2),
        "7×7 alone": lambda i, o, s: convolution(i, o, s, 3),
        "3×3 + 5×5, summed": lambda i, o, s: _Sum(convolution(i, o, s, 1), convolution(i, o, s, 2)),
        "3×3 + 5×5, SK": selective, "3×3 + 5×5 + 7×7, SK": lambda i, o, s: selective(i, o, s, branches=3),
        "dilation 2, 32 groups (as 5×5)": selective,
        "dilation 3, 32 groups (as 7×7)": lambda i, o, s: selective(
            i, o, s, lambda inputs, outputs, stride: convolution(inputs, outputs, stride, 3)),
        "true 5×5, 64 groups": lambda i, o, s: selective(i, o, s, true)}
    network = _build("ResNeXt", 128, UNITS, 32, sk=units[choice])
    return _count(network), macs(network)


class _Sum(nn.ModuleList):
    """Branches whose outputs are added up, all alike."""

    def __init__(self, *branches: nn.Module):
        super().__init__(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *others = (branch(x) for branch in self)
        return sum(others, first)


def _columns(counts: Sequence[tuple[int, int] | None], plain: int | None = None) -> dict[str, list]:
    """Counts as columns of a table; plain: the parameters without attention."""
    columns: dict[str, list] = {"parameters": [float("nan") if count is None else count[0] for count in counts]}
    if plain is not None:
        columns["attention"] = [number - plain for number in columns["parameters"]]
    return {**columns, "macs": [float("nan") if count is None else count[1] for count in counts],
            "note": [NOT_BUILT if count is None else "" for count in counts]}


def balance(table: pd.DataFrame, tie: float = 0.1) -> str:
    """What the table of reduction ratios says of "the most accurate" ratio, in sentences.

    Args:
        table: as ``reductions`` gives it.
        tie: percentage points of top-1 error within which ratios tie.
    """
    gates = table[table["reduction"] > 0]
    best, none = gates.iloc[gates["top1"].argmin()], table[table["reduction"] == 0].iloc[0]
    tied = gates[gates["top1"] - best["top1"] <= tie]
    lean = tied.iloc[tied["parameters"].argmin()]
    heavy = tied.iloc[tied["parameters"].argmax()]
    *others, last = (str(ratio) for ratio in tied["reduction"])

    def millions(row, column: str = "parameters") -> str:
        return f"{row[column] / 1e6:.3g} M"

    text = (f"The published top-1 errors of r = {', '.join(others)} and {last} lie within "
            f"{tied['top1'].max() - best['top1']:.2f} points of each other: they tie. The lowest, {best['top1']:.2f} "
            f"%, is that of **r = {best['reduction']}**")
    if best["reduction"] != lean["reduction"]:
        text += f", not of r = {lean['reduction']} ({lean['top1']:.2f} %)"
    text += (f". What sets **r = {lean['reduction']}** apart is the balance: {millions(lean)} parameters, where "
             f"r = {heavy['reduction']} takes {millions(heavy)}; it adds {millions(lean, 'attention')} to the "
             f"{millions(none)} of the network without SE ({none['top1']:.2f} %).")
    for _, row in gates[gates["parameters"] < lean["parameters"]].iterrows():
        text += (f" r = {row['reduction']} saves another {(lean['parameters'] - row['parameters']) / 1e6:.2f} M and "
                 f"costs {row['top1'] - lean['top1']:+.2f} points.")
    return text


def formula(found: Cost, reduction: int) -> str:
    """The SE paper's count of the weights, 2/r · Σ N_s · C_s², in LaTeX with a network's numbers, on short lines."""
    gates = found.table[found.table["units"] > 0]
    terms = r" + ".join(rf"{row.units} \cdot {row.channels}^2" for row in gates.itertuples())
    weights = 2 * int((gates["units"] * gates["channels"] * gates["hidden"]).sum())
    rest = found.attention - weights
    total = _grouped(weights) + (rf",\quad \text{{and }} {_grouped(rest)} \text{{ biases}}" if rest else "")
    lines = [r"\frac{2}{r} \sum_s N_s C_s^2", rf"{{\small = \frac{{2}}{{{reduction}}} \left({terms}\right)}}",
             f"= {total}"]
    return r"\begin{gathered}" + r" \\ ".join(lines) + r"\end{gathered}"


def published_se(reduction: int, width: int) -> str:
    """What the SE paper publishes for this choice, in a sentence."""
    known = papers.REDUCTIONS.set_index("reduction")["top1"]
    if width != 64 or reduction not in known:
        return "For this choice the SE paper publishes no error."
    text = (f"For r = {reduction} the SE paper publishes a top-1 error of {known[reduction]:.2f} %, and of "
            f"{known[0]:.2f} % without SE.")
    return f"{text} {published_macs()}" if reduction == 16 else text


def published_macs() -> str:
    """Where the SE paper's count of the operations that SE adds comes from, in a sentence."""
    before, after = papers.COMPLEXITY.values()
    most, found = (after + 0.005) / (before - 0.005) - 1, se_cost()
    return (f"The paper's {after / before - 1:+.2%} of operations is the ratio of two rounded numbers, {after:.2f} and "
            f"{before:.2f} GFLOPs, that stand for anything from none to {most:+.2%}; with squeeze and scaling counted "
            f"SE adds {_pointwise_share(found):+.2%}.")


def _pointwise_share(found: Cost) -> float:
    return (found.macs + found.pointwise) / found.macs_without - 1


def published_sk(branches: int, groups: int, reduction: int, min_width: int, width: int) -> str:
    """What the SK paper publishes for this choice, in a sentence."""
    name = {2: "SKNet-50", 3: "SKNet-50, three kernels"}.get(branches)
    if name is None or (groups, reduction, min_width, width) != (32, 16, 32, 128):
        return "For this choice no error is known here from the SK paper."
    return (f"For it the SK paper publishes a top-1 error of {papers.NETWORKS[name]:.2f} %, and of "
            f"{papers.NETWORKS['ResNeXt-50']:.2f} % for ResNeXt-50.")


def describe_se_networks(table: pd.DataFrame) -> str:
    """What ``se_networks`` holds, in sentences."""
    pairs = table.dropna(subset="gain")
    least, most = pairs.iloc[pairs["gain"].argmin()], pairs.iloc[pairs["gain"].argmax()]
    share = pairs["attention"] / (pairs["parameters"] - pairs["attention"])
    low, high = (pairs["name"].iloc[i] for i in (share.argmin(), share.argmax()))
    return (f"With SE the published top-1 error is lower in {int((pairs['gain'] > 0).sum())} of {len(pairs)} networks; "
            f"the gain runs from {least['gain']:.2f} ({least['name']}) to {most['gain']:.2f} points ({most['name']}). "
            f"As counted here SE adds {share.min():.1%} ({low}) to {share.max():.1%} ({high}) of parameters. The paper "
            f"gives no spread between trainings.")


def describe_ablations(table: pd.DataFrame) -> str:
    """What ``ablations`` holds, in sentences."""
    here, there = (rows["top1"].iloc[0] for rows in (table[table["choice"] == "no SE"], papers.SE_NETWORKS))
    return (f"{describe_choices(table)} These networks were trained otherwise than those of the paper's Sec. 5.1: "
            f"without SE the error is {here:.2f} % here and {there:.2f} % there, so that errors compare within a table "
            f"alone.")


def describe_competitors(table: pd.DataFrame) -> str:
    """What ``competitors`` holds, in sentences."""
    best = [table.iloc[table[column].argmin()] for column in ("top1", "top1_320")]
    lowest = " and ".join(f"{row[column]:.2f} % ({row['name']}) at {size}×{size}" for row, column, size in zip(
        best, ("top1", "top1_320"), (224, 320)))
    built = table[table["note"] == ""]
    off = (built["parameters"] / 1e6 / built["published"] - 1).abs()
    return (f"The lowest published errors are {lowest}. {len(built)} of the {len(table)} networks are counted here; "
            f"the count of parameters is within {off.max():.1%} of the published one, farthest for "
            f"{built['name'].iloc[off.argmax()]}.")


def describe_choices(table: pd.DataFrame, tie: float = 0.1) -> str:
    """Which choices come out best in ``ablations`` or ``kernels``, in a sentence a question.

    Args:
        table: columns question, choice, top1.
        tie: percentage points of top-1 error within which choices tie.
    """
    said = []
    for question, rows in table.groupby("question", sort=False):
        best = rows.iloc[rows["top1"].argmin()]
        near = rows[(rows["top1"] - best["top1"] <= tie) & (rows["choice"] != best["choice"])]
        text = f"{str(question)[:1].upper()}{str(question)[1:]}: lowest with {best['choice']} ({best['top1']:.2f} %)"
        if len(near):
            others = ", ".join(f"{row.choice} ({row.top1:.2f} %)" for row in near.itertuples())
            text += f"; within {tie:g} points of it {others}"
        said.append(f"{text}.")
    return " ".join(said)


def _grouped(count: int) -> str:
    return f"{count:,}".replace(",", r"{,}")


def describe(found: Cost) -> str:
    """What attention adds to a network, in a sentence."""
    gates = found.table[found.table["units"] > 0]
    last, before = gates.iloc[-1], found.parameters - found.attention
    macs_share = found.macs / found.macs_without - 1
    return (f"Attention adds {found.attention:,} parameters to a network of {before:,}, "
            f"{found.attention / before:+.1%}, and {macs_share:+.2%} to its {found.macs_without / 1e9:.3f} G "
            f"multiply-accumulates (convolutions and matrix products); with squeeze and scaling counted, an operation "
            f"a value of a map, {_pointwise_share(found):+.2%}. {last['attention'] / found.attention:.0%} of "
            f"those parameters are in the {last['units']} units of the last stage, whose hidden layers have "
            f"{last['hidden']} units for {last['channels']:,} channels.")
