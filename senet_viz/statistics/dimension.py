"""In how many directions do the channels of a gate move? Measured from vectors of pictures, half against half.

A gate of C channels whose pictures all lie on one line is one number, however lively its channels look. The measure is
the participation ratio of the covariance over pictures, (Σλ)² / Σλ² of its eigenvalues λ: 1 for one direction, C for as
many equal ones. Of n pictures it comes out as about PR / (1 + PR / n); taken from the covariances S₁ and S₂ of two
halves of the pictures, tr S₁ · tr S₂ / tr(S₁S₂), it is nearly unbiased. tr(S₁S₂) is had from the scalar products of the
pictures of one half with those of the other, so that no C × C matrix is made.
"""
from dataclasses import dataclass
from functools import cached_property

import torch

ONE = 1.2  # a gate of fewer directions than this is said to move along one
FEWEST = 3  # pictures for each direction found; with fewer the number says more of the pictures than of the gate
GROUPS = 20  # of pictures, each left out once for the standard error
TAIL = 0.01  # the share of the pictures that is asked for what it holds of the variance
NAN = float("nan")


@dataclass(frozen=True)
class Dimension:
    """What vectors of n pictures tell; nan where it cannot be told.

    Attributes:
        dimension: participation ratio, 1 (all channels are one number) or more.
        first: share of the variance along the first direction, 0..1: found in one half and measured in the other.
    """

    dimension: float
    first: float


class Halves:
    """Vectors of pictures, every other one in one half and the rest in the other.

    Args:
        values: (n, C), finite; computed with on the CPU, in float64.
        groups: runs of pictures that are left out, one at a time, for the standard error; fewer than four pictures a
            group make fewer groups.
    """

    def __init__(self, values: torch.Tensor, groups: int = GROUPS):
        values = values.detach().cpu().double()
        values = values - values.mean(0) if len(values) else values  # near 0, where differences are exact
        self.halves = values[::2], values[1::2]
        self.count, self.groups = len(values), max(min(groups, len(values) // 4), 1)

    def measure(self) -> Dimension:
        """The participation ratio and the first direction's share."""
        ratio = self.ratio()
        if not self.count >= FEWEST * ratio:
            return Dimension(NAN, NAN)
        return Dimension(ratio, self.first())

    def ratio(self) -> float:
        """The participation ratio, however few the pictures are; nan for gates that do not move, or by noise alone."""
        return float(self._ratios[-1])

    def error(self) -> float:
        """Standard error of the ratio, a jackknife over runs of pictures; nan of fewer than two runs.

        Pictures that follow each other are often of one class: their order is kept, so that the error holds for other
        classes of the same kind as well.
        """
        if self.groups < 2:
            return NAN
        ratios = self._ratios[:-1]
        return float(((self.groups - 1) / self.groups * (ratios - ratios.mean()).square().sum()).sqrt())

    @cached_property
    def _ratios(self) -> torch.Tensor:
        """The ratio without each of the runs of pictures, and last that of all: (groups + 1,)."""
        (one, two), groups = self.halves, self.groups
        if min(len(one), len(two)) < 2:
            return torch.full((groups + 1,), NAN, dtype=torch.float64)
        member = [torch.nn.functional.one_hot(
            torch.arange(len(half), device=half.device) * groups // len(half), groups).to(half) for half in self.halves]
        kept = [torch.cat([1 - of, torch.ones_like(of[:, :1])], 1) for of in member]  # (n, groups + 1)
        counts = [of.sum(0) for of in kept]
        # Σ (x − mean)² of what is kept
        traces = [of.T @ half.square().sum(1) - (of.T @ half).square().sum(1) / count
                  for half, of, count in zip(self.halves, kept, counts)]
        # of the scalar products P, ‖HPH‖² with H = 1 − 11ᵀ/n: from sums over rows, columns and all, each time of what
        # is kept
        products = one @ two.T
        squares = ((kept[0].T @ products.square()) * kept[1].T).sum(1)
        by_row, by_column = products @ kept[1], kept[0].T @ products
        rows = (kept[0] * by_row.square()).sum(0) / counts[1]
        columns = (kept[1].T * by_column.square()).sum(1) / counts[0]
        total = (kept[0] * by_row).sum(0).square() / (counts[0] * counts[1])
        overlap = squares - rows - columns + total
        # what is left of gates that do not move is rounding
        moves = (traces[0] > 0) & (traces[1] > 0) & (overlap > 1e-12 * squares)
        return torch.where(moves, traces[0] * traces[1] / overlap, NAN)

    def first(self) -> float:
        """Share of the variance along the first direction, the mean of both ways to divide the work."""
        shares = []
        for found, measured in (self.halves, self.halves[::-1]):
            direction = principal(found, 1)[0]
            spread = measured - measured.mean(0)
            shares.append(float((spread @ direction).square().sum() / spread.square().sum()))
        return sum(shares) / 2

    def redundancy(self) -> float:
        """Mean squared correlation of two channels that move, about 0..1.

        Of the product of the halves' correlations, which chance does not raise as it does a square.
        """
        one, two = self.halves
        if len(two) < 2:
            return NAN
        moving = (one.std(0) > 0) & (two.std(0) > 0)
        channels = int(moving.sum())
        if channels < 2:
            return NAN
        one, two = ((half - half.mean(0))[:, moving] for half in (one, two))
        one, two = one / one.norm(dim=0), two / two.norm(dim=0)
        # Σ r₁r₂ over all pairs of channels, by whichever products are fewer
        product = ((one.T @ one) * (two.T @ two)).sum() if channels < len(one) else (one @ two.T).square().sum()
        return float((product - channels) / (channels * (channels - 1)))


def principal(values: torch.Tensor, count: int) -> torch.Tensor:
    """The first principal directions of vectors (n, C): (count or fewer, C) float64, of length 1, largest entry > 0.

    There are at most min(n − 1, C). They are found by the subspace iteration of ``torch.svd_lowrank``, from numbers of
    its own, in the smaller of the two matrices of products, XᵀX and XXᵀ.
    """
    values = values.detach().cpu().double()
    values = values - values.mean(0)
    count = max(min(count, len(values) - 1, values.shape[1]), 0)
    if not count:
        return values.new_zeros(0, values.shape[1])
    tall = len(values) > values.shape[1]
    products = values.T @ values if tall else values @ values.T
    # torch.svd_lowrank draws from the generator that all threads share: what it finds would depend on theirs
    basis = torch.linalg.qr(products @ torch.randn(
        len(products), min(2 * count + 4, len(products)), dtype=products.dtype,
        generator=torch.Generator().manual_seed(0))).Q
    for _ in range(4):
        basis = torch.linalg.qr(products @ torch.linalg.qr(products.T @ basis).Q).Q
    found = (basis @ torch.linalg.svd(basis.T @ products, full_matrices=False).U).T[:count]
    directions = found if tall else torch.nn.functional.normalize(found @ values)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return directions * largest.sign()


def tail(values: torch.Tensor) -> float:
    """Share of the variance of vectors (n, C) that the 1 % of pictures farthest from the mean hold, 0..1.

    .01 to .05 or so where pictures are alike; near 1 where a few lie far away. nan of fewer than 100 pictures.
    """
    if len(values) * TAIL < 1:
        return NAN
    far = distances(values)
    return float(far.topk(round(len(values) * TAIL)).values.sum() / far.sum())


def distances(values: torch.Tensor) -> torch.Tensor:
    """Squared distance of each vector from their mean, (n, C) → (n,) float64."""
    values = values.double()
    return (values - values.mean(0)).square().sum(1)


def effective(shares: torch.Tensor) -> float:
    """Effective number of parts of a whole, (Σb)² / Σb²: 1 where one part is all of it; nan of nothing."""
    shares = shares.double()
    return float(shares.sum().square() / shares.square().sum()) if float(shares.sum()) > 0 else NAN
