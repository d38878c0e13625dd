"""What a comparison of runs says, in sentences (Markdown: names and labels are bold) that follow from its numbers.

"The same" is said where a 95 % interval lies whole within a bound that counts as nothing, "higher" and "lower" where it
leaves 0 out, and that it may be by no more than counts as nothing where it reaches into that bound; of many intervals
some leave 0 out by chance, which is said as well.
"""

import pandas as pd

from ..reports.text import ends, listed, number, plain
from ..tables import kernel_name
from .archive import Statistics
from .comparison import CLASSES, FEWEST, MEASURES, NONE, PICTURES
from .dimension import ONE
from .similarity import common_classes
from .summaries import FEW

NAMED = 3  # channels that are named
WORDS = {"classes": "class means of the gate", "gate": "gate", "squeeze": "squeezed input z"}


def curve_findings(table: pd.DataFrame) -> list[str]:
    """Each run's range of the two main measures.

    Args:
        table: ``comparison.curves``.
    """
    found = []
    for run, rows in table.groupby("run", sort=False):
        rows = rows.set_index("label")
        parts = []
        for measure, words in (("omega_squared", "the median channel's ω² is"), ("dimension", "the directions are")):
            told = rows[measure].dropna()
            if told.empty:
                parts.append(f"{words} not known")
                continue
            low, high = str(told.idxmin()), str(told.idxmax())
            form = MEASURES[measure].form
            parts.append(f"{words} {told[low]:{form}} (**{low}**)"
                         + (f" to {told[high]:{form}} (**{high}**)" if told[high] > told[low] else ""))
        told = rows["dimension"].dropna()
        one, untold = int((told < ONE).sum()), len(rows) - len(told)
        if len(told):
            text = (f"{one or 'none'} of {len(told)} gates {'move' if one > 1 else 'moves'}" if len(told) > 1 else
                    f"the gate of **{told.index[0]}** {'moves' if one else 'does not move'}")
            parts.append(f"{text} along one direction" + f", of {untold} more it cannot be told" * (untold > 0))
        found.append(f"**{plain(str(run))}**: {', '.join(parts)}.")
    return found


def data_findings(names: tuple[str, str], first: Statistics, second: Statistics) -> list[str]:
    """Whether two runs are of the same network, the same pictures and classes, and gates of the same sort."""
    found, about = [], [stats.metadata for stats in (first, second)]
    a, b = (f"**{plain(name)}**" for name in names)
    if about[0]["weights"] == about[1]["weights"]:
        found.append(f"{a} and {b} are one network: they have the same weights.")
    looked = [f"{each['images']:,}" for each in about]
    if about[0]["pictures"] == about[1]["pictures"]:
        found.append(f"Both looked at the same {looked[0]} pictures ({plain(about[0]['data'])})." if all(
            about[0][key] == about[1][key] for key in ("images", "count")) else
            f"They are of the same data ({plain(about[0]['data'])}), {a} of {looked[0]} and {b} of {looked[1]} of its "
            f"pictures.")
    else:
        common = len(common_classes(first, second))
        found.append(f"They are of different pictures: {a} of {plain(about[0]['data'])}, {looked[0]} pictures, {b} of "
                     f"{plain(about[1]['data'])}, {looked[1]}; {number(common, 'class', 'classes')} "
                     f"{'is' if common == 1 else 'are'} common by name. What differs may be the data's doing.")
    for name, stats in ((a, first), (b, second)):
        counts = stats.count[stats.count > 0]
        if len(counts) and (few := int((counts < FEW).sum())) > len(counts) / 2:
            found.append(f"{few} of the {number(len(counts), 'class', 'classes')} of {name} have fewer than {FEW} "
                         f"pictures. Means of so few scatter, which makes two networks look less alike by them, also "
                         f"where they are one.")
    sorts = [_sort(stats) for stats in (first, second)]
    if sorts[0] != sorts[1]:
        found.append(f"Their gates are not of one sort: of {a} {sorts[0]}, of {b} {sorts[1]}. Mean, spread and "
                     f"saturation of the two do not mean the same.")
    for name, stats, other in ((a, first, second), (b, second, first)):
        lone = sorted({block.stage for block in stats.blocks} - {block.stage for block in other.blocks})
        if lone:
            found.append(f"Stage{'s' * (len(lone) > 1)} {listed([str(stage) for stage in lone])} of {name} "
                         f"{'has' if len(lone) == 1 else 'have'} no blocks in the other network, and "
                         f"{'is' if len(lone) == 1 else 'are'} not compared.")
    return found


def _sort(stats: Statistics) -> str:
    weighs = [block for block in stats.blocks if block.branches > 1]
    if not weighs:
        return f"a number a channel ({listed(sorted({block.kind for block in stats.blocks}))})"
    name = kernel_name(weighs[-1], -1)
    return (f"the weight of {name}, one of {weighs[-1].branches} that add up to 1 "
            f"({listed(sorted({block.kind for block in stats.blocks}))})")


def difference_findings(names: tuple[str, str], table: pd.DataFrame, classes: int) -> list[str]:
    """Stage by stage, a sentence a measure, and one on the intervals.

    Args:
        names: of the two.
        table: ``comparison.differences``.
        classes: with pictures, the fewer of the two.
    """
    rows = table[table["level"] == "stage"]
    if rows.empty:
        return ["The two networks have no stage in common, so that nothing is compared."]
    found = [_measure(names, measure, rows[rows["measure"] == measure], classes) for measure in MEASURES]
    told = rows[rows["low"].notna() & (rows["difference"] != 0)]
    if told.empty:
        return found
    over = []
    if (part := told[told["over"] == CLASSES]).size:
        both = ("the same from both" if part["paired"].all() else
                "from each network by itself, for they have not the same")
        over.append(f"for other classes of the same kind (one of {classes:,} classes left out at a time, {both})")
    if (told["over"] == PICTURES).any():
        over.append(f"{'of the number of directions ' if over else ''}for other pictures")
    text = (f"Intervals are those of 95\u00a0% of **{plain(names[1])}** less **{plain(names[0])}**, "
            f"{'; '.join(over)}.")
    if len(told) > 1:
        chance = round(0.05 * len(told))
        text += (f" If nothing differed, {f'about {chance}' if chance else 'fewer than one'} of these {len(told)} "
                 f"would still leave 0 out.")
    found.append(text)
    return found


def _measure(names: tuple[str, str], measure: str, rows: pd.DataFrame, classes: int) -> str:
    about = MEASURES[measure]
    title, whole = f"**{about.title[0].upper()}{about.title[1:]}**", rows["difference"].notna()
    known = rows[whole]
    if known.empty:
        return f"{title} cannot be told."
    if not known["difference"].any():
        where = "every stage" if len(known) > 1 else str(known["place"].iloc[0])
        value = f" ({_said(known['first'].iloc[0], about.form)})" if known["first"].nunique() == 1 else ""
        return f"{title} is the same in both, in {where}{value}."
    b = f"**{plain(names[1])}**"
    parts = []
    told = known[known["low"].notna()]
    same = (told["low"] >= -about.small) & (told["high"] <= about.small)
    higher, lower = ~same & (told["low"] > 0), ~same & (told["high"] < 0)
    sure = (told["low"] > about.small) | (told["high"] < -about.small)
    small = _said(about.small, about.form, bare=True)
    slight = f", perhaps by no more than {small}, which counts as nothing,"
    for which, words in (
            (higher & sure, f"higher in {b} in"), (higher & ~sure, f"higher in {b}{slight} in"),
            (lower & sure, f"lower in {b} in"), (lower & ~sure, f"lower in {b}{slight} in"),
            (~same & ~higher & ~lower, "not to be told from equal in")):
        if which.any():
            parts.append(f"{words} {_places(told[which], about.form)}")
    if same.any():
        parts.append(f"the same within {small}, by the whole interval, in {listed(told.loc[same, 'place'])}")
    text = f"{title} is {'; '.join(parts)}." if parts else ""
    bare = known[known["low"].isna()]
    if len(bare):
        values = [f"{row['place']} {_said(row['first'], about.form)} and {_said(row['second'], about.form)}"
                  for row in bare.to_dict("records")]
        text = f"{text} {title}, {listed(values)}, has no interval: {_no_interval(measure, classes)}.".strip()
    if not whole.all():
        text += f" In {listed(rows.loc[~whole, 'place'])} it cannot be told."
    return text


def _no_interval(measure: str, classes: int) -> str:
    """Why a value has none."""
    if MEASURES[measure].over == NONE:
        return "it is a count of channels"
    if MEASURES[measure].over == CLASSES and classes < FEWEST:
        return f"that leaves out one class at a time, which takes {FEWEST} or more, not {classes}"
    if measure == "omega_squared":
        return "that leaves out one class at a time, and without one of them the pictures are too few"
    if MEASURES[measure].over == PICTURES:
        return "that leaves out runs of pictures, and there are too few"
    return "these archives do not hold what it takes"


def _places(rows: pd.DataFrame, form: str) -> str:
    return listed([
        f"{row['place']} ({_said(row['first'], form)} and {_said(row['second'], form)}: "
        f"{_said(row['difference'], form, True)}, {_ends(row['low'], row['high'], form)})"
        for row in rows.to_dict("records")])


def similarity_findings(names: tuple[str, str], along: pd.DataFrame, matrix: pd.DataFrame, what: str) -> list[str]:
    """How alike aligned blocks are, beside chance and beside the blocks that they are not aligned with.

    Args:
        names: of the networks.
        along, matrix: of ``similarity``.
        what: "classes", or of pictures "gate" or "squeeze".
    """
    told = along[along["cka"].notna()]
    things = number(int(along["things"].iloc[0]), "class", "classes") if what == "classes" else number(
        int(along["things"].iloc[0]), "picture")
    if told.empty:
        return [f"CKA of the {WORDS[what]} over {things} cannot be told: it does not vary."]
    low, high = told.iloc[int(told["cka"].argmin())], told.iloc[int(told["cka"].argmax())]
    text = f"CKA of the {WORDS[what]}, over {things}, is "
    if low["cka"] > 1 - 1e-6 or f"{low['cka']:z.2f}" == f"{high['cka']:z.2f}":
        text += (f"{'1' if low['cka'] > 1 - 1e-6 else format(low['cka'], 'z.2f')} in "
                 + (f"all {len(told)} pairs of aligned blocks." if len(told) > 1 else f"{_pair(low)}, aligned."))
    else:
        text += (f"{low['cka']:z.2f} ({_pair(low)}) to {high['cka']:z.2f} ({_pair(high)}) in aligned blocks, "
                 f"{told['cka'].median():z.2f} in the median.")
    above = told["low"] > told["shuffled_high"]
    dealt = told.iloc[int(told["shuffled_high"].argmax())]
    text += f" With shuffled pairs {int(dealt['draws'])} draws give at most {dealt['shuffled_high']:.2f}; "
    few = told[~above]
    if len(told) == 1:
        text += f"above them by its whole 95\u00a0% interval it is{' not' * len(few)}."
    else:
        text += (f"above its own draws by its whole 95\u00a0% interval it is in **{int(above.sum())}** of {len(told)} "
                 f"pairs")
        text += f", not in {listed([_pair(row) for _, row in few.iterrows()])}." if 0 < len(few) <= NAMED else "."
    found = [text]
    if len(matrix.columns) > 1 and len(told) == len(along):
        found.append(_nearest(names, along, matrix))
    return found


def _nearest(names: tuple[str, str], along: pd.DataFrame, matrix: pd.DataFrame) -> str:
    """For how many blocks the most alike one of the other network is an aligned one."""
    partners = along.groupby("first", sort=False)["second"].agg(set)
    best = matrix.loc[partners.index].idxmax(axis=1)
    hits = sum(best[label] in partners[label] for label in partners.index)
    chance = sum(len(of) for of in partners) / len(matrix.columns)
    if len(partners) == 1:
        return (f"Of all {len(matrix.columns)} blocks of **{plain(names[1])}** the one most alike "
                f"**{partners.index[0]}** is {'' if hits else 'not '}an aligned one; were it any one, it would be with "
                f"a chance of {chance:.0%}.")
    return (f"Of all {len(matrix.columns)} blocks of **{plain(names[1])}** the most alike one is an aligned one for "
            f"**{hits}** of {len(partners)} blocks of **{plain(names[0])}**; were it any one, it would be "
            f"for about {chance:.1f}.")


def beside_input(gate: pd.DataFrame, squeeze: pd.DataFrame) -> list[str]:
    """Whether the gates are less alike than what they are made of.

    Args:
        gate, squeeze: ``similarity.along`` of the same pairs.
    """
    both = gate["cka"].notna() & squeeze["cka"].notna()
    if not both.any():
        return []
    less, more = (gate["high"] < squeeze["low"])[both].sum(), (gate["low"] > squeeze["high"])[both].sum()
    if both.sum() == 1:
        values = [part["cka"][both].item() for part in (gate, squeeze)]
        return [f"CKA is {values[0]:z.2f} of the gate and {values[1]:z.2f} of its input z: " + (
            f"the gates are {'less' if less else 'more'} alike than their inputs, by intervals that do not meet."
            if less or more else "the intervals meet.")]
    return [f"By intervals that do not meet, the gates are less alike than their inputs z in **{less}** of "
            f"{int(both.sum())} pairs, and more alike in **{more}**; medians "
            f"{gate['cka'][both].median():z.2f} (gate) and {squeeze['cka'][both].median():z.2f} (z)."]


def channel_findings(names: tuple[str, str], table: pd.DataFrame, agreement: pd.DataFrame) -> list[str]:
    """How much channels changed, and whether they still do what they did.

    Args:
        names: of the networks.
        table: ``comparison.channel_changes``, the largest difference first.
        agreement: ``comparison.profile_agreement``.
    """
    if not table["difference"].any():
        found = [f"No channel's mean gate differs between **{plain(names[0])}** and **{plain(names[1])}**."]
    else:
        rows = agreement.set_index("label")["change"]
        low, high = str(rows.idxmin()), str(rows.idxmax())
        found = [f"A channel's mean gate changes by {rows[low]:.4f} (**{low}**)"
                 + (f" to {rows[high]:.4f} (**{high}**)" if len(rows) > 1 else "") + ", mean over a block's channels, "
                 "up or down. Most change " + listed([
                     f"channel {row.channel} of **{row.label}** ({row.first:.3f} to {row.second:.3f})"
                     for row in table[table["difference"] != 0].head(NAMED).itertuples()]) + "."]
    told = agreement[agreement["correlation"].notna()].set_index("label")
    if told.empty:
        return [*found, "Whether channels do the same for classes cannot be told: it takes three classes in common, "
                        "and gates that vary."]
    low, high = str(told["correlation"].idxmin()), str(told["correlation"].idxmax())
    above, draws = told["correlation"] > told["shuffled_high"], int(told["draws"].iloc[0])
    chance = len(told) / (draws + 1)  # where channels have only their number in common, any draw may be the highest
    found.append(
        f"The correlation of a channel's class means in the one with those in the other is, in the median, "
        f"{told['correlation'][low]:.2f} (**{low}**)"
        + (f" to {told['correlation'][high]:.2f} (**{high}**)" if len(told) > 1 else "") + ". With the channels of a "
        f"block dealt out anew ({draws} draws) it is {told['shuffled_low'].min():.2f} to "
        f"{told['shuffled_high'].max():.2f}; above the range of "
        + (f"its own block's draws it is in **{int(above.sum())}** of {len(told)} blocks, by chance in about "
           f"{chance:.1f}." if len(told) > 1 else
           f"these it is{'' if above.all() else ' not'}.")
        + (" In the others nothing says that channels of one number do the same." if 0 < above.sum() < len(told) else
           " Nothing here says that channels of one number do the same." if not above.any() else ""))
    return found


def _pair(row) -> str:
    return f"**{row['first']}**" if row["first"] == row["second"] else f"**{row['first']}** and **{row['second']}**"


def _ends(low: float, high: float, form: str) -> str:
    """Those of an interval, as ``_said`` writes a difference."""
    if form.endswith("%"):
        return f"{ends(100 * low, 100 * high, int(form[1]))} points"
    return ends(low, high, int(form[1]))


def _said(value: float, form: str, sign: bool = False, bare: bool = False) -> str:
    """A value; a difference of shares is one of points, with its sign or bare."""
    if form.endswith("%") and (sign or bare):
        return f"{100 * value:{'+' if sign else ''}z{form[:-1]}f} points"
    return f"{value:{form}}" if form.endswith("%") else f"{value:{'+' if sign else ''}z{'g' if bare else form}}"
