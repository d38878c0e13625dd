from types import SimpleNamespace

import numpy as np
import pytest

from senet_viz.reports import papers
from senet_viz.statistics import published

MEANS = np.array([[0.2, 0.4], [0.4, 0.4], [0.9, 0.1], [np.nan, np.nan]])


def statistics(classes=("goldfish", "plane", "pug, pug-dog", "cliff"), count=(3, 5, 4, 0), channels=2):
    def block(label):
        if label not in ("SE_5_3", "SE_2_1"):
            raise ValueError("there is no attention block")
        return SimpleNamespace(channels=channels)

    return SimpleNamespace(classes=list(classes), count=np.array(count), block=block, mean=lambda block: MEANS[:, None],
                           metadata={"model": "net", "data": "pictures val"})


def test_own_numbers_stand_beside_those_published():
    table = published.comparison(statistics(), "SE_5_3").set_index("quantity")
    assert list(table.columns) == ["published", "here"]
    assert {quantity: tuple(row) for quantity, row in table.iterrows()} == {
        "model": ("SE-ResNet-50", "net"),
        "data": ("ImageNet validation", "pictures val"),
        "images a class": ("50", "3–5"),
        "classes": ("1,000", "3"),
        "line “all”": ("mean over 1,000 classes", "mean over 3 classes"),
        "channels drawn": ("50 of 2,048, one in 41", "2 of 2"),
        "finding": (papers.FINDINGS["SE_5_3"], "–"),
        "mean level of “all”": ("about 0.16, read off by eye", "0.40"),
        "mean level of “goldfish”": ("about 0.20, read off by eye", "0.30"),
        "mean level of “pug”": ("about 0.05, read off by eye", "0.50"),
        "spread between class means": ("–", f"{(np.std([.2, .4, .9]) + np.std([.4, .4, .1])) / 2:.3f}"),
    }


def test_of_other_blocks_nothing_is_published():
    table = published.comparison(statistics(count=(5, 5, 5, 0), channels=64), "SE_2_1").set_index("quantity")
    assert set(table["published"]) == {"–"} and table.loc["mean level of “all”", "here"] == "0.40"
    assert table.loc["images a class", "here"] == "5"
    assert table.loc["channels drawn", "here"] == "32 of 64, one in 2"
    with pytest.raises(ValueError, match="no attention block"):
        published.comparison(statistics(), "SE_9_9")


def test_without_labels_there_is_nothing_here():
    table = published.comparison(statistics(count=(0, 0, 0, 0)), "SE_5_3").set_index("quantity")["here"]
    assert table["classes"] == "0"
    assert set(table.drop(["model", "data", "classes", "channels drawn"])) == {"–"}


def test_shown_classes():
    imagenet = [f"class {i}" for i in range(1000)]
    imagenet[1], imagenet[254], imagenet[726], imagenet[972] = "goldfish", "pug, pug-dog", "plane", "Cliff, drop"
    assert published.shown_classes(statistics(imagenet)) == papers.CLASSES
    imagenet[726] = "plane, carpenter's plane"
    assert published.shown_classes(statistics(imagenet)) == papers.CLASSES
    assert published.shown_classes(statistics()) == {"goldfish": 0, "pug": 2, "cliff": 3}  # that plane flies
    assert published.shown_classes(statistics(["carpenter's plane", "cliff dwelling"])) == {"plane": 0}
    shifted = ["background", *imagenet[:-1]]  # a thousand classes in another order
    assert published.shown_classes(statistics(shifted)) == {name: i + 1 for name, i in papers.CLASSES.items()}


def test_panels_are_told_whole():
    assert set(papers.PANELS) == set(papers.FINDINGS) == set(papers.CHANNELS)
    assert set(papers.LEVELS) <= set(papers.PANELS) and set(papers.LEVELS["SE_5_3"]) == {*papers.CLASSES, "all"}


def test_several_panels_stand_in_one_table():
    stats = statistics()
    stats.block = lambda label: SimpleNamespace(channels=2)
    table = published.comparisons(stats, ["SE_5_3", "SE_5_1"])
    common = table[table["block"] == "all of these"]
    assert list(common["quantity"]) == list(papers.PROTOCOL)  # each once
    for label in ("SE_5_3", "SE_5_1"):
        own = table[table["block"] == label]
        alone = published.comparison(stats, label)
        assert [tuple(row) for row in own[["quantity", "published", "here"]].to_numpy()] == [
            tuple(row) for row in alone[~alone["quantity"].isin(papers.PROTOCOL)].to_numpy()]
    assert set(published.comparisons(stats, ["SE_5_3"])["block"]) == {"SE_5_3"}  # of one nothing is common


def test_classes_to_begin_with():
    assert published.first_classes(statistics()) == [0, 2, 1]  # the paper's that have pictures, then others
    many = statistics(classes=[f"{i}" for i in range(11)], count=[0, *[1] * 10])
    assert published.first_classes(many) == [1, 4, 7, 10] and published.first_classes(many, 2) == [1, 10]
    assert published.first_classes(statistics(count=(0, 0, 0, 0))) == []
