"""The Kernels page: its numbers are the library's, it says what it needs, and moving a slider runs no forward."""
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz import tables
from senet_viz.collecting import Settings, collect
from senet_viz.data.datasets import Pictures
from senet_viz.experiments.sweep import SIZES, Sweep, size_preference, size_slopes, sweep, untrained
from senet_viz.gates import contribution_points
from senet_viz.models import embedded_models
from senet_viz.models.identity import weights_hash
from senet_viz.reports.html import report
from senet_viz.statistics import kernels
from tests.app.checks import fine, png, sections, sentences

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "assets" / "samples" / "ladybug.jpg"  # 512×384
STATISTICS = ROOT / "assets" / "statistics" / "sknet50_slim"
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
BOX = (150, 100, 450, 330)
OF_PHOTO = ["size_cam", "size_preference", "size_curves", "size_slopes", "fig3_lines", "fig3_bars", "branch_maps",
            "branch_shares"]
OF_DATA = ["data_findings", "data_doses", "data_bars", "data_classes", "data_share"]

pytestmark = pytest.mark.skipif(
    not {SE, SK} <= set(embedded_models()) or not (STATISTICS / "metadata.json").is_file(),
    reason="the embedded models or their statistics are missing")


def typed(app):
    """The text field of the box."""
    return next(field for field in app.text_input if (field.key or "").endswith("_typed"))


@pytest.fixture(scope="module")
def page(start):
    """``page(kernel_unit="SK_4_1")``: the page opened with these parameters, of one sample and the embedded model."""
    def open_page(run: bool = True, **parameters):
        app = start(run=False, **{"model": SK, "sample": "ladybug", **parameters})
        app.switch_page("pages/kernels.py")
        return app.run() if run else app
    return open_page


@pytest.fixture(scope="module")
def first(page):
    return page()


@pytest.fixture(scope="module")
def chosen(page):
    """Nothing as it is at first; the box is typed."""
    app = page(size="1.75×", kernel_unit="SK_4_6", kernel_points="all", kernel_class="espresso", every_unit="true",
               decided_unit="SK_3_1", decided_channel="5", decided_size="2×", data_zoom="2×")
    typed(app).set_value(", ".join(map(str, BOX)))
    return app.run()


@pytest.fixture(scope="module")
def model() -> sv.Model:
    return sv.load(SK, device="cpu")


@pytest.fixture(scope="module")
def stats() -> sv.Statistics:
    return sv.open_statistics(STATISTICS)


@pytest.fixture(scope="module")
def expected(model) -> dict[str, Sweep]:
    image, layer = sv.open_image(SAMPLE), [list(model.stages.values())[-1]]
    return {"first": sweep(model, image, layers=layer),
            "chosen": sweep(model, image, box=BOX, targets=[model.class_labels.index("espresso")], layers=layer)}


def same(table, other) -> None:
    pd.testing.assert_frame_equal(table.reset_index(drop=True), other.reset_index(drop=True), check_dtype=False,
                                  rtol=1e-4, atol=1e-5)


def test_the_page_is_described_and_its_tables_are_offered(first, chosen):
    for app in (first, chosen):
        fine(app)
        assert list(sections(app)) == OF_PHOTO + OF_DATA
        assert [h.value for h in app.header] == ["One photo at many sizes", "Over a data set", "The whole page"]
        assert [h.anchor for h in app.subheader] == ["size", "curves", "beyond", "paper-sizes", "decided"]
        explained = [e for e in app.expander if e.label == "How to read this"]
        assert len(explained) == 6 and all(len(e.markdown[0].value) > 80 for e in explained)
        assert [tab.label for tab in app.tabs] == ["Change", "All sizes", "Bars", "Classes", "Without zoom"]
        buttons = {button.key for button in app.get("download_button")}
        assert {"report", "film", *(f"{key}_csv" for key in sections(app))} == buttons
        for key, section in sections(app).items():
            assert section.script and len(section.table) and len(section.figure.layout.meta["alt"]) > 40, key
        assert report("t", {}, sections(app).values()).count("Plotly.newPlot(") >= len(OF_PHOTO + OF_DATA)


@pytest.mark.parametrize("which", ["first", "chosen"])
def test_numbers_of_a_photo_are_the_librarys(which, request, expected, model):
    app, swept = request.getfixturevalue(which), expected[which]
    shown = {key: section.table for key, section in sections(app).items()}
    size, label, points, unit, channel, at = (
        (1.0, "SK_3_4", 16, "SK_5_3", 0, 1.0) if which == "first" else (1.75, "SK_4_6", None, "SK_3_1", 5, 2.0))
    block, decided = (next(b for b in model.blocks if b.label == name) for name in (label, unit))
    table = size_preference(swept)
    zoom = table[table["look"] == "zoom"]
    same(shown["size_curves"], table)
    same(shown["size_preference"], zoom[zoom["size"] == size])
    same(shown["size_slopes"], size_slopes(table))
    row, layer = SIZES.index(size), list(model.stages.values())[-1]
    np.testing.assert_allclose(shown["size_cam"]["value"],
                               swept.views["zoom"].cams[layer][row, 0].numpy().ravel(), rtol=1e-3, atol=1e-4)
    rows = swept.named((1.0, 1.5, 2.0))
    same(shown["fig3_lines"], tables.kernel_groups(rows, block, points or block.channels))
    last = zoom[zoom["size"].isin([1, 1.5, 2]) & zoom["label"].isin(["SK_2_3", "SK_3_4", "SK_4_6", "SK_5_3"])]
    same(shown["fig3_bars"].drop(columns="zoom"), last[["label", "difference"]].set_axis(["label", "mean"], axis=1))
    picture = swept.pictures["zoom"][SIZES.index(at)]
    view = sv.inspect(model, model.batch([picture]), features=contribution_points(model.blocks))
    same(shown["branch_shares"], tables.contributions({f"{at:g}×": view}))
    np.testing.assert_allclose(shown["branch_maps"]["value"],
                               np.ravel(tables.channel_maps(view, decided, channel)), rtol=1e-4, atol=1e-5)


def test_numbers_of_a_data_set_are_the_librarys(first, chosen, stats):
    for app, size in ((first, 1.5), (chosen, 2.0)):
        shown = {key: section.table for key, section in sections(app).items()}
        same(shown["data_findings"], kernels.size_effects(stats, size))
        same(shown["data_doses"], kernels.dose_response(stats))
        same(shown["data_bars"], kernels.bars(stats, size))
        same(shown["data_classes"], kernels.class_changes(stats, size))
        same(shown["data_share"], kernels.by_share(stats))
        said = "\n".join(sentences(app.markdown))
        findings = kernels.kernel_findings(stats, *(shown[f"data_{name}"] for name in ("findings", "share", "doses")))
        assert findings and all(finding in said for finding in findings)


def share(probability: float) -> str:
    return "probability " + ("under 1%" if probability < 0.01 else "over 99%" if probability > 0.99 else
                             f"{probability:.0%}")


def true(text: str, slopes: pd.DataFrame) -> None:
    """What is said of one photo follows from its table."""
    left, found = slopes.set_index("label")["left"], re.search(
        r"larger kernel in \*\*(\d+)\*\* and to the smaller kernel in \*\*(\d+)\*\* of (\d+) units, by more than "
        r"([.\d]+) per doubling of its size(?:, most in \*\*(\w+)\*\* \(([-+.\d]+)\))?\.", text)
    up, down, units, least, most, value = found.groups()
    assert float(least) == kernels.NEGLIGIBLE and int(units) == len(left)
    assert (int(up), int(down)) == ((left > kernels.NEGLIGIBLE).sum(), (left < -kernels.NEGLIGIBLE).sum())
    assert (most is None) == (int(up) + int(down) == 0)
    if most:
        assert most == left.abs().idxmax() and float(value) == pytest.approx(left[most], abs=6e-4)


@pytest.mark.parametrize("which", ["first", "chosen"])
def test_sentences_follow_from_the_tables(which, request, expected, model):
    app, swept = request.getfixturevalue(which), expected[which]
    true(sections(app)["size_slopes"].text, sections(app)["size_slopes"].table)
    text, row = sections(app)["size_cam"].text, SIZES.index(1.0 if which == "first" else 1.75)
    probable = swept.views["zoom"].logits[row].softmax(0)
    top = model.class_labels[int(probable.argmax())]
    if which == "first":
        assert text == f"Grad-CAM at 1× of **{top}**, the most probable class there ({share(probable.max())})."
    else:
        own = probable[model.class_labels.index("espresso")]
        assert text == (f"Grad-CAM at 1.75× of **espresso** ({share(own)}), not of the most probable class there, "
                        f"**{top}** ({share(probable.max())}).")
    assert "weight of 5×5 less that of 3×3" in sections(app)["size_preference"].text
    marks = {shape.x0 for shape in sections(app)["size_curves"].figure.layout.shapes if shape.x0 == shape.x1}
    assert marks == {1.0 if which == "first" else 1.75}


@pytest.mark.parametrize(("which", "key"), [
    ("first", "size_cam"), ("first", "fig3_lines"), *(("chosen", key) for key in OF_PHOTO + OF_DATA)])
def test_the_script_gives_the_table(which, key, run_script, request, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    section = sections(request.getfixturevalue(which))[key]
    pd.testing.assert_frame_equal(run_script(section.script).reset_index(drop=True),
                                  section.table.reset_index(drop=True), rtol=1e-3, atol=1e-4)
    assert capsys.readouterr().out


def test_a_slider_runs_no_forward(page, monkeypatch):
    """Nor do play, another unit and all channels; another box, class or picture does."""
    app = page()
    model, forwards = app.session_state["loaded"].model, []
    handle = model.module.register_forward_pre_hook(lambda _, inputs: forwards.append(len(inputs[0])))
    try:
        before = {key: section.figure.to_json() for key, section in sections(app).items()}
        app.select_slider(key="size").set_value(2.5)
        app.selectbox(key="kernel_unit").set_value("SK_2_1")
        app.segmented_control(key="kernel_points").set_value("all")
        app.toggle(key="every_unit").set_value(True)
        app.number_input(key="decided_channel").set_value(3)
        app.run()
        app.toggle(key="play").set_value(True).run()
        fine(app)
        assert not forwards and app.select_slider(key="size").value == 2.625
        app.run()
        assert app.select_slider(key="size").value == 2.75
        changed = {key for key, section in sections(app).items() if section.figure.to_json() != before[key]}
        assert changed == {"size_cam", "size_preference", "size_curves", "fig3_lines", "branch_maps"}
        app.session_state["size"] = 3.0
        app.run()
        app.toggle(key="play").set_value(False).run()
        fine(app)
        assert not forwards and app.select_slider(key="size").value == 2.875  # back from the end, and there it stays
        typed(app).set_value("0, 0, 101, 103").run()
        assert forwards == [len(SIZES), 2 * len(SIZES) - 1 - SIZES.index(1) - 1, 1]
    finally:
        handle.remove()


def test_random_weights_come_on_request(page, expected, model):
    app = page(random_weights="true")
    fine(app)
    swept = expected["first"]
    table = size_preference(swept.beside(untrained(swept, sv.open_image(SAMPLE))))
    shown = sections(app)
    same(shown["size_curves"].table, table)
    same(shown["size_slopes"].table, size_slopes(table))
    true(shown["size_slopes"].text, shown["size_slopes"].table)
    assert "in 3 networks with random weights" in shown["size_slopes"].text
    assert "in 3 networks with random weights" in "\n".join(sentences(app.markdown))
    same(shown["size_preference"].table, size_preference(swept).query("look == 'zoom' and size == 1"))
    own = app.session_state["loaded"].model.module
    assert weights_hash(own) == weights_hash(model.module) and not own.training
    app.toggle(key="random_weights").set_value(False).run()
    fine(app)
    same(sections(app)["size_curves"].table, size_preference(swept))
    assert "random" not in sections(app)["size_slopes"].text


def test_a_link_holds_the_box(page):
    app = page()
    typed(app).set_value("10, 20, 90, 80").run()
    again = page(**{typed(app).key: "10, 20, 90, 80"})
    fine(again)
    assert typed(again).value == "10, 20, 90, 80"
    same(sections(again)["size_curves"].table, sections(app)["size_curves"].table)


def test_a_network_without_units_says_what_it_takes(page):
    app = page(model=SE)
    fine(app)
    assert list(sections(app)) == OF_DATA
    [note] = sentences(app.info)
    assert "takes a selective-kernel network" in note and SE in note
    next(button for button in app.button if SK in button.label).click().run()
    fine(app)
    assert app.session_state["loaded"].model.name == SK and list(sections(app)) == OF_PHOTO + OF_DATA


BOXES = {
    "400, 300, 600, 380": "512×384", "100, 100, 100, 200": "is empty", "-1, 0, 100, 100": "not inside",
    "left, top": "four numbers", "1, 2, , 4": "four numbers", "1, 2, 3": "four numbers", "nan, 0, 10, 10": "not inside"}


def test_a_box_is_four_numbers_inside_the_picture(chosen, monkeypatch, tmp_path):
    monkeypatch.setattr("pages.parts.archives.EMBEDDED", tmp_path)  # without the data set's half of the page
    for text, said in BOXES.items():
        typed(chosen).set_value(text).run()
        fine(chosen, errors=1)
        assert said in sentences(chosen.error)[0], text
        assert f"box={tuple(map(float, BOX))}" in sections(chosen)["size_curves"].script  # the last good one stays
    typed(chosen).set_value(" 0;0 ; 101.5;103").run()
    fine(chosen)
    assert "box=(0.0, 0.0, 101.5, 103.0)" in sections(chosen)["size_curves"].script
    chosen.button(key="no_box").click().run()
    fine(chosen)
    assert typed(chosen).value == "" and "box=None" in sections(chosen)["size_curves"].script
    assert chosen.button(key="no_box").proto.disabled


def test_each_photo_keeps_its_own_box(page, expected, monkeypatch, tmp_path):
    """Two photos of one size; a third one is none."""
    monkeypatch.setattr("pages.parts.archives.EMBEDDED", tmp_path)
    app = page(sample=["ladybug", "teapot"])
    typed(app).set_value("150, 100, 450, 330").run()
    app.selectbox(key="kernel_picture").set_value("teapot").run()
    assert typed(app).value == ""
    typed(app).set_value("10, 10, 90, 90").run()
    app.selectbox(key="kernel_picture").set_value("ladybug").run()
    fine(app)
    assert typed(app).value == "150, 100, 450, 330"
    same(sections(app)["size_curves"].table, size_preference(expected["chosen"]))
    app.file_uploader(key="uploads").set_value([("<b>letter.jpg", b"Dear Sir", "image/jpeg")]).run()
    app.selectbox(key="kernel_picture").set_value("<b>letter.jpg").run()
    fine(app, errors=1)
    assert sentences(app.error)[0].startswith("**<b>letter.jpg**: The ") and not sections(app)
    app.selectbox(key="kernel_picture").set_value("teapot").run()
    fine(app)
    assert typed(app).value == "10, 10, 90, 90"
    app.pills(key="sample").set_value([]).run()
    app.file_uploader(key="uploads").set_value([]).run()
    fine(app)
    assert [i.value for i in app.info] == [
        "Upload a photo or choose a sample picture to begin.",
        "There are no statistics of a selective-kernel network here."]


def test_without_any_statistics(page, monkeypatch, tmp_path):
    monkeypatch.setattr("pages.parts.archives.EMBEDDED", tmp_path)
    app = page(model=SE)
    fine(app)
    assert sentences(app.info)[-1] == "There are no statistics of a selective-kernel network here."
    assert not sections(app)


def test_a_picture_smaller_than_a_box_can_be_and_a_very_long_one(page):
    app = page(run=False, sample=[])
    app.run()
    app.file_uploader(key="uploads").set_value(
        [("one.png", png(0, 1, 1), "image/png"), ("long.png", png(1, 20, 900), "image/png")]).run()
    fine(app, errors=1)
    assert "less than one pixel of a picture of 1 × 1" in sentences(app.error)[0]
    app.selectbox(key="kernel_picture").set_value("long.png").run()
    fine(app)
    assert set(sections(app)) == {*OF_PHOTO, *OF_DATA}


def test_a_link_from_another_time_still_opens(page):
    app = page(size="7×", kernel_unit="SE_9_9", kernel_points="some", kernel_class="no such class", other="nothing",
               decided_unit="x", decided_channel="9999", decided_size="abc", kernel_statistics="gone", data_zoom="9×")
    fine(app, errors=2)
    said = sentences(app.error)
    assert "no such class" in said[0] and "nothing" in said[1]
    assert app.select_slider(key="size").value == 1 and app.selectbox(key="kernel_unit").value == "SK_3_4"
    assert list(sections(app)) == OF_PHOTO + OF_DATA
    assert "the most probable class there" in sections(app)["size_cam"].text


def test_beside_another_network(page, monkeypatch):
    """Offline: itself; one without units, one that is not there, and one that cannot be had, are a sentence each."""
    import huggingface_hub

    def unreachable(*_, **__):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "get_session", unreachable)
    for name, said in {SE: "takes a selective-kernel network", "timm/no_such_net": "no_such_net",
                       "timm/skresnext50_32x4d.ra_in1k": "timm/skresnext50_32x4d.ra_in1k",
                       "file:/etc/passwd": "path on the server"}.items():
        app = page(other=name)
        fine(app, errors=1)
        assert said in sentences(app.error)[0] and list(sections(app)) == OF_PHOTO + OF_DATA
    app = page(other=SK)
    fine(app)
    shown = sections(app)
    assert list(shown) == [*OF_PHOTO[:4], "other_curves", *OF_PHOTO[4:], *OF_DATA]
    same(shown["other_curves"].table, shown["size_curves"].table)
    true(shown["other_curves"].text, shown["size_slopes"].table)


# what an operator gives

FACTORY = """
import torch
import senet_viz as sv
from torchvision.transforms.functional import to_tensor
from senet_viz.models import slim_resnet50

def make(bias=0.0):
    torch.manual_seed(0)
    module = slim_resnet50("sk", num_classes=3, widths=(4, 4, 8, 8))
    module.fc.bias.data += bias
    return sv.Model(module, lambda image: to_tensor(image.resize((32, 32))), ["one", "two", "three"], name="my own")

def infinite():
    return make(float("nan"))

def miscounted():
    model = make()
    model.classes.pop()
    return model
"""


@pytest.fixture
def operator(tmp_path, monkeypatch, page):
    """``operator("--model", "own_kernels:make")``: the page as whoever starts the server so sees it."""
    (tmp_path / "own_kernels.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)

    def open_app(*arguments: str, **parameters):
        monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
        return page(**parameters)
    yield open_app
    sys.modules.pop("own_kernels", None)


def test_a_network_of_random_weights(operator, monkeypatch):
    monkeypatch.chdir(ROOT)
    app = operator("--model", "own_kernels:make", model="own_kernels:make")
    fine(app)
    shown = sections(app)
    assert app.session_state["loaded"].model.name == "my own" and set(shown) == {*OF_PHOTO, *OF_DATA}
    true(shown["size_slopes"].text, shown["size_slopes"].table)
    names: dict = {}
    exec(compile(shown["size_slopes"].script, "script", "exec"), names)
    same(names["result"], shown["size_slopes"].table)


def test_a_network_whose_output_says_nothing_is_one_sentence(operator):
    app = operator("--model", "own_kernels:infinite", model="own_kernels:infinite")
    fine(app, errors=1)
    assert "not finite" in sentences(app.error)[0] and list(sections(app)) == OF_DATA


def test_a_network_with_other_class_names_than_logits_shows_its_choice(operator):
    app = operator("--model", "own_kernels:miscounted", model="own_kernels:miscounted")
    fine(app)
    assert set(sections(app)) == {*OF_PHOTO, *OF_DATA} - {"size_cam"}
    assert "3 logits, but there are 2 class names: there is no class for Grad-CAM" in sentences(app.info)[0]


def test_statistics_of_one_size_and_of_few_pictures(operator, model, tmp_path):
    content = [png(i) for i in range(4)]
    for name, zooms, labels in (("one size", (1.0,), [0, 0, 1, 1]), ("large", (1.5, 2.0), [0, 0, 1, 1]),
                                ("few", (1.0, 1.5), [0, 1, 1, -1]), ("none", (0.5, 1.0, 2.0), [-1] * 4)):
        collect(model, Pictures(content.__getitem__, labels, ["cat", "dog"]), tmp_path / "runs" / name,
                Settings(batch_size=4, shard_size=4, zooms=zooms), workers=0, progress=False)
    app = operator("--statistics", str(tmp_path / "runs"), model=SE)
    options = app.selectbox(key="kernel_statistics").options
    assert len(options) == 5
    for name, option in zip(sorted(["one size", "large", "few", "none"]), options[1:]):
        app.selectbox(key="kernel_statistics").set_value(option).run()
        fine(app)
        if name in ("large", "one size"):
            assert "--zoom 1 1.5 2" in sentences(app.info)[-1] and not sections(app)
        else:
            assert list(sections(app)) == ["data_findings", "data_bars", "data_classes"]
            assert app.segmented_control(key="data_zoom").options == ["1.5×" if name == "few" else "2×"]
