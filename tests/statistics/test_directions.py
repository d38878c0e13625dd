"""Sentences about directions, on statistics whose numbers are set by hand."""
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from senet_viz import figures
from senet_viz.statistics import directions, summaries


class Told:
    """Statistics of blocks with these measures."""

    sampled = 200
    draws = 1
    zooms = (1.0,)
    classes = ("cat", "dog")
    sources = ("gate", "shuffled", "squeeze", "random")
    count = pd.Series([2] * 100)
    between = 300.0  # of each channel, beside 100 within: ω² = .5

    def __init__(self, blocks, measures):
        self.blocks, self._measures = blocks, measures

    def overall_std(self, block, zoom=1.0):
        return np.ones((block.branches, block.channels))

    def overall_min(self, block, zoom=1.0):
        return np.zeros((block.branches, block.channels))

    def variance(self, block, zoom=1.0):
        return np.full((block.branches, block.channels), self.between), np.full((block.branches, block.channels), 100.0)

    def histogram(self, block, zoom=1.0):
        return np.ones((block.branches, block.channels, 100))

    def tells(self, name):
        return name == "farthest"

    def farthest(self, block, source="gate", branch=-1, zoom=1.0):
        return [7, 3, 9, 1] if getattr(block, "label", block) == self.blocks[0].label else [7, 5, 9, 1]

    def images(self, columns):
        return pd.DataFrame({"index": range(10), "file": [f"{i}_.png" for i in range(10)],
                             "label": [0, 1] * 4 + [0, -1]})

    def measures(self, block, source="gate", branch=-1, zoom=1.0, draw=0):
        label = getattr(block, "label", block)
        numbers = {"dimension": 4.0, "error": 0.1, "first": 0.4, "redundancy": 0.2, "tail": 0.05, "classes": 60.0,
                   "trimmed": 4.2, "decoded": 0.3}
        return numbers | self._measures.get((label, source), {})


@pytest.fixture
def told(full):
    def make(**measures):
        return Told(full.blocks, {tuple(key.rsplit("_", 1)): values for key, values in measures.items()})
    return make


def sentences(stats, units=None) -> list[str]:
    return directions.dimension_findings(stats, summaries.dimension(stats), units)


def labels(stats) -> list[str]:
    return [block.label for block in stats.blocks]


def test_ranges_of_blocks_in_words(full):
    order = labels(full)
    assert directions.named(full, order[1:2]) == f"**{order[1]}**"
    assert directions.named(full, [order[3], order[0]]) == f"**{order[0]}** and **{order[3]}**"
    assert directions.named(full, order[1:4]) == f"**{order[1]}** to **{order[3]}**"
    assert directions.named(full, [*order[:3], order[4], order[6]]) == (
        f"**{order[0]}** to **{order[2]}**, **{order[4]}** and **{order[6]}**")


def test_blocks_that_move_along_one_direction_are_named_everywhere(told):
    first, second, third, *_ = labels(told())
    stats = told(**{f"{second}_gate": {"dimension": 1.04}, f"{third}_gate": {"dimension": 1.19},
                    f"{first}_gate": {"dimension": 1.21}})
    assert directions.along_one(stats) == [second, third]
    start = f"The gate of **{second}** and **{third}** moves along one direction (dimension at most 1.19)"
    assert sentences(stats)[0].startswith(start)
    assert directions.repeated([second, third], [first, third], stats) == (
        f"All channels of **{third}** move along one direction: there one channel shows nearly what all others show.")
    assert directions.repeated([second], [first], stats) == ""


def test_the_mark_beside_a_block(told):
    first, second, third, *_ = labels(told())
    stats = told(**{f"{first}_gate": {"dimension": 1.04}, f"{third}_gate": {"dimension": math.nan}})
    stats.zooms, stats.metadata = (1.0,), {"data": "a_set"}
    stats.block = {block.label: block for block in stats.blocks}.__getitem__
    channels = stats.block(first).channels
    assert directions.mark(stats, first) == (
        f"Over 200 pictures of a\\_set the weight of 5×5 of **{first}** moves along **one** direction: its {channels} "
        f"channels are nearly one number for each picture.")
    assert f"**{second}** moves in **4.0** directions" in directions.mark(stats, second)
    assert directions.mark(stats, third) == "" == directions.mark(None, first)
    stats.block = {block.label: replace(block, branches=1, kernels=None) for block in stats.blocks}.__getitem__
    assert f"the gate of **{second}** moves in **4.0** directions" in directions.mark(stats, second)


def test_nothing_is_said_of_one_direction_where_none_is(told):
    found = sentences(told())
    assert "one direction" not in " ".join(found)
    assert found[0].startswith("In all blocks the dimension is 4.0 (")
    assert "fewer directions in 0 of" in found[1] and "and more in 0 (" in found[1]


def test_beside_the_controls_only_what_is_beyond_two_errors_counts(told):
    first, second, *rest = labels(told())
    count = len(rest) + 2
    stats = told(**{f"{first}_squeeze": {"dimension": 4.27}, f"{second}_squeeze": {"dimension": 4.29},
                    f"{rest[0]}_random": {"dimension": 2.0}})
    found = sentences(stats)
    assert f"its squeezed input z the gate has fewer directions in 1 of {count} blocks and more in 0" in found[1]
    assert f"drawn once, the gate has fewer directions in 0 of {count} blocks and more in 1" in found[2]


def test_what_a_few_pictures_turn_round_is_said(told):
    first, second, *rest = labels(told())
    stats = told(**{f"{first}_squeeze": {"dimension": 2.0, "trimmed": 9.0, "tail": 0.6},
                    f"{second}_squeeze": {"dimension": 2.0, "trimmed": 3.0}})
    found = sentences(stats)[1]
    assert f"fewer directions in 0 of {len(rest) + 2} blocks and more in 2" in found
    assert found.endswith(" In 1 of these 2 a few pictures decide: without the 1% of the pictures farthest out it has "
                          "fewer in 1 and more in 1 (medians 4.2 and 6.0).")
    light = told(**{f"{first}_squeeze": {"dimension": 2.0, "trimmed": 9.0}})
    assert "a few pictures decide" not in " ".join(sentences(light))


def test_heavy_tails_few_classes_hidden_units_and_what_cannot_be_told(told):
    first, second, third, fourth, *_ = labels(told())
    stats = told(**{f"{first}_gate": {"tail": 0.31}, f"{second}_squeeze": {"tail": 0.9},
                    f"{third}_gate": {"classes": 1.5}, f"{fourth}_gate": {"dimension": math.nan, "error": math.nan}})
    units = pd.DataFrame({"label": [first, second], "units": [8, 16], "alive": [7, 4], "effective": [3.0, 2.0]})
    text = " ".join(sentences(stats, units))
    assert f"A few pictures move the gate of **{first}** most: 1% of them hold 31% of its variance." in text
    assert f"A few pictures move the squeezed input z of **{second}** most" in text
    assert f"gate of **{third}** tells" in text and "as over 1.5 of 100 classes. " in text
    assert "Of the 24 hidden units of the excitation 11 live" in text and f"in **{second}**, 4 of 16" in text
    assert f"In **{fourth}** it cannot be told" in text
    count = len(stats.blocks)
    assert text.startswith(f"In {count - 1} of {count} blocks the dimension is 4.0 (")  # not in all
    alike = " ".join(sentences(stats, units.assign(alive=units["units"])))
    assert "24 live" in alike and "smallest share" not in alike


def test_of_a_picture_a_class_nothing_is_said_of_classes(told):
    """Their spread is then that of the pictures, of noise too."""
    stats = told(**{f"{labels(told())[2]}_gate": {"classes": 1.5}})
    assert "classes" in " ".join(sentences(stats))
    stats.count = np.ones(100, int)
    assert "classes" not in " ".join(sentences(stats))
    stats.count[7], stats.between = 2, 1e12
    assert "classes" in " ".join(sentences(stats))


def test_of_a_gate_that_tells_nothing_of_classes_it_is_not_said_of_how_many(told):
    """Means of small classes lie far from that of all, of noise too: two of three pictures make all of it."""
    generator, counts, few = np.random.default_rng(0), np.array([500, 3, 3]), 0
    for _ in range(100):
        apart = counts * (generator.normal(size=3) / np.sqrt(counts)) ** 2
        few += apart.sum() ** 2 / (apart ** 2).sum() < 1.5
    assert few > 30
    stats = told(**{f"{labels(told())[2]}_gate": {"classes": 1.2}})
    stats.count = pd.Series(counts)
    assert "of 3 classes" in " ".join(sentences(stats))
    stats.between = 100 * 2 / 503  # as large as unrelated labels give on average: ω² = 0
    assert "of 3 classes" not in " ".join(sentences(stats))


def test_outliers_are_named_and_the_number_without_them_is_given(told):
    first, second, *_ = labels(told())
    heavy = {"tail": 0.5, "trimmed": 9.25}
    text = " ".join(sentences(told(**{f"{first}_gate": heavy, f"{second}_gate": {**heavy, "trimmed": 5.0}})))
    assert f"Without these 1% it is 9.2 in **{first}**, with them 4.0." in text
    # 1 % of 200 pictures are two, the farthest of each block
    assert (r"Among the farthest: 7\_\.png (dog) in 2 of 2 blocks; 3\_\.png (dog) in 1 of 2 blocks; "
            r"5\_\.png (dog) in 1 of 2 blocks.") in text
    same = {**heavy, "trimmed": 4.04}
    assert "Without these 1% it is the same here." in " ".join(sentences(told(**{f"{first}_gate": same})))
    assert f"(50% in **{first}**)" in text
    one = " ".join(sentences(told(**{f"{second}_squeeze": {**heavy, "dimension": math.nan}})))
    assert r"Without these 1% it is 9.2. Among the farthest: 7\_\.png (dog); 5\_\.png (dog)." in one


def test_outliers_in_a_table(told):
    """By hand: 1 % of 200 pictures are the two farthest of each block; three are named, those of most blocks first."""
    first, second, third, *_ = labels(told())
    stats = told(**{f"{first}_gate": {"tail": 0.5}, f"{second}_gate": {"tail": 0.31}, f"{third}_gate": {"tail": 0.3},
                    f"{second}_squeeze": {"tail": 0.9}})
    stats.count = pd.Series([2, 2])
    table = directions.outliers(stats, summaries.dimension(stats))
    assert list(table.columns) == ["source", "index", "file", "class", "blocks", "of"]
    assert table.to_numpy().tolist() == [
        ["gate", 7, "7_.png", "dog", 2, 2], ["gate", 3, "3_.png", "dog", 1, 2], ["gate", 5, "5_.png", "dog", 1, 2],
        ["squeeze", 7, "7_.png", "dog", 1, 1], ["squeeze", 5, "5_.png", "dog", 1, 1]]
    assert directions.outliers(told(), summaries.dimension(told())).empty  # no block's variance is made by few
    stats.tells = lambda name: False
    assert directions.outliers(stats, summaries.dimension(stats)).empty
    assert "Among the farthest" not in " ".join(sentences(stats))


def test_random_weights_drawn_several_times(told):
    stats = told()
    another = "Another draw of the weights may give other numbers."
    assert "drawn once," in " ".join(sentences(stats)) and another in " ".join(sentences(stats))
    values = iter([2.0, 3.0, 7.0] * len(stats.blocks))
    stats.draws, plain = 3, stats.measures
    stats.measures = lambda block, source="gate", branch=-1, zoom=1.0, draw=0: plain(block, source, branch, zoom) | (
        {"dimension": next(values), "error": 0.3} if source == "random" else {})
    row = summaries.dimension(stats).query("source == 'random'").iloc[0]
    assert row["dimension"] == pytest.approx(4) and row["error"] == pytest.approx(math.sqrt(0.09 + 7))
    values = iter([2.0, 3.0, 7.0] * len(stats.blocks))
    assert "drawn 3 times," in " ".join(sentences(stats))


def test_nothing_can_be_told(told):
    stats = told(**{f"{label}_gate": {"dimension": math.nan} for label in labels(told())})
    found = sentences(stats)
    assert len(found) == 1 and found[0].startswith("In how many directions the gates move cannot be told from 200")
    stats.overall_std = lambda block, zoom: np.zeros((1, 4))
    assert sentences(stats) == ["The gates are the same for every picture: they move in no direction."]


def test_one_block_is_not_counted(told):
    """ "In 1 of 1 blocks …, the most in the one" says nothing."""
    first = labels(told())[0]
    stats = told(**{f"{first}_gate": {"dimension": 1.004, "tail": 0.4, "trimmed": 1.3, "classes": 2.0},
                    f"{first}_random": {"dimension": 1.1}, f"{first}_squeeze": {"dimension": 8.0}})
    stats.blocks = stats.blocks[:1]
    units = pd.DataFrame({"label": [first], "units": [4], "alive": [0], "effective": [3.0]})
    found = sentences(stats, units)
    text = " ".join(found)
    channels = stats.blocks[0].channels
    assert found[0] == (f"The gate of **{first}** moves along one direction (dimension 1.00): there {channels} "
                        f"channels are one number for each picture.")
    assert found[1] == ("Beside its squeezed input z the gate has fewer directions (1.0 and 8.0, over two standard "
                        "errors apart).")
    assert found[2] == ("Beside the same network with random weights, drawn once, the gate has as many directions (1.0 "
                        "and 1.1, no more than two standard errors apart). Another draw of the weights may give other "
                        "numbers.")
    assert "1% of them hold 40% of its variance. In other pictures" in text
    assert "Without these 1% it is 1.3, with them 1.0." in text
    assert "is spread as over 2.0 of 100 classes." in text
    assert found[-1] == ("Of the 4 hidden units of the excitation 0 live (above zero in 1 to 99 % of the pictures; "
                         "others are silent, or linear in z).")
    assert "of 1 block" not in text


def test_the_figure_has_a_line_a_source_with_its_errors(told):
    first, *_ = labels(told())
    table = summaries.dimension(told(**{f"{first}_squeeze": {"dimension": math.nan, "error": math.nan}}))
    figure = figures.dimension(table, quantity="gate")
    lines = {trace.name: trace for trace in figure.data}
    assert set(lines) == {"gate", "squeezed input z", "control: random weights"}
    assert list(lines["gate"].y) == [4.0] * len(labels(told())) and set(lines["gate"].error_y.array) == {0.1}
    assert first not in lines["squeezed input z"].x
    assert figure.layout.xaxis.categoryarray[0] == first
    assert "gate 4.0 in all" in figure.layout.meta["alt"]
