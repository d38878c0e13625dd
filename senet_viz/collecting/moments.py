"""Running moments in float64 that merge exactly: count, mean, M2, minimum and maximum by group, and histograms."""
from dataclasses import dataclass, fields

import torch

BINS = 100  # of a histogram over 0..1; .05 and .95, beyond which a gate counts as saturated, are edges
SLICE = 8192  # columns that a CPU adds at a time: what comes between stays in its cache


@dataclass
class Moments:
    """Moments of vectors of S values, for each of G groups (classes). All float64 but the count.

    Attributes:
        count: (G,) int64.
        mean, M2, min, max: (G, S); M2 is the sum of squared deviations from the mean. An empty group has mean and M2 0,
            min +inf and max −inf.
    """

    count: torch.Tensor
    mean: torch.Tensor
    M2: torch.Tensor
    min: torch.Tensor
    max: torch.Tensor

    @classmethod
    def empty(cls, groups: int, size: int, device: torch.device | str = "cpu") -> "Moments":
        """Of no vectors yet."""
        zeros = torch.zeros(groups, size, dtype=torch.float64, device=device)
        return cls(torch.zeros(groups, dtype=torch.int64, device=device), zeros, zeros.clone(),
                   torch.full_like(zeros, torch.inf), torch.full_like(zeros, -torch.inf))

    def update(self, values: torch.Tensor, groups: torch.Tensor) -> None:
        """Add vectors.

        Args:
            values: (N, S), finite.
            groups: (N,) int64 on the CPU, each in 0..G − 1.
        """
        present, member = groups.unique(return_inverse=True)
        rows, member = present.to(self.mean.device), member.to(self.mean.device)
        chosen = torch.nn.functional.one_hot(member, len(present)).T.to(self.mean)
        count = chosen.sum(1).long()
        size = SLICE if self.mean.device.type == "cpu" else max(1, values.shape[1])
        for columns, part in zip(self._slices(size), values.split(size, 1)):
            columns._merge(_moments(part.to(self.mean), member, chosen, count), rows)
        self.count[rows] += count

    def merge(self, other: "Moments", rows: torch.Tensor) -> None:
        """Add another's groups to the groups ``rows`` of this one (Chan, Golub, LeVeque: Updating formulae, 1979)."""
        rows = rows.to(self.mean.device)
        self._merge(other, rows)
        self.count[rows] += other.count

    def _merge(self, other: "Moments", rows: torch.Tensor) -> None:
        """All but the count."""
        before = self.count[rows]
        # .double(): of integers, torch makes float32
        weight = (other.count.double() / (before + other.count).clamp_min(1))[:, None]
        delta = other.mean - self.mean[rows]
        self.M2[rows] += other.M2 + delta.square() * (before[:, None] * weight)
        self.mean[rows] += delta * weight
        self.min[rows] = torch.minimum(self.min[rows], other.min)
        self.max[rows] = torch.maximum(self.max[rows], other.max)

    def _slices(self, size: int) -> list["Moments"]:
        """So many of the S values each, which share their memory with this one's."""
        return [Moments(self.count, *parts) for parts in zip(*(
            tensor.split(size, 1) for name, tensor in self.tensors().items() if name != "count"))]

    def total(self) -> "Moments":
        """Of all groups together, as one group."""
        if not len(self.count):
            return Moments.empty(1, self.mean.shape[1], self.mean.device)
        count = self.count.sum()
        share = (self.count.double() / count.clamp_min(1))[:, None]
        origin = self.mean[self.count.argmax()]  # where all groups have one mean, theirs is not rounded
        mean = origin + (share * (self.mean - origin)).sum(0)
        spread = self.M2.sum(0) + (self.count[:, None] * (self.mean - mean).square()).sum(0)
        return Moments(count[None], mean[None], spread[None], self.min.amin(0, True), self.max.amax(0, True))

    def take(self, rows: torch.Tensor) -> "Moments":
        """Some of the groups."""
        return Moments(**{name: tensor[rows.to(tensor.device)] for name, tensor in self.tensors().items()})

    def channels(self, columns: slice) -> "Moments":
        """Of some of the S values."""
        return Moments(self.count, *(tensor[:, columns] for name, tensor in self.tensors().items() if name != "count"))

    def variance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums of squares between the groups and within them, (S,) each; they add up to that of all vectors."""
        grand = self.total().mean
        return (self.count[:, None] * (self.mean - grand).square()).sum(0), self.M2.sum(0)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The five by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _moments(values: torch.Tensor, member: torch.Tensor, chosen: torch.Tensor, count: torch.Tensor) -> Moments:
    """Of vectors (N, S) by group: which each is in (N,), the same as zeros and ones (G, N), how many each has (G,)."""
    # by matrix products, not by scattered additions, whose order on a GPU differs from run to run
    mean = chosen @ values / count[:, None]
    spread = chosen @ mean[member].sub_(values).square_()
    index = member[:, None].expand_as(values)
    low = torch.full_like(mean, torch.inf).scatter_reduce_(0, index, values, "amin")
    high = torch.full_like(mean, -torch.inf).scatter_reduce_(0, index, values, "amax")
    return Moments(count, mean, spread, low, high)


def histogram(values: torch.Tensor, bins: int = BINS, counts: torch.Tensor | None = None) -> torch.Tensor:
    """Counts of values in equal bins over 0..1, those beyond in the first and last: (N, S) → (S, bins) int64.

    Args:
        values: finite.
        bins: how many.
        counts: of values before, to which these are added where they lie.
    """
    if counts is None:
        counts = torch.zeros(values.shape[1], bins, dtype=torch.int64, device=values.device)
    index = (values * bins).clamp(0, bins - 1).long().T
    return counts.scatter_add_(1, index, counts.new_ones(()).expand_as(index))
