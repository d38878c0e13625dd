"""Differences between accuracies over the same pictures, and their intervals."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.stats import beta, t

from .archive import IMAGES

Z = 1.959963984540054  # of 95 %
UNEDITED = "unedited"


def between(path: str | Path, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The differences between edits over the same pictures, from the rows of an evaluation's folder.

    A row a pair; columns edit, reference, difference (top-1 of the edit minus that of the reference, −1..1), low, high,
    low_classes and high_classes (its 95 % intervals, as of ``open_evaluation``). Whether two intervals against the
    unedited network meet does not tell whether two edits differ: they share the network's mistakes.

    Args:
        path: the folder.
        pairs: edit and reference, as the evaluation's table names them.
    """
    right, pictures = _answers(path, "label")
    one, other = (np.stack([right[pair[i]] for pair in pairs]) for i in (0, 1))
    difference, low, high = paired_interval((~one & other).sum(1), (one & ~other).sum(1), len(pictures))
    wide = class_interval(one.astype(int) - other, pictures["label"].to_numpy())
    return pd.DataFrame({
        "edit": [edit for edit, _ in pairs], "reference": [reference for _, reference in pairs],
        "difference": difference, "low": low, "high": high,
        "low_classes": np.minimum(wide[0], low), "high_classes": np.maximum(wide[1], high)})


def between_networks(first: str | Path, second: str | Path, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame | None:
    """How much more an edit changes one network's accuracy than another's, over the same pictures; None for others.

    A row a pair; columns edit, reference, difference (the change of top-1 from unedited by the edit in the second
    network less that by the reference in the first, −2..2), low, high, low_classes and high_classes (its 95 %
    intervals, as of ``between``). Per picture it is −2..2, so that the interval for other pictures is Wald's alone,
    with half a picture added either way.

    Args:
        first, second: the folders of evaluations of the same data.
        pairs: edit of the second network and reference of the first.
    """
    (own, pictures), (other, others) = (_answers(path, "index", "label") for path in (second, first))
    if not pictures.equals(others):
        return None
    count = len(pictures)
    changes = np.stack([own[edit].astype(int) - own[UNEDITED] - (other[reference].astype(int) - other[UNEDITED])
                        for edit, reference in pairs])
    n, shift = count + 2, changes.sum(1)
    half = Z * np.sqrt((changes ** 2).sum(1) + 1 - shift ** 2 / n) / n
    low, high = np.maximum(shift / n - half, -2), np.minimum(shift / n + half, 2)
    wide = [2 * end for end in class_interval(changes / 2, pictures["label"].to_numpy())]
    return pd.DataFrame({
        "edit": [edit for edit, _ in pairs], "reference": [reference for _, reference in pairs],
        "difference": shift / count, "low": low, "high": high,
        "low_classes": np.minimum(wide[0], low), "high_classes": np.maximum(wide[1], high)})


def _answers(path: str | Path, *columns: str) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Which pictures each edit has right, and columns of these pictures, from the rows of an evaluation's folder."""
    rows = pq.read_table(Path(path) / IMAGES, columns=["edit", "right1", *columns])
    names = rows["edit"].combine_chunks().dictionary_encode().dictionary.to_pylist()
    pictures = len(rows) // len(names)  # edit after edit, as ``write_rows`` has them
    right = rows["right1"].to_numpy().reshape(-1, pictures)
    return dict(zip(names, right)), rows.select(columns).slice(0, pictures).to_pandas()


def paired_interval(lost, gained, images) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The difference between two accuracies over the same pictures, and its 95 % interval.

    The wider, at each end, of two. Wald's interval for matched proportions with half a picture added to each of the
    four cells of McNemar's table (A. Agresti, Y. Min: "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24, 2005) keeps its width where few pictures change, or none. And that of the
    exact test, McNemar's: among the pictures that change, the share that is gained has the interval of C. Clopper and
    E. Pearson (Biometrika 26, 1934). Without it five pictures lost and none gained would count as sure, which a fair
    coin does in one of 16 times.

    Args:
        lost: pictures that were right and are wrong.
        gained: pictures that were wrong and are right.
        images: all of them.

    Returns:
        difference ((gained − lost) / images, −1..1), low, high.

    >>> [round(float(value), 4) for value in paired_interval(0, 0, 98)]
    [0.0, -0.0196, 0.0196]
    >>> [round(float(value), 4) for value in paired_interval(5, 0, 998)]
    [-0.005, -0.0098, 0.0002]
    """
    lost, gained, images = (np.asarray(value, dtype=float) for value in (lost, gained, images))
    n, shift, changed = images + 2, gained - lost, lost + gained
    half = Z * np.sqrt(changed + 1 - shift ** 2 / n) / n
    least = np.where(gained > 0, beta.ppf(0.025, np.maximum(gained, 1), lost + 1), 0)
    most = np.where(lost > 0, beta.ppf(0.975, gained + 1, np.maximum(lost, 1)), 1)
    low = np.minimum(shift / n - half, changed * (2 * least - 1) / images)
    high = np.maximum(shift / n + half, changed * (2 * most - 1) / images)
    return shift / images, np.maximum(low, -1), np.minimum(high, 1)


def class_interval(changes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of a difference between two accuracies for other classes of the same kind.

    Pictures of one class are not independent where the classes themselves are a sample: each class is one draw. With
    n_k pictures of class k, of N, and d_k the difference over these, the difference over all is d = Σ n_k d_k / N, its
    standard error √(K/(K−1) · Σ (n_k (d_k − d))²) / N, and the interval d ± t(0.975, K−1) of these. Where all classes
    have as many pictures, that is the mean of d_k with the standard error of a mean of K values. (A. C. Cameron,
    D. L. Miller: "A practitioner's guide to cluster-robust inference", Journal of Human Resources 50, 2015.)

    Args:
        changes: (edits, N) of −1, 0 and 1: right with the edit, less right without it.
        labels: (N,), the class of each picture.

    Returns:
        low, high, (edits,); nan where there is one class.
    """
    _, of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    classes, difference = len(counts), changes.mean(1)
    if classes < 2:
        return np.full(len(changes), np.nan), np.full(len(changes), np.nan)
    sums = np.stack([np.bincount(of, weights=row, minlength=classes) for row in changes])
    apart = ((sums - difference[:, None] * counts) ** 2).sum(1)
    half = t.ppf(0.975, classes - 1) * np.sqrt(classes / (classes - 1) * apart) / len(labels)
    return np.maximum(difference - half, -1), np.minimum(difference + half, 1)
