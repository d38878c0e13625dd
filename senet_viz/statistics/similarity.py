"""How alike two networks see the same classes or pictures: linear CKA of their gates, and of what these are made of.

Linear CKA (S. Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, Sec. 3) compares two
sets of vectors of the same n things by their Gram matrices XXᵀ and YYᵀ: 1 where these are the same up to a factor, that
is, up to rotation and one scale for all, whatever the order and number of channels; 0 where they have nothing in
common. Taken as it is, it grows with the number of channels per thing: vectors of noise with more channels than there
are things have a CKA near 1. So the inner products are the unbiased ones (L. Song et al., Feature Selection via
Dependence Maximization, JMLR 2012, Eq. 5; T. Nguyen et al., ICLR 2021, take them for CKA), whose mean over noise is 0;
they can come out slightly below it. They are written here as G. Székely and M. Rizzo do (Partial Distance Correlation,
Annals of Statistics 2014): as plain inner products of Gram matrices that are centred in their own way, "U-centred", so
that CKA is a cosine and lies in −1..1.
"""
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from .archive import Statistics
from .summaries import CONSTANT, class_names
from .whole import whole_gates

FEWEST = 5  # classes in common, at least: of those of four, one left out, nothing could be said
FEWEST_PICTURES = 50
PICTURES = 256  # that are compared, at most: time and memory go with their square
DRAWS = 50  # of shuffled pairs
RUNS = 20  # of pictures, each left out once for the interval
SHARE = 0.95  # of the interval
LITTLE = 1e-5  # of the squared length of a Gram matrix: under it its digits are few

Vectors = Mapping[str, np.ndarray]


def gram(values: np.ndarray) -> np.ndarray:
    """The inner products of vectors (n, C) less their mean, which changes nothing but the rounding: (n, n) float64."""
    values = np.asarray(values, dtype=float)
    values = values - values.mean(0)
    return values @ values.T


def u_centred(products: np.ndarray) -> np.ndarray:
    """A Gram matrix (n, n), n ≥ 4, U-centred: its diagonal and the sums of its rows are 0."""
    products = products.copy()
    np.fill_diagonal(products, 0)
    count, rows = len(products), products.sum(1)
    products += rows.sum() / ((count - 1) * (count - 2)) - (rows + rows[:, None]) / (count - 2)
    np.fill_diagonal(products, 0)
    return products


def cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear CKA of two sets of vectors of the same things in the same order, (n, C) and (n, D), in −1..1.

    nan where one of them does not vary.

    Raises:
        ValueError: where they are not equally many, or fewer than four.
    """
    if len(first) != len(second) or len(first) < 4:
        raise ValueError(f"CKA takes vectors of the same four things or more, not {len(first)} and {len(second)}")
    return _cosine(_unit(gram(first)), _unit(gram(second)))


def _unit(products: np.ndarray) -> np.ndarray:
    """The U-centred Gram matrix at length 1, nan where nothing varies."""
    if np.trace(products) <= len(products) * CONSTANT ** 2:
        return np.full_like(products, np.nan)
    centred = u_centred(products)
    return centred / np.linalg.norm(centred)


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.clip(np.vdot(first, second), -1, 1))


def matrix(first: Vectors, second: Vectors) -> pd.DataFrame:
    """CKA of every block of one network with every block of another: index and columns are the labels.

    Args:
        first, second: label of a block → vectors (n, C) of the same things.
    """
    ours = [_unit(gram(each)) for each in first.values()]
    columns = [[_cosine(one, two) for one in ours] for two in (_unit(gram(each)) for each in second.values())]
    return pd.DataFrame(np.transpose(columns), pd.Index(list(first), name="first"),
                        pd.Index(list(second), name="second"))


def along(first: Vectors, second: Vectors, pairs: Sequence[tuple[str, str]], groups: np.ndarray, draws: int = DRAWS
          ) -> pd.DataFrame:
    """CKA of pairs of blocks, with what chance gives: a row a pair.

    Columns: first, second (labels), cka; low and high (its 95 % interval: a jackknife that leaves out one group at a
    time, with Student's t; never beyond ±1; nan of fewer than two groups or where too few things are left); shuffled,
    shuffled_low, shuffled_high (mean, least and largest of the draws in which the things of the second network are
    dealt out anew), draws, things (n).

    Args:
        first, second: label → vectors (n, C) of the same things.
        pairs: labels.
        groups: (n,) to which group each thing belongs: its own, or a run of pictures.
        draws: how many.
    """
    kept = [groups != name for name in np.unique(groups)]
    enough = len(kept) > 1 and all(rest.sum() >= 4 for rest in kept)
    rng, rows = np.random.default_rng(0), []
    orders = [rng.permutation(len(groups)) for _ in range(draws)]
    for one, two in pairs:  # one at a time: a Gram matrix of 1,000 classes takes 8 MB
        x, y = first[one], second[two]
        k, l = _unit(gram(x)), _unit(gram(y))  # noqa: E741
        value, low, high = _cosine(k, l), np.nan, np.nan
        if enough and not np.isnan(value):
            left = [_without(k, l, value, rest) for rest in kept]
            left = [cka(x[rest], y[rest]) if np.isnan(of) else of for of, rest in zip(left, kept)]
            low, high = interval(value, jackknife_error(left), len(left))
        dealt = np.array([_cosine(k, l[np.ix_(order, order)]) for order in orders])
        rows.append((one, two, value, max(low, -1.0), min(high, 1.0), dealt.mean(), dealt.min(), dealt.max(), draws,
                     len(groups)))
    return pd.DataFrame(rows, columns=["first", "second", "cka", "low", "high", "shuffled", "shuffled_low",
                                       "shuffled_high", "draws", "things"])


def _without(first: np.ndarray, second: np.ndarray, value: float, kept: np.ndarray) -> float:
    """The cosine of two matrices of ``_unit``, which is ``value``, without some things: from these things' rows alone.

    A part of a U-centred matrix, U-centred again, is that part of the Gram matrix, U-centred: a number added to a whole
    row and column is taken away. So its products are those of ``u_centred``, whose sums are known here, for whole rows
    add up to 0: those of the part's rows, and of all of it, are made of what is left out.

    Args:
        first, second, value: of all things.
        kept: (n,) which of them stay.

    Returns:
        nan where so little stays of one of them (``LITTLE``) that the difference would be made of rounding.
    """
    count, out = int(kept.sum()), ~kept
    rows = np.stack([first[out], second[out]])
    whole, both = rows.reshape(2, -1), rows[:, :, out].reshape(2, -1)
    sums, total = rows[:, :, kept].sum(1), both.sum(1)
    products = (np.array([[1, value], [value, 1]]) - 2 * whole @ whole.T + both @ both.T
                - 2 * sums @ sums.T / (count - 2) + np.outer(total, total) / ((count - 1) * (count - 2)))
    if products.diagonal().min() < LITTLE:
        return np.nan
    return float(np.clip(products[0, 1] / np.sqrt(products[0, 0] * products[1, 1]), -1, 1))


def jackknife_error(left_out) -> np.ndarray | float:
    """The standard error from the values without each of the groups in turn, along the last axis."""
    left_out = np.asarray(left_out, dtype=float)
    groups = left_out.shape[-1]
    apart = left_out - left_out.mean(-1, keepdims=True)
    return np.sqrt((groups - 1) / groups * (apart ** 2).sum(-1))


def interval(value, error, groups: int) -> tuple:
    """The 95 % interval of a value with a jackknife's standard error over so many groups; nan of fewer than two."""
    half = error * (t.ppf((1 + SHARE) / 2, groups - 1) if groups > 1 else np.nan)
    return value - half, value + half


def common_classes(first: Statistics, second: Statistics) -> list[str]:
    """Names of the classes of which both have pictures, in the order of the first."""
    there = [{name for name, count in zip(class_names(stats), stats.count) if count} for stats in (first, second)]
    return [name for name in class_names(first) if name in there[0] & there[1]]


def class_vectors(first: Statistics, second: Statistics, zoom: float = 1.0
                  ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """The class means of every block's gate, of both, and the classes: matched by their names.

    Raises:
        ValueError: where fewer than ``FEWEST`` classes are common.
    """
    names = common_classes(first, second)
    if len(names) < FEWEST:
        raise ValueError(f"the two have {len(names) or 'no'} class{'es' * (len(names) != 1)} in common, and it takes "
                         f"{FEWEST} to compare how they see classes")
    found = []
    for stats in (first, second):
        place = {name: i for i, name in enumerate(class_names(stats))}
        chosen = [place[name] for name in names]
        found.append({block.label: stats.mean(block, zoom)[chosen, -1] for block in stats.blocks})
    return found[0], found[1], names


def picture_vectors(first: Statistics, second: Statistics, source: str = "gate", zoom: float = 1.0
                    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Every block's gate, or its input, of the pictures that both kept whole, and the numbers of these pictures.

    Up to ``PICTURES``, evenly spread. That both looked at the same data is known by names, labels, boxes and sizes of
    all pictures (``metadata["pictures"]``).

    Args:
        first, second: the archives.
        source: "gate", of the last branch, or "squeeze".
        zoom: of the pictures; it has to be the first of both runs, of which they were kept.

    Raises:
        ValueError: one sentence, where they cannot be compared.
    """
    if first.metadata["pictures"] != second.metadata["pictures"]:
        raise ValueError("the two are not of the same pictures, so that these cannot be compared one by one")
    wholes = []
    for stats in (first, second):
        whole = whole_gates(stats)
        if whole is None:
            raise ValueError(f"the run of {stats.metadata['model']} keeps no whole gates of pictures: it was collected "
                             f"with --compact, without a sample, or before they were kept")
        if stats.zooms[0] != zoom:
            raise ValueError(f"the run of {stats.metadata['model']} keeps whole gates at zoom {stats.zooms[0]:g}, not "
                             f"at {zoom:g}")
        wholes.append(whole)
    common = np.intersect1d(wholes[0].index, wholes[1].index)
    if len(common) < FEWEST_PICTURES:
        raise ValueError(f"the two kept whole gates of {len(common)} pictures in common, and it takes "
                         f"{FEWEST_PICTURES} to compare how they see pictures")
    size = min(len(common), PICTURES)
    common = common[np.arange(size) * len(common) // size]
    vectors = [{block.label: whole(block, source)[np.searchsorted(whole.index, common)] for block in stats.blocks}
               for stats, whole in zip((first, second), wholes)]
    finite = np.logical_and.reduce([np.isfinite(of).all(1) for each in vectors for of in each.values()])
    one, two = ({label: of[finite] for label, of in each.items()} for each in vectors)
    return one, two, common[finite]


def runs_of(count: int, groups: int = RUNS) -> np.ndarray:
    """Which run each of ``count`` pictures in the order of the data belongs to, (count,) int64.

    Pictures of a class often follow each other, so that what varies from class to class shows in the interval.
    """
    return np.arange(count) * min(groups, count) // count


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """A ``matrix`` as a long table: first, second (labels), cka; a row a cell, column by column."""
    return table.melt(ignore_index=False, value_name="cka").reset_index()
