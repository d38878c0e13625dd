"""A data set's statistics beside the panels that the SE paper published."""
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..reports.papers import CHANNELS, CLASSES, FINDINGS, LEVELS, PANELS, PROTOCOL
from ..tables import sampled_channels
from .archive import Statistics

_ELSEWHERE = {"plane": {"carpenter's plane"}}  # what to look for in other data, where the bare name is ambiguous
_NONE = "–"


def shown_classes(stats: Statistics) -> dict[str, int]:
    """Which of ``CLASSES`` a data set has: name → index there.

    With 1,000 classes it is ImageNet's index, if the name is right; else the class whose names ("pug, pug-dog") include
    the very one. A "plane" among other classes is taken for an airliner, and left out.
    """
    names = [{part.strip().lower() for part in name.split(",")} for name in stats.classes]
    found = {}
    for name, index in CLASSES.items():
        wanted = _ELSEWHERE.get(name, {name})
        if len(names) == 1000 and names[index] & (wanted | {name}):
            found[name] = index
        elif alike := [i for i, known in enumerate(names) if known & wanted]:
            found[name] = alike[0]
    return found


def first_classes(stats: Statistics, count: int = 4) -> list[int]:
    """Classes to begin with, indices: those of ``CLASSES`` that have pictures, and others from the whole length."""
    there = np.flatnonzero(stats.count > 0).tolist()
    shown = [i for i in shown_classes(stats).values() if i in there]
    spread = [there[int(i)] for i in np.linspace(0, len(there) - 1, min(count, len(there)))]
    return list(dict.fromkeys(shown + spread))[:count]


def comparison(stats: Statistics, label: str) -> pd.DataFrame:
    """A panel of Fig. 6 as published and as these statistics have it.

    Columns: quantity, published, here (text, "–" where there is nothing). Quantities: model, data, images a class,
    classes (with pictures, here), line “all”, channels drawn, finding (published only), mean level of “all” (over
    channels; the mean of class means) and of each class that Fig. 6 shows and ``stats`` has, where the level was
    published, and spread between class means (mean over channels of the standard deviation over classes; here only).

    Args:
        stats: the statistics, at zoom 1.
        label: one of ``PANELS``; of another block nothing is published.

    Raises:
        ValueError: when the network has no such block.
    """
    block, there = stats.block(label), stats.count > 0
    means = stats.mean(block)[there, -1]
    published = PROTOCOL if label in PANELS else {}
    images = stats.count[there]
    here = {
        "model": str(stats.metadata["model"]),
        "data": str(stats.metadata["data"]),
        "images a class": _between(int(images.min()), int(images.max())) if there.any() else _NONE,
        "classes": f"{there.sum():,}",
        "line “all”": f"mean over {there.sum():,} classes" if there.any() else _NONE,
    }
    rows = [(quantity, published.get(quantity, _NONE), value) for quantity, value in here.items()]
    rows.append(("channels drawn", _drawn(CHANNELS[label]) if label in PANELS else _NONE, _drawn(block.channels)))
    rows.append(("finding", FINDINGS.get(label, _NONE), _NONE))
    levels, shown = LEVELS.get(label, {}), shown_classes(stats)
    own = {"all": means.mean()} if there.any() else {}
    own |= {name: stats.mean(block)[i, -1].mean() for name, i in shown.items() if there[i]}
    for line in ("all", *(name for name in CLASSES if name in levels and name in own)):
        rows.append((f"mean level of “{line}”",
                     f"about {levels[line]:.2f}, read off by eye" if line in levels else _NONE,
                     f"{own[line]:.2f}" if line in own else _NONE))
    rows.append(("spread between class means", _NONE, f"{means.std(0).mean():.3f}" if len(means) > 1 else _NONE))
    return pd.DataFrame(rows, columns=["quantity", "published", "here"])


def comparisons(stats: Statistics, labels: Sequence[str]) -> pd.DataFrame:
    """``comparison`` of several panels: block, quantity, published, here.

    What is the same for several of them because it is the network's or the data's stands there once, for "all of
    these".

    Args:
        stats: the statistics, at zoom 1.
        labels: one or more of ``PANELS``.
    """
    table = pd.concat([comparison(stats, label).assign(block=label) for label in labels], ignore_index=True)
    same = table.duplicated(["quantity", "published", "here"], keep=False) & table["quantity"].isin(PROTOCOL)
    table["block"] = table["block"].mask(same, "all of these")
    return table.drop_duplicates()[["block", "quantity", "published", "here"]]


def _drawn(channels: int) -> str:
    drawn = sampled_channels(channels)
    step = int(drawn[1]) if len(drawn) > 1 else 1
    return f"{len(drawn)} of {channels:,}" + (f", one in {step}" if step > 1 else "")


def _between(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
