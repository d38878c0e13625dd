"""Inspections → tables (pandas), the numbers behind every figure.

``views`` are inspections of one picture each, by the picture's name, all of one model:
``{"cat.jpg": sv.inspect(model, batch), …}``.
"""
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from .gates import AttentionBlock, View
from .gates.answers import NO_CLASS, by_class, class_map
from .gates.cam import weighted_sum

LOW, HIGH = 0.05, 0.95  # a gate beyond these counts as saturated


def predictions(views: Mapping[str, View], classes: list[str], top: int = 5) -> pd.DataFrame:
    """The ``top`` classes of each picture: picture, rank (from 1), index, class, probability (softmax, 0..1).

    Of one logit both sides (``senet_viz.gates.answers.two_sides``), 0 against and 1 for, with the sigmoid. No row of
    a network whose logits are no classes', or that has none; of a segmentation see ``class_shares``.
    """
    rows = []
    for picture, view in views.items():
        logits, names = by_class(view.logits[0], classes)
        if len(logits) != len(names):
            continue
        values, indices = logits.softmax(0).topk(min(top, len(names)))
        for rank, (value, index) in enumerate(zip(values.tolist(), indices.tolist()), 1):
            rows.append((picture, rank, index, names[index], value))
    return pd.DataFrame(rows, columns=["picture", "rank", "index", "class", "probability"])


def class_shares(views: Mapping[str, View], classes: Sequence[str]) -> pd.DataFrame:
    """The classes that occur in a segmentation of each picture, the largest first.

    Columns: picture, rank (from 1), index, class ("none" of ``senet_viz.gates.answers.NO_CLASS``), pixels, share (of
    the map's pixels, 0..1).
    """
    rows = []
    for picture, view in views.items():
        indices, counts = (part.cpu().numpy() for part in class_map(view)[0].unique(return_counts=True))
        for rank, place in enumerate(np.argsort(-counts, kind="stable"), 1):
            index, pixels = int(indices[place]), int(counts[place])
            rows.append((picture, rank, index, "none" if index == NO_CLASS else classes[index], pixels,
                         pixels / counts.sum()))
    return pd.DataFrame(rows, columns=["picture", "rank", "index", "class", "pixels", "share"])


def gates(views: Mapping[str, View], block: AttentionBlock) -> pd.DataFrame:
    """The gate of one block: picture, branch, kernel, channel, value; a row a channel, branch and picture."""
    parts = []
    for picture, view in views.items():
        values = view.gates[block.name][0].cpu().numpy()
        branch, channel = np.indices(values.shape)
        parts.append(pd.DataFrame({
            "picture": picture, "branch": branch.ravel(),
            "kernel": [kernel_name(block, m) for m in branch.ravel().tolist()], "channel": channel.ravel(),
            "value": values.ravel()}))
    return pd.concat(parts, ignore_index=True)


def kernel_difference(views: Mapping[str, View], block: AttentionBlock) -> pd.DataFrame:
    """The largest kernel's weight minus the smallest's in one unit, in −1..1: picture, channel, value."""
    parts = []
    for picture, view in views.items():
        weights = view.gates[block.name][0].cpu().numpy()
        parts.append(pd.DataFrame({"picture": picture, "channel": np.arange(block.channels),
                                   "value": weights[-1] - weights[0]}))
    return pd.concat(parts, ignore_index=True)


def quantities(block: AttentionBlock) -> list[str]:
    """What a block has a value of in each channel: its gate, or each kernel's weight and their difference."""
    if block.branches == 1:
        return ["gate"]
    kernels = [kernel_name(block, m) for m in range(block.branches)]
    return [*(f"weight of {kernel}" for kernel in kernels), f"{kernels[-1]} − {kernels[0]}"]


def quantity(views: Mapping[str, View], block: AttentionBlock, name: str) -> pd.DataFrame:
    """One of a block's ``quantities``: picture, channel, value, and further columns; a row a channel and picture.

    Raises:
        ValueError: for a name that is none of them.
    """
    names = quantities(block)
    if name not in names:
        raise ValueError(f"{block.label} has {', '.join(names)}, not {name!r}")
    if block.branches > 1 and name == names[-1]:
        return kernel_difference(views, block)
    table = gates(views, block)
    return table[table["branch"] == names.index(name)].reset_index(drop=True)


def summary(views: Mapping[str, View]) -> pd.DataFrame:
    """How the gate of each block is distributed over its channels: a row a picture, block and branch.

    Columns: picture, block, label, stage, kind, branch, kernel, channels, mean, std (population), min, q05, q25,
    median, q75, q95, max, below (share of channels under .05) and above (share over .95), shares in 0..1.
    """
    rows = []
    for picture, view in views.items():
        for block in view.blocks:
            for branch, values in enumerate(view.gates[block.name][0].cpu().double().numpy()):
                q05, q25, median, q75, q95 = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
                rows.append({
                    "picture": picture, "block": block.name, "label": block.label, "stage": block.stage,
                    "kind": block.kind, "branch": branch, "kernel": kernel_name(block, branch),
                    "channels": block.channels, "mean": values.mean(), "std": values.std(), "min": values.min(),
                    "q05": q05, "q25": q25, "median": median, "q75": q75, "q95": q95, "max": values.max(),
                    "below": (values < LOW).mean(), "above": (values > HIGH).mean()})
    return pd.DataFrame(rows)


def differences(first: View, second: View, top: int = 20) -> pd.DataFrame:
    """The channels whose gates differ most between two pictures, over all blocks and branches.

    Columns: block, label, branch, kernel, channel, first, second, difference (second − first); the ``top`` largest by
    magnitude. The two branches of a unit mirror each other, so of those only the last one (the largest kernel) is
    listed.
    """
    parts = []
    for block in first.blocks:
        branch = block.branches - 1 if block.branches == 2 else slice(None)
        a = np.atleast_2d(first.gates[block.name][0, branch].cpu().numpy())
        b = np.atleast_2d(second.gates[block.name][0, branch].cpu().numpy())
        rows, channels = np.indices(a.shape)
        branches = rows.ravel() + (1 if block.branches == 2 else 0)
        parts.append(pd.DataFrame({
            "block": block.name, "label": block.label, "branch": branches,
            "kernel": [kernel_name(block, m) for m in branches.tolist()], "channel": channels.ravel(),
            "first": a.ravel(), "second": b.ravel(), "difference": (b - a).ravel()}))
    table = pd.concat(parts, ignore_index=True)
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order[:top]].reset_index(drop=True)


def kernel_preference(views: Mapping[str, View]) -> pd.DataFrame:
    """Mean over channels of (largest − smallest kernel's weight) for each unit that weighs branches (SKNet, Fig. 3).

    Columns: picture, block, label, stage, smallest, largest (kernel names), difference in −1..1.
    """
    rows = []
    for picture, view in views.items():
        for block in view.blocks:
            if block.branches > 1:
                weights = view.gates[block.name][0].cpu().double().numpy()
                rows.append({
                    "picture": picture, "block": block.name, "label": block.label, "stage": block.stage,
                    "smallest": kernel_name(block, 0), "largest": kernel_name(block, block.branches - 1),
                    "difference": (weights[-1] - weights[0]).mean()})
    return pd.DataFrame(rows, columns=["picture", "block", "label", "stage", "smallest", "largest", "difference"])


def beyond(effect: float, *controls: float) -> float:
    """What an effect has beyond the largest of its controls, whichever way that goes; 0 where one is as large.

    A control of the other sign counts like any other: where it moves as much, an effect is no more than what happens
    without its cause. Nan controls are left out.
    """
    reached = max([0.0, *(abs(control) for control in controls if not np.isnan(control))])
    return float(np.sign(effect) * max(0.0, abs(effect) - reached)) + 0.0  # which makes −0 a 0


def kernel_groups(views: Mapping[str, View], block: AttentionBlock, points: int = 16) -> pd.DataFrame:
    """A unit's kernel weights, averaged over groups of consecutive channels (SKNet, Fig. 3: 16 points of C/16).

    Columns: picture, branch, kernel, point (from 0), first, last (channels), value in 0..1.
    """
    table = gates(views, block)
    edges = group_edges(block.channels, points)
    table["point"] = np.searchsorted(edges, table["channel"], side="right") - 1
    grouped = table.groupby(["picture", "branch", "kernel", "point"], sort=False)["value"].mean().reset_index()
    return grouped.assign(first=edges[grouped["point"]], last=edges[grouped["point"] + 1] - 1)


def group_edges(channels: int, points: int = 16) -> np.ndarray:
    """Where groups of consecutive channels begin, and behind them where the last ends: ``points`` + 1 whole numbers.

    There are no more groups than channels.
    """
    return np.linspace(0, channels, min(points, channels) + 1).round().astype(int)


def contributions(views: Mapping[str, View]) -> pd.DataFrame:
    """What the gated maps weigh in what follows, beside the bare gates: a row a picture, block and branch.

    The views need the features of ``senet_viz.gates.contribution_points``. Norms are Euclidean, over channels and
    space. A block that scales its input has branch 0: ``before`` ‖U‖, ``after`` ‖s·U‖, ``shortcut`` the norm of what it
    is added to (nan where no addition follows) and ``share`` = after / (after + shortcut), in 0..1. A unit that weighs
    branches has one row each: ``before`` ‖U_m‖, ``after`` ‖a_m·U_m‖, ``share`` = after over the sum of all branches'
    afters. ``gate`` is the mean over channels, ``kept`` = after / before.

    Columns: picture, block, label, stage, branch, kernel, gate, before, after, kept, shortcut, share.
    """
    rows = []
    for picture, view in views.items():
        for block in view.blocks:
            gate = view.gates[block.name][0]
            if block.branches > 1:
                maps = torch.stack([view.features[block.name, m][0] for m in range(block.branches)])
            else:
                maps = view.features[block.name, "input"]
            before = [float(u.norm()) for u in maps]
            after = [float((g[(..., *[None] * block.space)] * u).norm()) for g, u in zip(gate, maps)]
            shortcut = float("nan")
            if (block.name, "shortcut") in view.features:
                shortcut = float(view.features[block.name, "shortcut"].norm())
            whole = sum(after) if block.branches > 1 else after[0] + shortcut
            for m in range(block.branches):
                rows.append({
                    "picture": picture, "block": block.name, "label": block.label, "stage": block.stage, "branch": m,
                    "kernel": kernel_name(block, m), "gate": float(gate[m].mean()), "before": before[m],
                    "after": after[m], "kept": after[m] / before[m] if before[m] else float("nan"),
                    "shortcut": shortcut, "share": after[m] / whole if whole else float("nan")})
    return pd.DataFrame(rows)


def gate_change(view: View, block: AttentionBlock, weights: torch.Tensor | None = None,
                ) -> tuple[np.ndarray, np.ndarray]:
    """What a gate itself changed in a class's evidence: Σ α·U and Σ α·s·U with the same channel weights α.

    Grad-CAM before a gate and after it nearly coincide, because both gradients run through the gate; here α is
    Grad-CAM's at the block's output for both maps. For a unit that weighs branches the two are Σ α·(Σ U_m)/M, what
    uniform weights would have given, and Σ α·Σ a_m·U_m.

    Args:
        view: of one picture, with the features of ``senet_viz.gates.contribution_points``.
        block: one of the view's.
        weights: (N, T, C), Grad-CAM's α at ``(block, "output")``, from the view when None; the first class is taken.

    Returns:
        Two (h, w) arrays, signed.
    """
    alpha = (view.weights[block.name, "output"] if weights is None else weights)[:, :1]
    gate = view.gates[block.name][(..., *[None] * block.space)]
    if block.branches > 1:
        maps = torch.stack([view.features[block.name, m] for m in range(block.branches)], 1)
        before, after = maps.mean(1), (gate * maps).sum(1)
    else:
        before = view.features[block.name, "input"]
        after = gate[:, 0] * before
    before, after = (weighted_sum(alpha, u)[0, 0].cpu() for u in (before, after))
    return before.numpy(), after.numpy()


def channel_maps(view: View, block: AttentionBlock, channel: int) -> list[np.ndarray]:
    """One channel before and after the gate, [U_c, s_c·U_c]; for a unit that weighs branches [U_m, …, Σ a_m·U_m].

    Args:
        view: of one picture, with the features of ``senet_viz.gates.contribution_points``.
        block: one of the view's.
        channel: 0 … C − 1.

    Returns:
        Arrays (h, w).
    """
    points = range(block.branches) if block.branches > 1 else ["input"]
    maps = [view.features[block.name, point][0, channel].cpu().numpy() for point in points]
    gate = view.gates[block.name][0, :, channel].tolist()
    return [*maps, sum(g * u for g, u in zip(gate, maps))]


def channel_map_names(block: AttentionBlock) -> list[str]:
    """What each of a block's ``channel_maps`` is."""
    if block.branches == 1:
        return ["before the gate", "after the gate"]
    return [*(f"{kernel_name(block, m)} branch" for m in range(block.branches)), "selected sum"]


def change_of_form(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """How two maps of ``gate_change`` relate: the norm of the second over the first's, and their cosine.

    A cosine of 1 means that the gate only scaled the evidence; nan for a map of zeros.
    """
    a, b = before.ravel().astype(float), after.ravel().astype(float)
    first, second = np.linalg.norm(a), np.linalg.norm(b)
    if not first or not second:
        return float("nan"), float("nan")
    return float(second / first), float(a @ b / (first * second))


def cells(maps: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Maps as a table: picture, map, row, column, value; a row a cell. ``maps``: picture → name → (h, w)."""
    parts = []
    for picture, named in maps.items():
        for name, values in named.items():
            row, column = np.indices(values.shape)
            parts.append(pd.DataFrame({"picture": picture, "map": name, "row": row.ravel(), "column": column.ravel(),
                                       "value": np.asarray(values).ravel()}))
    return pd.concat(parts, ignore_index=True)


def channel_ranks(views: Mapping[str, View], block: AttentionBlock, channel: int, branch: int = 0) -> pd.DataFrame:
    """One channel's gate in each picture: picture, value, rank (1 = the highest of the block's C), channels."""
    rows = []
    for picture, view in views.items():
        values = view.gates[block.name][0, branch]
        rows.append((picture, float(values[channel]), int((values > values[channel]).sum()) + 1, block.channels))
    return pd.DataFrame(rows, columns=["picture", "value", "rank", "channels"])


def describe_ranks(views: Mapping[str, View], block: AttentionBlock, channel: int) -> dict[str, str]:
    """``channel_ranks`` of every branch in a line a picture: "0.412 (#17)" or "3×3 0.412 (#17), 5×5 0.588 (#40)"."""
    parts: dict[str, list[str]] = {picture: [] for picture in views}
    for m in range(block.branches):
        ranks = channel_ranks(views, block, channel, m)
        for said, value, rank in zip(parts.values(), ranks["value"], ranks["rank"]):
            said.append(f"{kernel_name(block, m)} {value:.3f} (#{rank})".strip())
    return {picture: ", ".join(said) for picture, said in parts.items()}


def sampled_channels(channels: int, points: int = 50) -> np.ndarray:
    """The channels that the SE paper's Fig. 6 shows: every s-th from 0, s = ⌈C / 50⌉."""
    return np.arange(0, channels, -(-channels // points))


def panels(blocks: Sequence[AttentionBlock], whole_stage: bool = True) -> list[AttentionBlock]:
    """The last block of each stage, which the SK paper's Fig. 3 shows, and as in the SE paper's Fig. 6 all of the last.

    Args:
        blocks: in network order.
        whole_stage: show the whole last stage.
    """
    last = {block.stage: block for block in blocks}
    return [block for block in blocks if block is last[block.stage] or (whole_stage and block.stage == max(last))]


def mean_maps(maps: Mapping[str, Mapping[str, np.ndarray]], groups: Mapping[str, str]) -> dict[str, dict]:
    """Mean maps of groups of pictures: group → layer → (h, w).

    Args:
        maps: picture → layer → (h, w), from 0 up. Each is first brought to a maximum of 1, so that every picture counts
            alike; one that is 0 throughout stays so.
        groups: picture → its group.
    """
    result: dict[str, dict] = {}
    for group in dict.fromkeys(groups.values()):
        members = [maps[picture] for picture, own in groups.items() if own == group]
        result[group] = {layer: np.mean([member[layer] / (member[layer].max() or 1) for member in members], axis=0)
                         for layer in members[0]}
    return result


def kernel_name(block: AttentionBlock, branch: int) -> str:
    """What a branch is called: "5×5" where its kernel is known, "branch 1" where not, "" where there is only one.

    Where several branches have kernels of one size, both: "3×3 (branch 1)".
    """
    if block.branches == 1:
        return ""
    number = f"branch {branch % block.branches}"
    if not block.kernels:
        return number
    kernel = f"{block.kernels[branch]}×{block.kernels[branch]}"
    return kernel if len(set(block.kernels)) == len(block.kernels) else f"{kernel} ({number})"


def last_and_first(blocks: Iterable[AttentionBlock]) -> tuple[str, str]:
    """What the branches are called whose weights are subtracted, the last one's and the first one's.

    "larger kernel" and "smaller kernel" where that is known of all units that weigh branches.
    """
    larger = all(block.kernels and block.kernels[-1] > block.kernels[0] for block in blocks if block.branches > 1)
    return ("larger kernel", "smaller kernel") if larger else ("last branch", "first branch")
