"""In how many directions do the channels of a gate move? Measured from covariances that merge exactly.

A gate of C channels whose pictures all lie on one line is one number, however lively its channels look. The measure is
the participation ratio of the covariance over pictures, (Σλ)² / Σλ² of its eigenvalues λ: 1 for one direction, C for as
many equal ones. Of n pictures it comes out as about PR / (1 + PR / n); taken from two halves of the pictures,
tr S₁ · tr S₂ / tr(S₁S₂), it is nearly unbiased.
"""
from dataclasses import dataclass

import torch

CHANNELS = 128  # of more, as many are measured, evenly spaced: the traces need no more, and a matrix stays at 131 kB
FEWEST = 3  # pictures for each direction found; with fewer the number says more of the pictures than of the gate


@dataclass
class Covariance:
    """Mean and co-moments of vectors of m values. Float64, on the CPU; the sum of two is that of all their vectors.

    Attributes:
        count: n.
        mean: (m,).
        moment: (m, m), Σ (x − mean)(x − mean)ᵀ.
    """

    count: int
    mean: torch.Tensor
    moment: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor) -> "Covariance":
        """Of vectors (N, C), of whose channels at most ``CHANNELS`` are taken, evenly spaced."""
        values = values.detach().cpu().double()[:, sampled(values.shape[1])]
        mean = values.mean(0) if len(values) else values.new_zeros(values.shape[1])
        centred = values - mean
        return cls(len(values), mean, centred.T @ centred)

    def __add__(self, other: "Covariance") -> "Covariance":
        count = self.count + other.count
        delta = other.mean - self.mean
        share = other.count / max(count, 1)
        return Covariance(count, self.mean + delta * share,
                          self.moment + other.moment + torch.outer(delta, delta) * (self.count * share))


def sampled(channels: int) -> torch.Tensor:
    """Which of C channels are measured: all, or ``CHANNELS`` evenly spaced ones."""
    return torch.linspace(0, channels - 1, min(channels, CHANNELS), dtype=torch.float64).round().long()


@dataclass
class Dimension:
    """What two halves of the pictures say together; nan where it cannot be told.

    Attributes:
        dimension: participation ratio, 1 (all channels are one number) or more.
        first: share of the variance along the first direction, 0..1: found in one half and measured in the other.
    """

    dimension: float
    first: float


def dimension(one: Covariance, two: Covariance, channels: int) -> Dimension:
    """The participation ratio and the first direction's share.

    Args:
        one, two: of two halves of the pictures that have none in common.
        channels: C, of which the covariances may have fewer: their diagonals and the rest are then scaled up apart.
    """
    unknown = float("nan")
    if min(one.count, two.count) < 2:
        return Dimension(unknown, unknown)
    a, b = one.moment / (one.count - 1), two.moment / (two.count - 1)
    size = len(a)
    product = a * b
    diagonal = product.diagonal().sum()
    rest = (product.sum() - diagonal) / max(size * (size - 1), 1) * channels * (channels - 1)
    overlap = float(channels * diagonal / size + rest)  # tr(S₁S₂)
    traces = [float(channels * matrix.diagonal().mean()) for matrix in (a, b)]
    if not min(traces) > 0 or not overlap > 0:  # gates that do not move, or by noise alone
        return Dimension(unknown, unknown)
    ratio = traces[0] * traces[1] / overlap
    if one.count + two.count < FEWEST * ratio:
        return Dimension(unknown, unknown)
    shares = []
    for found, measured in ((a, b), (b, a)):
        direction = torch.linalg.eigh(found).eigenvectors[:, -1]
        shares.append(float(direction @ measured @ direction / measured.trace()))
    return Dimension(ratio, sum(shares) / 2)
