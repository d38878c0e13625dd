"""What attention costs: parameters and multiply-accumulates of the papers' 50-layer networks, with it and without.

Every number is counted on a network that is built for it, on PyTorch's meta device, where no weight has a value.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..layers import SelectiveKernel, SqueezeExcite
from ..models import macs
from ..models.resnet import ResNet, _stem7
from ..reports import papers

UNITS = (3, 4, 6, 3)  # of a 50-layer network; 3, 4, 23, 3 of one of 101 layers


@dataclass(frozen=True)
class Cost:
    """A network with attention beside the same without.

    Attributes:
        table: a row a part: part ("stem", "stage 2" … "stage 5", "classifier"), units, channels (C of each gate),
            hidden (width of its hidden layer), without (parameters of the network without attention), attention (those
            that it adds).
        macs, macs_without: multiply-accumulates of one picture of 224×224: convolutions and matrix products; pooling
            and scaling are not counted.
    """

    table: pd.DataFrame
    macs: int
    macs_without: int

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
def se_cost(reduction: int = 16, width: int = 64, bias: bool = False, units: Sequence[int] = UNITS) -> Cost:
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
            units: Sequence[int] = UNITS) -> Cost:
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
def se_resnext_cost(units: Sequence[int] = UNITS) -> Cost:
    """SE-ResNeXt-50 32×4d, the SK paper's SENet-50, with biases."""
    return _cost("ResNeXt", 128, units, 32, se=lambda c: SqueezeExcite(c, 16, fc="conv"))


def _build(backbone: str, width: int, units: Sequence[int], groups: int, **attention) -> ResNet:
    options: dict[str, Any] = {"expansion": 2, "groups": groups}
    if backbone == "SE-ResNet":
        options = {"expansion": 4, "stride_first": True}
    with torch.device("meta"):
        stem = _stem7(ceil_mode=backbone == "SE-ResNet")
        return ResNet(stem, 64, units, [width << stage for stage in range(4)], **options, **attention).eval()


@lru_cache(32)
def _without(backbone: str, width: int, units: Sequence[int], groups: int) -> tuple[dict[str, int], int]:
    network = _build(backbone, width, units, groups)
    return {name: _count(part) for name, part in network.named_children()}, macs(network)


def _cost(backbone: str, width: int, units: Sequence[int], groups: int, **attention) -> Cost:
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
    return Cost(table, macs(network), macs_without)


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
    return (f"For r = {reduction} the SE paper publishes a top-1 error of {known[reduction]:.2f} %, and of "
            f"{known[0]:.2f} % without SE.")


def published_sk(branches: int, groups: int, reduction: int, min_width: int, width: int) -> str:
    """What the SK paper publishes for this choice, in a sentence."""
    name = {2: "SKNet-50", 3: "SKNet-50, three kernels"}.get(branches)
    if name is None or (groups, reduction, min_width, width) != (32, 16, 32, 128):
        return "For this choice no error is known here from the SK paper."
    return (f"For it the SK paper publishes a top-1 error of {papers.NETWORKS[name]:.2f} %, and of "
            f"{papers.NETWORKS['ResNeXt-50']:.2f} % for ResNeXt-50.")


def _grouped(count: int) -> str:
    return f"{count:,}".replace(",", r"{,}")


def describe(found: Cost) -> str:
    """What attention adds to a network, in a sentence."""
    gates = found.table[found.table["units"] > 0]
    last, before = gates.iloc[-1], found.parameters - found.attention
    macs_share = found.macs / found.macs_without - 1
    return (f"Attention adds {found.attention:,} parameters to a network of {before:,}, "
            f"{found.attention / before:+.1%}, and {macs_share:+.2%} to its {found.macs_without / 1e9:.3f} G "
            f"multiply-accumulates (convolutions and matrix products). {last['attention'] / found.attention:.0%} of "
            f"those parameters are in the {last['units']} units of the last stage, whose hidden layers have "
            f"{last['hidden']} units for {last['channels']:,} channels.")
