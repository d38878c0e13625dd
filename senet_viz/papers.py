"""What the papers published, as data, to be shown beside one's own statistics.

Fig. 6 and Fig. 7 of "Squeeze-and-Excitation Networks" (Hu et al., TPAMI version, arXiv 1709.01507, "Role of
excitation"): the mean gate of each channel for four classes and over all, in six blocks of SE-ResNet-50; Fig. 7 has the
mean and standard deviation over the images of one class, goldfish and plane, in the same blocks.
"""
import pandas as pd

from .statistics import Statistics
from .tables import sampled_channels

PANELS = ("SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3")
"""The blocks that Fig. 6 shows, SE_stage_block; the stem is stage 1."""

CHANNELS = dict(zip(PANELS, (256, 512, 1024, 2048, 2048, 2048)))
"""Panel → C of its block in SE-ResNet-50. Of them every s-th is drawn, s = ⌈C / 50⌉ (see ``sampled_channels``)."""

CLASSES = {"goldfish": 1, "pug": 254, "plane": 726, "cliff": 972}
"""The classes that Fig. 6 shows → their ImageNet index from 0. "plane" is the carpenter's tool, not an airliner."""

PROTOCOL = {
    "model": "SE-ResNet-50",
    "data": "ImageNet validation",
    "images a class": "50",
    "classes": "1,000",
    "line “all”": "mean over 1,000 classes",
}
"""How Fig. 6 was made. A class line is each channel's gate averaged over the class's images."""

FINDINGS = {
    "SE_2_3": "the lines of all classes nearly coincide",
    "SE_3_4": "the lines of all classes nearly coincide",
    "SE_4_6": "the gates are class-specific: different classes prefer different channels",
    "SE_5_1": "the gates are class-specific: different classes prefer different channels",
    "SE_5_2": "saturated: near 1 for every class but for a few dips (one channel near 0, index about 1353)",
    "SE_5_3": "the lines of the classes run parallel, one above the other",
}
"""What the paper says of each panel of Fig. 6, and what there is to see in it."""

LEVELS = {"SE_5_3": {"cliff": 0.27, "goldfish": 0.2, "all": 0.16, "plane": 0.08, "pug": 0.05}}
"""Panel → line → its mean level, where the figure's lines are far enough apart to tell; read off the figure by eye."""

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


def _drawn(channels: int) -> str:
    drawn = sampled_channels(channels)
    step = int(drawn[1]) if len(drawn) > 1 else 1
    return f"{len(drawn)} of {channels:,}" + (f", one in {step}" if step > 1 else "")


def _between(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"

REDUCTIONS = pd.DataFrame([
    ("no SE", 0, 23.30, 6.55, 25.6), ("r = 2", 2, 22.29, 6.00, 45.7), ("r = 4", 4, 22.25, 6.09, 35.7),
    ("r = 8", 8, 22.26, 5.99, 30.7), ("r = 16", 16, 22.28, 6.03, 28.1), ("r = 32", 32, 22.72, 6.20, 26.9),
], columns=["name", "reduction", "top1", "top5", "published"])
"""SE-ResNet-50 by reduction ratio (Hu et al., TPAMI version, Sec. 6.1): single-crop errors in %, parameters in
millions."""

SQUEEZES = {"mean": (22.28, 6.03), "max": (22.57, 6.09)}
"""Trained with this squeeze (the same, Sec. 6.2): top-1 and top-5 error in %."""

EXCITATIONS = {"sigmoid": (22.28, 6.03), "tanh": (23.00, 6.38), "ReLU": (23.47, 6.98)}
"""Trained with this excitation (the same, Sec. 6.3): top-1 and top-5 error in %."""

NETWORKS = {
    "ResNeXt-50": 22.23, "SENet-50": 21.12, "SKNet-50": 20.79, "SKNet-50, three kernels": 20.76,
    "ResNeXt-101": 21.11, "SENet-101": 20.58, "SKNet-101": 20.19,
}
"""Top-1 error in % at 224×224 (Li et al., Sec. 4.1 and 4.2); the SENets are SE-ResNeXts. The three kernels are 3×3,
5×5 and 7×7."""
