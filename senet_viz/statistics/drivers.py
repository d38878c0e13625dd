"""What drives a gate: the share of its variance, before the activation, that something else predicts.

A linear model is fitted for each of the things that might drive it, and each picture's value is predicted by the model
that was fitted to all other pictures (leave one out, in closed form: the PRESS statistic of D. Allen, Technometrics 16,
1974). What chance gives is then 0 or slightly less, whatever the number of predictors.
"""
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

DRIVERS = ("own", "neighbours", "all", "dealt", "class", "picture", "brightness", "contrast", "colour", "detail",
           "size")
TARGETS = 128  # channels, evenly spaced, whose gates are predicted
OUTLIERS = 0.01  # the share of the pictures, farthest out in z, that are left out: they alone would decide every line
PENALTIES = tuple(10.0 ** power for power in range(-6, 3))  # of a ridge, as shares of the mean eigenvalue
UNSEEN = 1e-9  # a share of the variance that is less than float32 shows of the result
ROUNDED = 0.01  # the share of a gate's values, at most, that are 1 because float32 has no number between
EDGE = 1e-6  # a gate nearer to 0 or 1 is taken to be so far from it
NAN = float("nan")


def drivers(gates: torch.Tensor, branch: int, squeezed: torch.Tensor, labels: torch.Tensor, picture: torch.Tensor
            ) -> dict[str, float]:
    """What share of a gate's variance each of ``DRIVERS`` predicts, 0..1, or slightly under 0; nan where not known.

    "own": the mean of the same channel, z_c. "neighbours": the z of the k channels around it, k as ECA has it. "all":
    all of z. "dealt": all of z, of another picture each, which is chance. "class": the mean of the other pictures of
    the class. "picture": all the properties of the picture together, and each by itself. Shares are of all channels
    together, each with its variance, of up to ``TARGETS`` of them; all of z is linear, and a gate that is made of z
    through a hidden layer is not, so that it need not reach 1.

    Args:
        gates: (n, M, C), finite, of n pictures.
        branch: whose gate.
        squeezed: z, (n, C), finite.
        labels: (n,) int64, under 0 for none.
        picture: (n, P), the last ``P`` names of ``DRIVERS``; nan where a property is not known.
    """
    distance = (squeezed.double() - squeezed.double().mean(0)).square().sum(1)
    kept = distance.argsort(stable=True)[:len(distance) - round(OUTLIERS * len(distance))].sort().values
    z, labels, picture = squeezed[kept].double(), labels[kept], picture[kept].double()
    channels = z.shape[1]
    columns = torch.linspace(0, channels - 1, min(channels, TARGETS)).round().long().unique()
    before = before_activation(gates[kept].double(), branch)[:, columns]
    found = dict.fromkeys(DRIVERS, NAN)
    if len(z) < 3 or not float(before.var(0).sum()) > 0:
        return found
    around = neighbourhood(channels)
    offsets = torch.arange(-(around // 2), around // 2 + 1)
    near = (columns[:, None] + offsets).clamp(0, channels - 1)
    outside = (columns[:, None] + offsets) != near
    dealt = torch.randperm(len(z), generator=torch.Generator().manual_seed(0))
    found["own"] = _each(before, z[:, columns, None])
    found["neighbours"] = _each(before, z[:, near].masked_fill(outside, 0))
    before = _axes(before)  # what follows has the same predictors for all channels
    found["all"], found["dealt"] = ridges([before, before[dealt]], z)
    found["class"] = by_class(before, labels)
    names = DRIVERS[len(DRIVERS) - picture.shape[1]:]
    known = ~picture.isnan()
    for i, name in enumerate(names):
        rows = known[:, i]
        found[name] = _one(before[rows], picture[rows, i])
    whole = known.any(0)  # what is known of no picture is no property of these
    rows = known[:, whole].all(1)
    if whole.any() and int(rows.sum()) > 2 * int(whole.sum()):
        found["picture"] = ridge(before[rows], picture[rows][:, whole])
    return found


def _axes(targets: torch.Tensor) -> torch.Tensor:
    """Targets (n, T) along their principal axes: fewer, for those that hold less than ``UNSEEN`` together are left out.

    All targets that are predicted from the same give the same share of variance however they are turned. A gate is made
    of few hidden units, and so are its channels before the activation.
    """
    centred = targets - targets.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)  # in rising order
    seen = values.clamp_min(0).cumsum(0) > UNSEEN * values.sum()
    return centred @ vectors[:, seen]


def before_activation(gates: torch.Tensor, branch: int) -> torch.Tensor:
    """What was put through the sigmoid or the softmax: (n, M, C) → (n, C).

    Of one branch log(s / (1 − s)); of several log a_m less the mean of the others' logarithms. Gates that reach 0, or
    often 1, or lie beyond were made by another function: they are taken as they are. A sigmoid's reach 1 by rounding
    alone, and seldom: one such value of a picture and channel is no reason to take all others for something else.
    """
    if (gates <= 0).any() or (gates > 1).any() or (gates == 1).double().mean() > ROUNDED:
        return gates[:, branch]
    if gates.shape[1] == 1:
        return gates[:, 0].clamp(EDGE, 1 - EDGE).logit()
    logs = gates.clamp_min(EDGE).log()
    return logs[:, branch] - (logs.sum(1) - logs[:, branch]) / (gates.shape[1] - 1)


def neighbourhood(channels: int) -> int:
    """How many channels ECA looks at (Q. Wang et al., ECA-Net, arXiv 1910.03151, eq. 12): odd, γ = 2, b = 1."""
    near = int(abs((math.log2(channels) + 1) / 2))
    return min(near if near % 2 else near + 1, channels - (channels + 1) % 2)


def ridge(targets: torch.Tensor, predictors: torch.Tensor) -> float:
    """The share of the targets' variance that ridge regression predicts of pictures left out.

    The penalty is the one of ``PENALTIES`` that predicts best.

    Args:
        targets: (n, T).
        predictors: (n, P), of any scale: each is divided by its standard deviation.
    """
    return ridges([targets], predictors)[0]


def ridges(several: Sequence[torch.Tensor], predictors: torch.Tensor) -> list[float]:
    """``ridge`` of several targets, all from the same predictors, which are decomposed once."""
    x = predictors - predictors.mean(0)
    std = x.std(0, correction=0)
    x = x[:, std > 0] / std[std > 0]
    if len(x) < 3 or not x.shape[1]:
        return [NAN] * len(several)
    wide = x.shape[1] > len(x)
    values, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    there = values > 1e-10 * values[-1]
    values, vectors = values[there], vectors[:, there]
    basis = vectors if wide else x @ vectors / values.sqrt()  # (n, r), orthonormal
    kept = torch.stack([values / (values + penalty * values.mean()) for penalty in PENALTIES])
    leverage = basis.square() @ kept.T
    best = []
    for targets in several:
        y = targets - targets.mean(0)
        along = basis.T @ y
        best.append(max(_share(y, y - basis @ (share[:, None] * along), leverage[:, i])
                        for i, share in enumerate(kept)))
    return best


def by_class(targets: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of the targets' variance that the mean of the other pictures of the class predicts."""
    classes, member, count = labels.unique(return_inverse=True, return_counts=True)
    kept = (labels >= 0) & (count[member] > 1)
    if int(((classes >= 0) & (count > 1)).sum()) < 2:
        return NAN
    targets, member = targets[kept], labels[kept].unique(return_inverse=True)[1]
    one = F.one_hot(member).to(targets)
    count = one.sum(0)
    left = targets - (one @ (one.T @ targets / count[:, None]))
    return _share(targets, left, 1 / count[member], intercept=False)


def _one(targets: torch.Tensor, predictor: torch.Tensor) -> float:
    """The share of the targets' variance that one predictor (n,) of all of them predicts, by least squares."""
    if len(targets) < 3:
        return NAN
    y, x = targets - targets.mean(0), predictor - predictor.mean()
    basis = x / x.norm() if x.norm() > 0 else x
    return _share(targets, y - basis[:, None] * (basis @ y), basis.square())


def _each(targets: torch.Tensor, predictors: torch.Tensor) -> float:
    """The same, of targets (n, T) each with its own few predictors (n, T, k)."""
    if len(targets) < 3:
        return NAN
    y, x = targets - targets.mean(0), (predictors - predictors.mean(0)).movedim(1, 0).contiguous()  # (T, n, k)
    std = x.std(1, correction=0, keepdim=True)
    values, vectors = torch.linalg.eigh(x.mT @ x / std.mT.clamp_min(1e-300) / std.clamp_min(1e-300))
    scaled = x / std.clamp_min(1e-300)
    there = values > 1e-10 * values[:, -1:]
    basis = torch.where(there[:, None], scaled @ vectors / values.clamp_min(1e-300).sqrt()[:, None], 0.0)
    left = y - (basis @ (basis.mT @ y.T[:, :, None]))[:, :, 0].T
    return _share(targets, left, basis.square().sum(2).T)


def _share(targets: torch.Tensor, left: torch.Tensor, leverage: torch.Tensor, intercept: bool = True) -> float:
    """1 − PRESS / the same of a mean alone; ``leverage`` is (n,) or (n, T), without the intercept's 1 / n."""
    count = len(targets)
    leverage = leverage + (1 / count if intercept else 0)
    if leverage.ndim == 1:
        leverage = leverage[:, None]
    press = (left / (1 - leverage).clamp_min(1e-6)).square().sum()
    alone = ((targets - targets.mean(0)) * count / (count - 1)).square().sum()
    return float(1 - press / alone) if alone > 0 else NAN
