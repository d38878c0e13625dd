"""Sections of experiments: each script, run as it is printed, gives its section's table."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import senet_viz as sv
from senet_viz.experiments import what_if
from senet_viz.experiments.what_if_sections import AFTER, BEFORE, HEADS, Sections, head
from tests.experiments.test_what_if import NAMES
from tests.gates.conftest import make

PHOTOS = [Path(__file__).resolve().parents[2] / "assets" / "samples" / f"{name}.jpg" for name in ("ladybug", "teapot")]
EDITS = {"se": "SE_5_1=0.5; SE_3_2=photo", "sk": "SK_5_1=5x5; SK_3_2=photo"}
TARGET = 3


@pytest.fixture(scope="module")
def model():
    """``model("se")``: a small network of random weights."""
    return lambda name: sv.Model(make(f"slim/{name}"), lambda image: torch.from_numpy(
        np.asarray(image.resize((64, 64)), np.float32) / 64 - 2).permute(2, 0, 1), NAMES, name=name)


@pytest.fixture(scope="module")
def made(model):
    """Every section of both networks, by the network's name and its own, and the network."""
    found = {}
    for name in ("se", "sk"):
        net = model(name)
        photo, other = (sv.open_image(path) for path in PHOTOS)
        edits = sv.parse_edits(EDITS[name], photo=what_if.look(net, other).view.gates)
        before, after = what_if.look(net, photo), what_if.look(net, photo, edits)
        sections = Sections(net, "model = given", str(PHOTOS[0]), "a photo", TARGET, EDITS[name], other=str(PHOTOS[1]))
        views, label = {BEFORE: before.view, AFTER: after.view}, net.blocks[-1].label
        batch = net.batch([photo])
        parts = {
            "overview": sections.overview(views), "block": sections.block(views, label),
            "changes": sections.changes(views), "travel": sections.travel(views, edits),
            "cams": sections.cams({key: view.grad_cam([TARGET])[0] for key, view in views.items()}, before.seen),
            "blocks": sections.blocks(what_if.each_block(net, batch, TARGET)),
            "stages": sections.stages(what_if.each_stage(net, batch, TARGET), "probability_change"),
            "channels": sections.channels(what_if.each_channel(net, batch, label, TARGET, 5), label, 5),
            "swap": sections.swap(what_if.swap(net, batch, net.batch([other])), "a", "b", str(PHOTOS[1]))}
        if name == "sk":
            parts["sizes"] = sections.sizes(what_if.forced_sizes(net, photo, TARGET))
        found |= {(name, key): (section, net) for key, section in parts.items()}
    return found


@pytest.mark.parametrize(("name", "key"), [
    (name, key) for name in ("se", "sk") for key in (
        "overview", "block", "changes", "travel", "cams", "blocks", "stages", "channels", "swap", "sizes")
    if (name, key) != ("se", "sizes")])
def test_the_script_gives_the_table(made, name, key, capsys):
    section, net = made[name, key]
    names = {"given": net}
    exec(compile(section.script, "script", "exec"), names)
    pd.testing.assert_frame_equal(names["result"], section.table, check_dtype=False, rtol=1e-4, atol=1e-5)
    assert capsys.readouterr().out and "*a photo.*" in section.text and len(section.table)
    assert (section.figure is None) == (key == "changes")


@pytest.mark.parametrize("name", ["se", "sk"])
def test_the_overview_without_edits_has_one_view(model, name):
    net = model(name)
    view = what_if.look(net, sv.open_image(PHOTOS[0])).view
    section = Sections(net, "model = given", str(PHOTOS[0]), "a photo", TARGET).overview({BEFORE: view})
    assert "edits" not in section.script and set(section.table["picture"]) == {BEFORE}
    names = {"given": net}
    exec(compile(section.script, "script", "exec"), names)
    pd.testing.assert_frame_equal(names["result"], section.table, check_dtype=False, rtol=1e-4, atol=1e-5)


def test_heads_say_what_the_network_has(model):
    se, sk = model("se").blocks, model("sk").blocks
    for anchor in HEADS:
        for blocks in (se, sk, [*se, *sk]):
            title, lead, more = head(anchor, blocks)
            assert title and "{" not in lead + more and 20 < len(lead) < 190 and more
    assert head("edit", se)[1].startswith("The gate of every block")
    assert head("edit", sk)[1].startswith("The weight of 5×5 in every block")
    assert [head("edit", blocks)[2].startswith("A weight says") for blocks in (se, sk)] == [False, True]
    assert "A gate of 1" in head("blocks", se)[2] and "cannot be off" not in head("blocks", se)[2]
    assert "cannot be off" in head("blocks", sk)[2] and "A gate of 1" not in head("blocks", sk)[2]
    assert [blocks for blocks in (se, sk, [*se, *sk]) if "those alone are changed" in head("blocks", blocks)[2]] == [
        [*se, *sk]]
    assert "cannot be off" in head("blocks", [*se, *sk])[2] and "A gate of 1" in head("blocks", [*se, *sk])[2]
