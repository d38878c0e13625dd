"""The sections over a sweep: their tables are the library's, their words follow from them, and scripts give them."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz import tables
from senet_viz.data.places import APP
from senet_viz.experiments.sweep import describe_slopes, paper_bars, size_preference, size_slopes, sweep, untrained
from senet_viz.experiments.sweep_sections import HEADS, SweepSections

PHOTO = "assets/samples/teapot.jpg"
BOX = (100.0, 60.0, 400.0, 300.0)
SK = "demo/sknet50_slim"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sections() -> SweepSections:
    model = sv.load(SK, device="cpu")
    swept = sweep(model, sv.open_image(APP / PHOTO), box=BOX, layers=list(model.stages.values())[-1:])
    return SweepSections(swept, "tea*pot", PHOTO, BOX, f"model = sv.load({SK!r}, device='cpu')")


def test_words_say_which_network_picture_and_kernels(sections):
    assert sections.source == r"demo\/sknet50\_slim \(100 classes\, 64 px\)\, tea\*pot"
    assert sections.kernels == ("5×5", "3×3") and sections.panels == ["SK_2_3", "SK_3_4", "SK_4_6", "SK_5_3"]
    for name in HEADS:
        title, lead, more = sections.head(name)
        assert title and lead.endswith(f"*{sections.source}.*") and len(more) > 80 and "{" not in lead + more
    assert describe_slopes(sections.slopes) in sections.head("beyond")[1]
    assert "at 1×, 1.5× and 2×" in sections.head("paper-sizes")[1]


def test_tables_are_the_librarys(sections):
    swept, block = sections.swept, sections.blocks["SK_4_2"]
    preference, picture = size_preference(swept), np.zeros((64, 64, 3), np.uint8)
    view = swept.inspect(1.5)
    for section, expected in (
            (sections.curves(1.5), preference), (sections.beyond(), size_slopes(preference)),
            (sections.bars(2.0), preference.query("look == 'zoom' and size == 2")),
            (sections.lines("SK_4_2", 4), tables.kernel_groups(swept.named(), block, 4)),
            (sections.paper_bars(), paper_bars(preference)),
            (sections.cam(2.0, picture), tables.cells(swept.cams(2.0))),
            (sections.shares(view, 1.5), tables.contributions({"1.5×": view}))):
        pd.testing.assert_frame_equal(section.table, expected)
        assert section.figure.layout.meta["alt"] and section.title
    assert sections.maps(view, 1.5, "SK_4_2", 3, picture).table["value"].tolist() == np.ravel(
        tables.channel_maps(view, block, 3)).tolist()
    assert len(sections.curves(every=True).figure.layout.annotations) > len(sections.curves().figure.layout.annotations)
    assert SK in sections.beside().title and sections.beside().text == sections.head("beyond")[1]


@pytest.fixture(scope="module")
def beside_random(sections) -> SweepSections:
    swept = sections.swept
    return SweepSections(swept.beside(untrained(swept, sv.open_image(APP / PHOTO), 2)), "tea*pot", PHOTO, BOX,
                         f"model = sv.load({SK!r}, device='cpu')")


def test_words_say_that_there_are_random_weights(sections, beside_random):
    assert sections.draws == 0 and beside_random.draws == 2
    for name, words in {"curves": "The band is a third", "beyond": "A cross is the mean over 2 draws"}.items():
        assert words in beside_random.head(name)[2] and words not in sections.head(name)[2]
        assert "random" not in " ".join(sections.head(name)) and "2 draws" in beside_random.head(name)[2]
    assert "and none of its controls" in beside_random.head("curves")[1]
    assert "and neither of its controls" in sections.head("curves")[1]
    assert "in 2 networks with random weights" in beside_random.head("beyond")[1]
    assert beside_random.slopes["draws"].tolist() == [2] * 16


@pytest.mark.parametrize("name", ["curves", "beyond"])
def test_scripts_draw_random_weights(beside_random, name, monkeypatch):
    monkeypatch.chdir(APP)
    section, names = getattr(beside_random, name)(), {}
    exec(compile(section.script, "script", "exec"), names)
    pd.testing.assert_frame_equal(names["result"], section.table, rtol=1e-3, atol=1e-4)
    assert "random 1" in names["swept"].views


@pytest.mark.parametrize("name", ["cam", "lines", "maps"])
def test_scripts_give_the_tables(sections, name, monkeypatch, capsys):
    monkeypatch.chdir(APP)
    picture, names = np.zeros((64, 64, 3), np.uint8), {}
    section = {"cam": lambda: sections.cam(1.25, picture), "lines": lambda: sections.lines("SK_3_1", 16),
               "maps": lambda: sections.maps(sections.swept.inspect(2.0), 2.0, "SK_5_1", 1, picture)}[name]()
    exec(compile(section.script, "script", "exec"), names)
    pd.testing.assert_frame_equal(names["result"], section.table, rtol=1e-3, atol=1e-4)
    assert capsys.readouterr().out and Path(PHOTO).is_file()
