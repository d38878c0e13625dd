"""Sections of a comparison: scripts give tables, and sentences hold for their numbers."""
import copy
import re

import numpy as np
import pandas as pd
import pytest

from senet_viz.statistics import similarity
from senet_viz.statistics.comparison import MEASURES
from senet_viz.statistics.comparison_findings import (
    beside_input,
    channel_findings,
    curve_findings,
    data_findings,
    difference_findings,
    similarity_findings,
)
from senet_viz.statistics.comparison_sections import HEADS, ComparisonSections, run_names
from tests.comparing import near_model
from tests.runs import make_model, picture


@pytest.fixture(scope="module", autouse=True)
def few_pictures():
    patch = pytest.MonkeyPatch()
    patch.setattr(similarity, "FEWEST_PICTURES", 10)
    yield
    patch.undo()


def sections_of(*stats) -> ComparisonSections:
    return ComparisonSections(dict(zip(run_names(stats), stats)))


def result_of(script: str) -> pd.DataFrame:
    names: dict = {}
    exec(compile(script, "script", "exec"), names)
    return names["result"]


def test_names_are_all_different(many, near, drawn):
    assert run_names([many, near]) == ["se", "near"]
    assert run_names([many, many, near]) == ["se (many)", "se (many) [2]", "near (near)"]
    assert run_names([many, many]) == ["se", "se [2]"]


def test_scripts_give_the_tables(many, near, capsys):
    sections = sections_of(many, near)
    pair = sections.beside()
    built = [sections.curves(), pair.differences(), *pair.classes(), pair.pictures(), pair.channels()]
    for section in built:
        pd.testing.assert_frame_equal(result_of(section.script), section.table, obj=section.title)
        assert capsys.readouterr().out and "nan" not in section.text and "{" not in section.text
        if section.figure is not None:
            assert section.figure.layout.meta["alt"] and "nan" not in section.figure.layout.meta["alt"]
    assert all(head.title and head.lead and head.more for head in HEADS.values())


def test_a_network_with_itself_is_the_same(many):
    pair = sections_of(many, many).beside()
    said = pair.differences().found
    assert said[0].endswith("are one network: they have the same weights.")
    assert sum("is the same in both" in sentence for sentence in said) >= 4
    assert not any(word in sentence for sentence in said for word in ("higher", "lower", "Intervals are"))
    along = pair.classes()[0]
    assert (along.table["cka"].dropna() > 1 - 1e-9).all()
    assert re.search(r"over 8 classes, is 1 in all \d+ pairs of aligned blocks", along.found[0])
    assert pair.channels().found[0].startswith("No channel's mean gate differs")


def test_classes_of_few_pictures_are_said_to_look_less_alike(many):
    thin = copy.copy(many)
    thin.count = np.where(np.arange(len(many.count)) < 2, many.count, 3)
    assert (many.count >= 5).all()
    said = data_findings(("one", "two"), many, thin)
    assert [sentence for sentence in said if "fewer than" in sentence] == [
        f"{len(many.count) - 2} of the {len(many.count)} classes of **two** have fewer than 5 pictures. Means of so "
        "few scatter, which makes two networks look less alike by them, also where they are one."]
    assert not [sentence for sentence in data_findings(("one", "two"), many, many) if "fewer than" in sentence]


def test_differences_in_words(many, drawn):
    pair = sections_of(many, drawn).beside()
    table = pair.difference_table.query("level == 'stage'")
    said = pair.differences().found
    for measure, about in MEASURES.items():
        rows = table[table["measure"] == measure]
        sentence = next(each for each in said if each.lower().startswith(f"**{about.title}**".lower()))
        for row in rows.dropna(subset=["low"]).itertuples():
            if row.difference == 0 and not rows["difference"].any():
                continue
            before = sentence[:sentence.index(row.place)]
            slight = row.low <= about.small and row.high >= -about.small
            heads = {"higher in": before.rfind("higher in"), "lower in": before.rfind("lower in"),
                     "not to be told": before.rfind("not to be told"), "the same": before.rfind("the same within")}
            claimed = max(heads, key=heads.get)
            same = row.low >= -about.small and row.high <= about.small
            assert claimed == ("the same" if same else "higher in" if row.low > 0 else "lower in" if row.high < 0
                               else "not to be told"), (row, sentence)
            if claimed in ("higher in", "lower in"):
                assert ("perhaps by no more than" in before[heads[claimed]:]) == slight
    assert "same 40 pictures" in said[0]


def test_a_made_table_in_words():
    def row(place, first, second, low, high, measure="omega_squared", over="other classes"):
        return {"level": "stage", "place": place, "stage": int(place[-1]), "first_block": "", "second_block": "",
                "measure": measure, "first": first, "second": second, "difference": second - first, "low": low,
                "high": high, "over": over, "paired": True}
    rows = [row("stage 2", 0.1, 0.3, 0.15, 0.25), row("stage 3", 0.3, 0.2, -0.2, 0.001),
            row("stage 4", 0.3, 0.303, 0.001, 0.005), row("stage 5", 0.5, 0.2, -0.4, -0.2),
            row("stage 6", 0.3, 0.27, -0.05, -0.0012), row("stage 7", 0.3, 0.33, 0.01, 0.05)]
    rows += [row("stage 2", 0.1, 0.2, float("nan"), float("nan"), "fixed", "")]
    table = pd.DataFrame(rows)
    table = pd.concat([table, *(
        pd.DataFrame([row("stage 2", 1.0, 1.0, 0, 0, name)]) for name in MEASURES
        if name not in ("omega_squared", "fixed"))])
    said = difference_findings(("a*", "b"), table, 12)
    assert said[0] == (
        "**Class-specificity ω²** is higher in **b** in stage 2 (0.10 and 0.30: +0.20, +0.15 to +0.25); higher in "
        "**b**, perhaps by no more than 0.01, which counts as nothing, in stage 7 (0.30 and 0.33: +0.03, +0.01 to "
        "+0.05); lower in **b** in stage 5 (0.50 and 0.20: -0.30, -0.40 to -0.20); lower in **b**, perhaps by no more "
        "than 0.01, which counts as nothing, in stage 6 (0.30 and 0.27: -0.03, -0.05 to -0.001); not to be told from "
        "equal in stage 3 (0.30 and 0.20: -0.10, -0.20 to +0.001); the same within 0.01, by the whole interval, in "
        "stage 4.")
    assert said[-2] == ("**Share of dead, open or constant channels**, stage 2 10.0% and 20.0%, has no interval: it is "
                        "a count of channels.")
    assert said[-1] == (
        "Intervals are those of 95\u00a0% of **b** less **a\\***, for other classes of the same kind (one of 12 "
        "classes left out at a time, the same from both). If nothing differed, fewer than one of these 6 would "
        "still leave 0 out.")
    one = table[table["place"] == "stage 2"]
    assert difference_findings(("a*", "b"), one, 12)[-1].endswith("left out at a time, the same from both).")
    many = pd.concat([one, pd.DataFrame([row(f"stage {stage}", 0.1, 0.2, -0.1, 0.3) for stage in range(3, 42)])])
    assert " about 2 of these 40 would" in difference_findings(("a", "b"), many, 12)[-1]  # a twentieth


def test_likeness_in_words(many, drawn):
    pair = sections_of(many, drawn).beside()
    along, matrix = pair.class_similarity
    sentence, nearest = pair.classes()[0].found
    told = along.dropna(subset=["cka"])
    above = (told["low"] > told["shuffled_high"]).sum()
    assert f"**{above}** of {len(told)} pairs" in sentence
    assert f"{told['cka'].min():z.2f}" in sentence and f"{told['cka'].max():z.2f}" in sentence
    hits = sum(matrix.loc[label].idxmax() == label for label in matrix.index)
    assert f"**{hits}** of {len(matrix)} blocks" in nearest


def test_one_block_is_not_counted():
    """ "In 1 of 1 pair", "none of 1 gate" and "0 of 1 block" say nothing that "it is" does not."""
    def curve(*dimensions):
        return curve_findings(pd.DataFrame({
            "run": "a*", "label": [f"SE_{i}_1" for i in range(2, 2 + len(dimensions))], "omega_squared": 0.5,
            "dimension": dimensions}))[0]
    nan = float("nan")
    assert curve(3.0) == (r"**a\***: the median channel's ω² is 0.50 (**SE_2_1**), the directions are 3.00 "
                          "(**SE_2_1**), the gate of **SE_2_1** does not move along one direction.")
    assert curve(1.1).endswith(", the gate of **SE_2_1** moves along one direction.")
    assert curve(1.1, 1.1, nan).endswith(", 2 of 2 gates move along one direction, of 1 more it cannot be told.")

    def likeness(low, high):
        return pd.DataFrame({"first": ["SE_2_1"], "second": "SE_2_1", "cka": 0.5, "low": low, "high": high,
                             "shuffled": 0.0, "shuffled_low": -0.1, "shuffled_high": 0.1, "draws": 50, "things": 9})
    matrix = pd.DataFrame([[0.5, 0.2]], ["SE_2_1"], ["SE_2_1", "SE_3_1"])
    said = similarity_findings(("one", "two"), likeness(0.3, 0.7), matrix, "classes")
    assert said == ["CKA of the class means of the gate, over 9 classes, is 0.50 in **SE_2_1**, aligned. With shuffled "
                    "pairs 50 draws give at most 0.10; above them by its whole 95\u00a0% interval it is.",
                    "Of all 2 blocks of **two** the one most alike **SE_2_1** is an aligned one; were it any one, it "
                    "would be with a chance of 50%."]
    said = similarity_findings(("one", "two"), likeness(0.0, 1.0), matrix - [0.4, 0], "classes")
    assert said[0].endswith("interval it is not.") and "**SE_2_1** is not an aligned one;" in said[1]
    assert beside_input(likeness(0.3, 0.7), likeness(0.8, 0.9).assign(cka=0.85)) == [
        "CKA is 0.50 of the gate and 0.85 of its input z: the gates are less alike than their inputs, by intervals "
        "that do not meet."]
    assert beside_input(likeness(0.3, 0.7), likeness(0.1, 0.2))[0].endswith(
        "z: the gates are more alike than their inputs, by intervals that do not meet.")
    assert beside_input(likeness(0.3, 0.7), likeness(0.6, 0.9))[0].endswith("z: the intervals meet.")

    channels = pd.DataFrame({"label": "SE_2_1", "channel": [0, 1], "first": [0.1, 0.2], "second": [0.3, 0.2],
                             "difference": [0.2, 0.0]})
    agreement = pd.DataFrame({"label": ["SE_2_1"], "change": 0.1, "correlation": 0.9, "shuffled_low": -0.2,
                              "shuffled_high": 0.2, "draws": 50})
    said = channel_findings(("one", "two"), channels, agreement)
    assert said[0].endswith("Most change channel 0 of **SE_2_1** (0.100 to 0.300).")  # what did not change is none
    assert said[1].endswith("it is -0.20 to 0.20; above the range of these it is.")
    assert channel_findings(("one", "two"), channels, agreement.assign(correlation=0.1))[1].endswith(
        "it is -0.20 to 0.20; above the range of these it is not. Nothing here says that channels of one number do "
        "the same.")


def test_channels_of_one_number_are_found_alike_by_chance_at_times():
    """Of noise the own order is the highest of 21 in one of 21 blocks."""
    generator, draws = np.random.default_rng(0), 20
    correlations = generator.normal(size=(4200, draws + 1))
    above = (correlations[:, 0] > correlations[:, 1:].max(1)).mean()
    agreement = pd.DataFrame({"label": [f"SE_4_{i}" for i in range(63)], "change": 0.1, "correlation": 0.0,
                              "shuffled_low": -0.2, "shuffled_high": 0.2, "draws": draws})
    agreement.loc[:3, "correlation"] = 0.5
    channels = pd.DataFrame({"label": "SE_4_0", "channel": [0], "first": 0.1, "second": 0.3, "difference": 0.2})
    said = channel_findings(("one", "two"), channels, agreement)[1]
    chance = float(said.partition("it is in **4** of 63 blocks, by chance in about ")[2].split(". ")[0])
    assert chance == pytest.approx(63 * above, rel=0.2)


def test_aligned_blocks_are_found_by_chance_at_times():
    along = pd.DataFrame({"first": ["a", "a", "b"], "second": ["x", "y", "z"], "cka": [0.5, 0.2, 0.9],
                          "low": [0.3, -0.1, 0.8], "high": [0.7, 0.5, 1.0], "shuffled": 0.0, "shuffled_low": -0.1,
                          "shuffled_high": 0.1, "draws": 50, "things": 9})
    matrix = pd.DataFrame([[0.5, 0.2, 0.6], [0.1, 0.2, 0.9]], ["a", "b"], ["x", "y", "z"])
    said = similarity_findings(("one", "two"), along, matrix, "classes")
    assert said[0] == ("CKA of the class means of the gate, over 9 classes, is 0.20 (**a** and **y**) to 0.90 (**b** "
                       "and **z**) in aligned blocks, 0.50 in the median. With shuffled pairs 50 draws give at most "
                       "0.10; above its own draws by its whole 95\u00a0% interval it is in **2** of 3 pairs, not in "
                       "**a** and **y**.")
    assert said[1].startswith("Of all 3 blocks of **two** the most alike one is an aligned one for **1** of 2 blocks "
                              "of **one**") and said[1].endswith("about 1.0.")


def test_other_data_and_other_sorts_of_gates_are_said(many, other_classes):
    pair = sections_of(many, other_classes).beside()
    said = pair.differences().found
    assert "They are of different pictures" in said[0] and "6 classes are common by name" in said[0]
    assert "not of one sort" in said[1] and "(SE)" in said[1] and "(SK)" in said[1]
    assert "from each network by itself" in said[-1]
    with pytest.raises(ValueError, match=r"not of the same pictures"):
        pair.pictures()
    with pytest.raises(ValueError, match=r"have not the same blocks"):
        pair.channels()


def test_what_cannot_be_compared_is_refused(many, full):
    with pytest.raises(ValueError, match=r"^it takes two runs or more"):
        ComparisonSections({"a": many})
    with pytest.raises(ValueError, match=r"^b was not looked at with zoom 3, but with 1, 1\.5$"):
        ComparisonSections({"b": full, "a": many}, zoom=3.0)
    with pytest.raises(ValueError, match=r"^the two have no classes in common"):
        sections_of(many, full).beside().classes()


@pytest.mark.parametrize("counts", [(4,), (4, 3), (2, 1, 1)], ids=["one class", "two", "two of one picture"])
def test_too_few_classes_or_pictures_are_the_reason_for_no_interval(run, tmp_path, counts):
    """Not something that archives lack."""
    for label, count in enumerate(counts):
        (tmp_path / "data" / f"kind {label}").mkdir(parents=True)
        for i in range(count):
            (tmp_path / "data" / f"kind {label}" / f"{i}.png").write_bytes(picture(10 * label + i, 7 * label))
    stats = [run(tmp_path / name, model, tmp_path / "data") for name, model in (
        ("one", make_model("se")), ("two", near_model()))]
    said = sections_of(*stats).beside().differences().found
    assert not any("archives" in sentence for sentence in said)
    for name in ("Class-specificity ω²", "Spread over pictures", "Mean gate", "Saturation"):
        sentence = next(sentence for sentence in said if sentence.startswith(f"**{name}**"))
        if name.startswith("Class") and len(counts) == 1:
            assert sentence.endswith(" cannot be told.")
        elif len(counts) < 3 and "the same in both" not in sentence:
            assert sentence.endswith(f"that leaves out one class at a time, which takes 3 or more, not {len(counts)}.")
        elif name.startswith("Class"):
            assert sentence.endswith("has no interval: that leaves out one class at a time, and without one of them "
                                     "the pictures are too few.")
        else:
            assert "no interval" not in sentence


def test_pictures_without_labels(run, tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(12):
        (tmp_path / "data" / f"{i:02}.png").write_bytes(picture(i, 7 * i))
    stats = [run(tmp_path / name, model, tmp_path / "data") for name, model in (
        ("one", make_model("se")), ("two", near_model()))]
    sections = sections_of(*stats)
    pair = sections.beside()
    assert all("the median channel's ω² is not known" in sentence for sentence in sections.curves().found)
    said = pair.differences().found
    assert "**Class-specificity ω²** cannot be told." in said
    assert any("**Mean gate**, stage" in sentence and "has no interval" in sentence for sentence in said)
    with pytest.raises(ValueError, match=r"^the two have no classes in common"):
        pair.classes()
    assert "over 12 pictures" in pair.pictures().found[0]
    assert pair.channels().found[-1].startswith("Whether channels do the same for classes cannot be told")
    assert not any("nan" in sentence for sentence in [*said, *pair.pictures().found, *pair.channels().found])
