"""What drives each gate, over depth: Statistics → a table and sentences."""
import pandas as pd

from .archive import Statistics
from .directions import named, still
from .drivers import DRIVERS, OUTLIERS, neighbourhood

SINGLE = ("brightness", "contrast", "colour", "detail", "size")
WORDS = {"brightness": "brightness", "contrast": "contrast", "colour": "colourfulness", "detail": "detail",
         "size": "the object's size"}
MOST = 0.9  # from this share on little is left to anything else
HALF = 0.5
CHANCE = 0.1  # where chance predicts more, the pictures are too few to tell what does
NOISE = 0.02  # so far under 0 a share lies by chance


def driving(stats: Statistics, branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """What share of each gate's variance, before its activation, something else predicts: a row a block and driver.

    Columns: block, label, stage, index, driver (one of ``senet_viz.statistics.drivers.DRIVERS``), share (1 for all of
    the variance, about 0 for none, slightly negative by chance; of pictures left out, so that more predictors do not
    raise it by themselves), channels, neighbours (how many channels "neighbours" looks at). Drivers of which nothing is
    known, such as the object's size without boxes, are left out.

    Raises:
        ValueError: for statistics without a sample of pictures, or from before this was measured.
    """
    rows = [{"block": block.name, "label": block.label, "stage": block.stage, "index": block.index, "driver": name,
             "share": share, "channels": block.channels, "neighbours": neighbourhood(block.channels)}
            for block in stats.blocks for name, share in stats.drivers(block, branch, zoom).items()]
    table = pd.DataFrame(rows)
    return table[table.groupby("driver")["share"].transform(lambda share: share.notna().any())].reset_index(drop=True)


def driving_findings(stats: Statistics, table: pd.DataFrame) -> list[str]:
    """What the table says, in sentences (Markdown: block labels are bold).

    Args:
        stats: the statistics.
        table: ``driving(stats)``.
    """
    shares = table.pivot(index="label", columns="driver", values="share").reindex(
        index=table["label"].unique(), columns=list(DRIVERS)).dropna(subset="all")
    if shares.empty:
        return ["What drives the gates cannot be told: " + (
            "they are the same for every picture." if still(stats) else
            "they do not move, or there are too few pictures.")]
    dealt = shares["dealt"].dropna()
    few = dealt.size > 0 and dealt.max() > CHANCE
    found = [_by_chance(shares, dealt) if few else _input(stats, shares, table)]
    untold = [label for label in table["label"].unique() if label not in shares.index]
    if untold:
        found.append(f"Of {named(stats, untold)} it cannot be told: the gate does not move.")
    if few:
        return found
    if (picture := shares["picture"].dropna()).size:
        found.append(_picture(shares, picture))
    if (told := shares["class"].dropna()).size:
        found.append(_class(stats, told))
    if dealt.size:
        found.append(f"The z of other pictures, which is chance, predicts "
                     f"{'under 1%' if dealt.max() < 0.01 else f'at most {_percent(dealt.max())}'}.")
    found.append(f"To predict is not to cause, and these shares overlap. The {OUTLIERS:.0%} of the pictures that lie "
                 f"farthest out in z are left out of all of them.")
    return found


def _by_chance(shares: pd.DataFrame, dealt: pd.Series) -> str:
    """What is said where chance predicts much."""
    several = len(dealt) > 1
    return (f"From so few pictures it cannot be told what drives the gates: a linear function of the squeezed input z "
            f"predicts {_range(shares['all'])} of the gate's variance before its activation, and one of the z of other "
            f"pictures, which is chance, {f'up to {_percent(dealt.max())}' if several else _percent(dealt.max())}.")


def _input(stats: Statistics, shares: pd.DataFrame, table: pd.DataFrame) -> str:
    """The squeezed input: all of it, the same channel, the channels around it."""
    whole, own, near = shares["all"], shares["own"], shares["neighbours"]
    near_by = sorted(set(table["neighbours"]))
    around = f"{near_by[0]}" if len(near_by) == 1 else f"{near_by[0]} to {near_by[-1]}"
    linear = [label for label in whole.index if whole[label] >= MOST]
    text = (f"A linear function of the squeezed input z predicts {_range(whole)} of the gate's variance before its "
            f"activation; what is missing to 100% is not linear in z, or not told by so many pictures. "
            f"Each channel's own z alone predicts {_range(own)}, and that of the {around} channels around it, as ECA "
            f"looks at them, {_range(near)}.")
    if linear and len(linear) < len(whole):
        text += f" Nearly linear in z (over {MOST:.0%}) is the gate before its activation of {named(stats, linear)}."
    enough = [label for label in whole.index if whole[label] > 0.1 and near[label] >= MOST * whole[label]]
    few = [label for label in whole.index if whole[label] > 0.1 and near[label] < HALF * whole[label]]
    one = len(whole) == 1
    if few:
        text += (f" {'The' if one else f'In {len(few)} of {len(whole)} blocks ({named(stats, few)}) the'} channels "
                 f"around predict less than half of what all of z does.")
    if enough:
        text += (f" {'The' if one else f'In {named(stats, enough)} the'} channels around predict nearly as much as all "
                 f"of z.")
    return text


def _picture(shares: pd.DataFrame, picture: pd.Series) -> str:
    """The picture's own properties, together and one by one."""
    single = shares[[name for name in SINGLE if shares[name].notna().any()]]
    most, best, name = max((float(share), str(label), str(name)) for name in single
                           for label, share in single[name].dropna().items())
    *first, last = (WORDS[each] for each in single.columns)
    several = len(picture) > 1
    return (f"{', '.join(first)} and {last}".capitalize() + f" together predict {_range(picture)} of that variance"
            + (f", the most in **{picture.idxmax()}**" if several else "") + (
                f". Alone {WORDS[name]} says the most: {_percent(most)}" + (f" in **{best}**." if several else ".")
                if round(100 * most) > 0 else ". Alone none of them says anything."))


def _class(stats: Statistics, told: pd.Series) -> str:
    """The mean of the other pictures of the class."""
    worse = told[told < -NOISE]
    if worse.empty:
        return f"The class of a picture predicts {_range(told)} of that variance."
    each = stats.count[stats.count > 0] * stats.sampled / max(stats.metadata["images"], 1)
    least, most = (f"{count:.0f}" for count in (each.min(), each.max()))
    counts = least if least == most else f"{least} to {most}"
    text = (f" the mean of the other pictures of its class is farther from a picture's gate than the mean of all. With "
            f"{counts} sampled picture{'s' * (counts != '1')} a class it is too unsure to tell what the class does.")
    if len(worse) == len(told):
        return f"What the class of a picture predicts cannot be told:{text}"
    return (f"The class of a picture predicts {_range(told.drop(worse.index))} of that variance. In "
            f"{named(stats, list(worse.index))} it cannot be told:{text}")


def _range(shares: pd.Series) -> str:
    """From the smallest to the largest, and the median of more than two blocks."""
    low, high = _percent(shares.min()), _percent(shares.max())
    if low == high:
        return low
    return f"{low} to {high}" + (f" (median {_percent(shares.median())})" if len(shares) > 2 else "")


def _percent(share: float) -> str:
    """Whole percents; what is no more than chance is 0."""
    return f"{max(round(100 * float(share)), 0)}%"
