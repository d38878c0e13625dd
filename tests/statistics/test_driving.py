"""The table and the sentences of what drives the gates."""
import numpy as np
import pandas as pd
import pytest

from senet_viz.statistics.drivers import DRIVERS
from senet_viz.statistics.driving import driving, driving_findings


def test_the_table_is_that_of_the_archive(full):
    table = driving(full, zoom=1.5)
    for block in full.blocks:
        rows = table[table["block"] == block.name].set_index("driver")
        for name, share in full.drivers(block, zoom=1.5).items():
            assert rows.loc[name, "share"] == pytest.approx(share, nan_ok=True)
        assert set(rows["channels"]) == {block.channels}
    assert list(table["driver"].unique()) == list(DRIVERS)


def test_without_a_sample_it_says_so(run, tmp_path):
    stats = run(tmp_path / "out", options={"sample": 0})
    with pytest.raises(ValueError, match="without a sample of whole gates"):
        driving(stats)


def made(full, **shares: list[float]) -> pd.DataFrame:
    """A table of the archive's first blocks with these shares."""
    count = len(next(iter(shares.values())))
    rows = [{"block": block.name, "label": block.label, "stage": block.stage, "index": block.index, "driver": driver,
             "share": shares[driver][i] if driver in shares else np.nan, "channels": 64, "neighbours": 3}
            for i, block in enumerate(full.blocks[:count]) for driver in DRIVERS]
    return pd.DataFrame(rows)


def test_sentences_say_what_the_numbers_are(full):
    first, second, third = (f"**{block.label}**" for block in full.blocks[:3])
    table = made(full, all=[0.95, 0.5, 0.6], own=[0.02, 0.3, 0.1], neighbours=[0.1, 0.48, 0.25],
                 dealt=[-0.01, 0.004, 0.0], picture=[0.4, 0.2, 0.1], brightness=[0.3, 0.05, 0.0],
                 contrast=[0.1, 0.1, 0.0], **{"class": [0.2, 0.21, 0.22]})
    made_of, picture, by_class, chance, caution = driving_findings(full, table)
    assert "predicts 50% to 95% (median 60%) of the gate's variance" in made_of
    assert "own z alone predicts 2% to 30% (median 10%), and that of the 3 channels around it" in made_of
    assert f"Nearly linear in z (over 90%) is the gate before its activation of {first}." in made_of
    assert f"In 2 of 3 blocks ({first} and {third}) the channels around predict less than half" in made_of
    assert f"In {second} the channels around predict nearly as much as all of z" in made_of
    assert picture == ("Brightness and contrast together predict 10% to 40% (median 20%) of that variance, the most "
                       f"in {first}. Alone brightness says the most: 30% in {first}.")
    assert by_class == "The class of a picture predicts 20% to 22% (median 21%) of that variance."
    assert chance == "The z of other pictures, which is chance, predicts under 1%."
    assert caution.startswith("To predict is not to cause") and "1% of the pictures" in caution


def test_one_block_and_blocks_that_do_not_move(full):
    one = driving_findings(full, made(full, all=[0.7], own=[0.6], neighbours=[0.6], dealt=[0.0]))
    assert "predicts 70% of the gate's variance" in one[0] and "to" not in one[0].split("predicts 70%")[0]
    some = driving_findings(full, made(full, all=[0.7, np.nan], own=[0.6, np.nan], neighbours=[0.6, np.nan],
                                       dealt=[0.0, np.nan]))
    assert some[1] == f"Of **{full.blocks[1].label}** it cannot be told: the gate does not move."
    around = driving_findings(full, made(full, all=[0.7], own=[0.2], neighbours=[0.2], dealt=[0.0], picture=[0.3],
                                         brightness=[0.2], contrast=[0.1]))
    assert "The channels around predict less than half of what all of z does" in around[0]
    assert around[1] == ("Brightness and contrast together predict 30% of that variance. Alone brightness says the "
                         "most: 20%.")
    assert "says anything." in driving_findings(full, made(full, all=[0.7], own=[0.2], neighbours=[0.2], picture=[0.3],
                                                           brightness=[0.004]))[1]
    none = driving_findings(full, made(full, all=[np.nan], own=[np.nan]))
    assert none == ["What drives the gates cannot be told: they do not move, or there are too few pictures."]


def test_where_chance_predicts_much_nothing_else_is_said(full):
    """Of ten pictures chance may predict half of what z does, and a share over 90% is then no sign of anything."""
    shares = {"all": [0.95, 0.86], "own": [0.5, 0.4], "neighbours": [0.2, 0.3], "picture": [0.6, 0.2],
              "brightness": [0.5, 0.1], "class": [0.2, 0.3]}
    assert driving_findings(full, made(full, **shares, dealt=[0.57, -0.1])) == [
        "From so few pictures it cannot be told what drives the gates: a linear function of the squeezed input z "
        "predicts 86% to 95% of the gate's variance before its activation, and one of the z of other pictures, which "
        "is chance, up to 57%."]
    one = {name: values[:1] for name, values in shares.items()}
    assert driving_findings(full, made(full, **one, dealt=[0.2]))[0].endswith("which is chance, 20%.")
    told = driving_findings(full, made(full, **shares, dealt=[0.09, 0.0]))
    assert "Nearly linear in z" in told[0]
    assert told[3] == "The z of other pictures, which is chance, predicts at most 9%."


def test_class_means_of_too_few_pictures_tell_nothing(full):
    """Such a mean is farther off than that of all: a share far under 0 is not called 0%."""
    labels = [f"**{block.label}**" for block in full.blocks]
    shares = {"all": [0.9] * 3, "own": [0.5] * 3, "neighbours": [0.6] * 3}
    worse = driving_findings(full, made(full, **shares, **{"class": [-0.3, -0.1, -0.03]}))[1]
    counts = full.count[full.count > 0]
    assert full.sampled == full.metadata["images"] and counts.min() < counts.max()
    assert worse.startswith("What the class of a picture predicts cannot be told: the mean of the other pictures")
    assert f"With {counts.min()} to {counts.max()} sampled pictures a class it is too unsure" in worse
    assert "%" not in worse
    some = driving_findings(full, made(full, **shares, **{"class": [0.2, 0.1, -0.3]}))[1]
    assert some.startswith(f"The class of a picture predicts 10% to 20% of that variance. In {labels[2]} it cannot be "
                           "told: the mean")
    none = driving_findings(full, made(full, **shares, **{"class": [0.0, -0.01, 0.001]}))[1]
    assert none == "The class of a picture predicts 0% of that variance."


def test_gates_that_are_the_same_for_every_picture_are_said_to_be(full, monkeypatch):
    monkeypatch.setattr(type(full), "overall_std", lambda *_, **__: np.zeros((1, 4)))
    assert driving_findings(full, made(full, all=[np.nan], own=[np.nan])) == [
        "What drives the gates cannot be told: they are the same for every picture."]


def test_sentences_of_a_real_run_have_a_number_each(full):
    found = driving_findings(full, driving(full))
    assert len(found) == 5 and all("%" in sentence for sentence in found)
