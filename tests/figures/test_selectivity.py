import pandas as pd
import pytest

from senet_viz import figures


@pytest.fixture
def effects():
    return pd.DataFrame({
        "label": ["SE_2_1", "SE_2_1", "SE_3_1"], "channel": [0, 5, 7], "omega_squared": [0.1, 0.4, 0.2],
        "class": ["<b>cat</b>", "dog", "dog"], "deviation": [0.1, -0.2, 0.05], "own": [-0.01, -0.03, 0.002],
        "own_low": [-0.02, -0.05, -0.01], "own_high": [0.0, -0.01, 0.014], "others": [0.0, 0.001, 0.0],
        "own_images": 50})


def test_a_point_a_channel(effects):
    figure = figures.channel_effects(effects)
    first, second = figure.data
    assert (first.name, second.name) == ("SE_2_1", "SE_3_1")
    assert list(first.x) == [0.1, 0.4] and list(first.y) == [-0.01, -0.03]
    assert list(first.error_y.array) == pytest.approx([0.01, 0.02])
    assert first.customdata[0][1] == "&lt;b&gt;cat&lt;/b&gt;"  # a class's name is not ours
    assert "channel 5 of SE_2_1: -3.00%" in figure.layout.meta["alt"]


def test_nothing_known_of_the_own_class(effects):
    figure = figures.channel_effects(effects.assign(own=float("nan")))
    assert figure.layout.meta["alt"] == "3 channels in 2 blocks, each fixed at its mean by itself."


def test_a_line_a_score_from_the_whole_network_on():
    curve = pd.DataFrame({
        "score": ["gate", "gate", "random"], "share": [0.5, 0.25, 0.5], "draws": [1, 1, 3], "images": 100,
        "top1": [0.4, 0.5, 0.2], "difference": [-0.2, -0.1, -0.4], "low": [-0.25, -0.13, -0.5],
        "high": [-0.15, -0.07, -0.3]})
    figure = figures.removal(curve, 0.6)
    gate, random = figure.data
    assert list(gate.x) == [0, 0.25, 0.5] and list(gate.y) == [0.6, 0.5, 0.4]
    assert list(gate.error_y.array) == pytest.approx([0, 0.03, 0.05])
    assert list(gate.error_y.arrayminus) == pytest.approx([0, 0.03, 0.05])
    assert random.name == "at random (3 draws)" and list(random.error_y.arrayminus) == pytest.approx([0, 0.1])
    assert figure.layout.meta["alt"] == ("Top-1 of 60.0% with channels removed; without 50% of them: lowest mean gate "
                                         "40.0%, at random 20.0%.")
