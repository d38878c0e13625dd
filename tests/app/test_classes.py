"""The Classes page: its numbers are the library's, it follows the model, and a run over one's own photos."""
import gc
import io
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import streamlit as st
import torch
from PIL import Image

import senet_viz as sv
from senet_viz import tables
from senet_viz.collecting import Settings, collect
from senet_viz.data.datasets import Pictures
from senet_viz.layers import SqueezeExcite
from senet_viz.models import embedded_models, slim_resnet50
from senet_viz.reports import papers
from senet_viz.reports.html import report
from senet_viz.reports.text import plain
from senet_viz.statistics import directions, driving, published, summaries
from senet_viz.statistics.data_report import report_sections
from senet_viz.statistics.sections import DataSections
from tests.app.checks import fine, png, sections, sentences
from tests.runs import make_model

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "assets" / "samples").glob("*.jpg"))
NAMES = [path.stem.replace("_", " ") for path in SAMPLES]
STATISTICS = ROOT / "assets" / "statistics"
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
OF_DATA = ["lines", "depth", "dimension", "driving", "heat_map", "selective", "channel_classes", "channel_histogram",
           "pair", "separating", "saturation"]
OF_PHOTOS = ["photo_lines", "nearest", "mean_cams"]

pytestmark = pytest.mark.skipif(
    not {SE, SK} <= set(embedded_models()) or not all(
        (STATISTICS / name.partition("/")[2] / "metadata.json").is_file() for name in (SE, SK)),
    reason="the embedded models or their statistics are missing")


@pytest.fixture(scope="module")
def classes(start):
    """``classes(block="SE_2_1")``: the page opened with these parameters."""
    def open_page(run: bool = True, **parameters):
        app = start(run=False, **parameters)
        app.switch_page("pages/classes.py")
        return app.run() if run else app
    return open_page


@pytest.fixture(scope="module")
def first(classes):
    return classes(sample=NAMES[:2], paper="true")


@pytest.fixture(scope="module")
def selective(classes):
    return classes(model=SK, zoom="2×", sample=NAMES[:3], class_block="SK_4_1", class_channel="7",
                   band="standard error",
                   blocks=["SK_4_1", "SK_2_3"], overall="mean of pictures", centred="false", pair_block="SK_3_1")


@pytest.fixture(scope="module")
def se() -> sv.Statistics:
    return sv.open_statistics(STATISTICS / "se_resnet50_slim")


@pytest.fixture(scope="module")
def sk() -> sv.Statistics:
    return sv.open_statistics(STATISTICS / "sknet50_slim")


def test_the_first_start_shows_the_statistics_of_the_model(first, se):
    fine(first)
    assert list(sections(first)) == ["lines", "paper", *OF_DATA[1:], *OF_PHOTOS]  # in the order of the page
    assert [h.value for h in first.header] == [
        "Class by class, block by block", "How class-specific is each depth?", "How many directions?",
        "What drives a gate?", "The channels of a block", "Two classes", "Saturated and dead gates",
        "Your photos beside the data set", "Statistics over your own photos", "The whole page"]
    assert se.metadata["data"] in first.selectbox(key="statistics").value
    assert f"**{se.metadata['images']:,}** pictures · **{(se.count > 0).sum()}** classes" in first.caption[0].value
    chosen = first.multiselect(key="classes").value
    assert set(published.shown_classes(se)) & set(chosen) and len(chosen) == 4


def test_every_figure_is_described_and_every_table_offered(first, selective):
    for app in (first, selective):
        buttons = {button.key for button in app.get("download_button")}
        for key, section in sections(app).items():
            assert section.script and len(section.table) and section.text and f"{key}_csv" in buttons, key
            assert section.figure is None or len(section.figure.layout.meta["alt"]) > 40, key
        assert "report" in buttons
        document = report("t", {}, sections(app).values())
        assert document.count("Plotly.newPlot(") >= sum(s.figure is not None for s in sections(app).values()) >= 9


def test_a_report_without_the_page_has_what_the_page_begins_with(classes):
    app = classes(sample=NAMES[:1])
    path = STATISTICS / "se_resnet50_slim"
    found = report_sections(DataSections(sv.open_statistics(path), str(path.relative_to(ROOT))))
    shown = {key: section for key, section in sections(app).items() if key not in OF_PHOTOS}
    assert list(found) == list(shown)
    for key, section in found.items():
        assert section.title == shown[key].title and section.script == shown[key].script, key
        pd.testing.assert_frame_equal(section.table, shown[key].table)
        assert section.figure is None or section.figure.layout.meta == shown[key].figure.layout.meta, key
    assert found["depth"].points == shown["depth"].found


def same(table, expected) -> None:
    pd.testing.assert_frame_equal(table.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False)


def test_numbers_are_the_librarys(first, se):
    shown = {key: section.table for key, section in sections(first).items()}
    names = summaries.class_names(se)
    chosen = [names.index(name) for name in first.multiselect(key="classes").value]
    same(shown["lines"], pd.concat([
        summaries.class_lines(se, b, chosen).assign(label=b.label) for b in tables.panels(se.blocks)]))
    same(shown["depth"], summaries.specificity(se))
    same(shown["dimension"], summaries.dimension(se))
    best = summaries.selective_channels(se, "SE_5_3")
    same(shown["selective"], best)
    means = pd.DataFrame(se.mean("SE_5_3")[:, -1], names)
    wide = shown["heat_map"].pivot(index="class", columns="channel", values="value").loc[names]
    np.testing.assert_allclose(wide, means - means.mean(), atol=1e-6)
    channel = int(best["channel"][0])
    assert first.number_input(key="class_channel").value == channel
    same(shown["channel_classes"], summaries.channel_classes(se, "SE_5_3", channel))
    same(shown["channel_histogram"], summaries.channel_histogram(se, "SE_5_3", channel))
    same(shown["separating"], summaries.separating_channels(se, "SE_5_3", *chosen[:2]))
    same(shown["saturation"], summaries.saturation(se))
    same(shown["driving"], driving.driving(se))
    said = "\n".join(element.value for element in first.markdown)
    for findings in (summaries.depth_findings(se, shown["depth"]), driving.driving_findings(se, shown["driving"]),
                     directions.dimension_findings(se, shown["dimension"], summaries.hidden_units(se))):
        assert all(finding in said for finding in findings)
    assert set(shown["paper"]["block"]) == {"all of these", *papers.PANELS}


def test_numbers_of_kernel_weights_at_a_zoom(selective, sk):
    fine(selective)
    assert [key for key in sections(selective) if key != "paper"] == OF_DATA + OF_PHOTOS
    shown = {key: section.table for key, section in sections(selective).items()}
    names = summaries.class_names(sk)
    chosen = [names.index(name) for name in selective.multiselect(key="classes").value]
    same(shown["lines"], pd.concat([
        summaries.class_lines(sk, label, chosen, overall="image", zoom=2.0).assign(label=label)
        for label in ("SK_4_1", "SK_2_3")]))
    same(shown["depth"], summaries.specificity(sk, zoom=2.0))
    same(shown["dimension"], summaries.dimension(sk, zoom=2.0))
    same(shown["channel_histogram"], summaries.channel_histogram(sk, "SK_4_1", 7, zoom=2.0))
    same(shown["pair"].drop(columns="label"), summaries.class_lines(sk, "SK_3_1", chosen[:2], overall=None, zoom=2.0))
    wide = shown["heat_map"].pivot(index="class", columns="channel", values="value").loc[names]
    np.testing.assert_allclose(wide, sk.mean("SK_4_1", 2.0)[:, -1], atol=1e-6)
    # what is drawn are weights of the larger kernel, and it is called so
    for key in ("lines", "depth", "dimension", "heat_map", "channel_classes", "channel_histogram", "pair",
                "photo_lines"):
        section = sections(selective)[key]
        assert "weight of 5×5" in section.text and "eight of 5×5" in section.figure.layout.meta["alt"], key
        assert "zoom 2×" in section.text or key.startswith("channel"), key
    assert "Saturated and dead kernel weights" in [h.value for h in selective.header]


def test_photos_have_the_colour_of_their_class(first):
    model, section = sv.load(SE, device="cpu"), sections(first)["photo_lines"]
    views = {name: sv.inspect(model, model.batch([sv.open_image(path)])) for name, path in zip(NAMES[:2], SAMPLES)}
    own = tables.predictions(views, model.class_labels, 1).set_index("picture")["class"]
    assert section.table.dropna(subset="own").groupby("class")["own"].first().to_dict() == own.to_dict()
    traces = {(trace.mode, trace.name): trace for trace in section.figure.data}
    for name, view in views.items():
        photo, mean = traces["lines+markers", name], traces["lines", own[name]]
        assert photo.line.color == mean.line.color and (photo.line.dash, mean.line.dash) == ("dot", "solid")
        np.testing.assert_allclose(
            photo.y, view.gates[model.blocks[-1].name][0, 0].numpy()[list(photo.x)], atol=1e-5)
    nearest = summaries.nearest_classes(
        sv.open_statistics(STATISTICS / "se_resnet50_slim"),
        {name: {b.name: view.gates[b.name][0].numpy() for b in model.blocks} for name, view in views.items()})
    found = sections(first)["nearest"].table
    assert list(found["picture"]) == list(nearest["picture"])
    np.testing.assert_allclose(found["distance"], nearest["distance"], rtol=1e-3)


@pytest.mark.parametrize("key", ["paper", *OF_DATA, *OF_PHOTOS])
@pytest.mark.parametrize("page", ["first", "selective"])
def test_the_script_gives_the_table(page, key, run_script, request, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    section = sections(request.getfixturevalue(page)).get(key)
    if key == "paper" and page == "selective":
        assert section is None
        return
    pd.testing.assert_frame_equal(run_script(section.script), section.table, rtol=1e-5, atol=1e-5)
    assert capsys.readouterr().out


# links and choices

def test_a_link_of_another_data_set_still_opens(classes):
    app = classes(sample=NAMES[0], classes=["nope"], blocks=["SK_2_3"], band="foo", overall="x", zoom="7×",
                  class_block="SK_9_9", class_channel="99999", class_first="zz", class_second="", class_channels="q",
                  statistics="gone", pair_block="u", centred="maybe", clustered="7", paper="5")
    fine(app)
    assert set(sections(app)) == {*OF_DATA, *OF_PHOTOS} and len(app.multiselect(key="classes").value) == 4
    assert len(app.multiselect(key="blocks").value) == 6 and app.selectbox(key="class_block").value == "SE_5_3"


def test_another_data_set_and_another_model(classes):
    app = classes(sample=NAMES[0], model=SK, blocks=["SK_3_2"], classes=["goldfish"], zoom="1.5×")
    other = app.selectbox(key="statistics").options[0]
    assert other.startswith(SE) and app.selectbox(key="statistics").value.startswith(SK)
    app.selectbox(key="statistics").set_value(other).run()  # of the other network
    fine(app)
    assert set(sections(app)) == set(OF_DATA)
    said = sentences(app.info)
    assert len(said) == 2 and all("another network" in sentence for sentence in said)
    assert f"choose “{SK} on" in said[0] and "photos cannot" in said[1]
    # what there is of the choices stays, else they begin anew
    assert app.multiselect(key="classes").value == ["goldfish"] and len(app.multiselect(key="blocks").value) == 6
    app.selectbox(key="model").set_value(SE).run()
    fine(app)
    assert set(sections(app)) == {*OF_DATA, *OF_PHOTOS} and not app.info
    app.selectbox(key="model").set_value(SK).run()  # the statistics follow
    fine(app)
    assert app.selectbox(key="statistics").value.startswith(SK) and set(sections(app)) == {*OF_DATA, *OF_PHOTOS}
    assert app.multiselect(key="blocks").value[0] == "SK_2_3"


def test_no_class_eight_classes_and_all_blocks(classes, se):
    app = classes(run=False, sample=NAMES[0])
    app.session_state["sample"] = []
    app.run()
    app.multiselect(key="classes").set_value([]).run()
    fine(app)
    assert {t.name for t in sections(app)["lines"].figure.data} == {"all"}
    app.selectbox(key="overall").set_value("none").run()
    fine(app)
    assert "lines" not in sections(app) and "Choose a class and a block to draw." in sentences(app.info)
    app.multiselect(key="classes").set_value(app.multiselect(key="classes").options[:8])
    app.multiselect(key="blocks").set_value([b.label for b in se.blocks])
    app.segmented_control(key="class_channels").set_value("all")
    app.segmented_control(key="band").set_value("standard deviation").run()
    fine(app)
    figure = sections(app)["lines"].figure
    assert len({t.name for t in figure.data if t.fill is None}) == 8
    assert sum(t.fill is None for t in figure.data) == 8 * len(se.blocks)
    assert len(sections(app)["lines"].table) == 8 * sum(b.channels for b in se.blocks)
    app.selectbox(key="class_second").set_value(app.selectbox(key="class_first").value).run()
    fine(app)
    assert "The two classes are the same: choose another." in sentences(app.info) and "pair" not in sections(app)


# photos

def test_bad_and_many_photos(classes):
    app = classes(run=False)
    app.session_state["sample"] = []
    app.run()
    assert any("Upload photos" in text for text in sentences(app.info)) and not set(OF_PHOTOS) & set(sections(app))
    app.file_uploader(key="uploads").set_value([("letter.jpg", b"Dear Sir", "image/jpeg")]).run()
    fine(app, errors=1)
    assert not set(OF_PHOTOS) & set(sections(app))
    app.file_uploader(key="uploads").set_value(
        [("letter.jpg", b"Dear Sir", "image/jpeg"), *(("same.png", png(i), "image/png") for i in range(15))]).run()
    fine(app, errors=1)
    table = sections(app)["photo_lines"].table
    assert table.loc[table["photo"], "class"].nunique() == 15 and set(OF_PHOTOS) < set(sections(app))


# statistics that the operator offers

@pytest.fixture(scope="module")
def model() -> sv.Model:
    return sv.load(SE, device="cpu")


LABELS = {"one": [0] * 4, "single": list(range(6)), "few": [0, 0, 1, 1, 1, 2, -1], "none": [-1] * 5}


@pytest.fixture(scope="module")
def runs(model, tmp_path_factory) -> Path:
    """A folder of runs: one class, one picture a class, few pictures, no labels; a damaged and an unfinished one."""
    folder = tmp_path_factory.mktemp("runs")
    for name, labels in LABELS.items():
        content = [png(i) for i in range(len(labels))]
        pictures = Pictures(content.__getitem__, labels, ["<b>cat</b>", "dog", "all", "d", "e", "f"][:max(labels) + 1])
        settings = Settings(batch_size=4, shard_size=4, zooms=(2.0,) if name == "few" else (1.0,))
        collect(model, pictures, folder / name, settings, workers=0, progress=False)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "metadata.json").write_text("{}")
    (folder / "half").mkdir()
    (folder / "half" / "run.json").write_text("{}")
    (folder / "something else").mkdir()
    return folder


@pytest.fixture
def offered(classes, monkeypatch):
    """``offered(folder)``: the page as whoever starts the server with --statistics sees it."""
    def open_page(folder: Path, **parameters):
        monkeypatch.setattr(sys, "argv", ["app.py", "--statistics", str(folder)])
        return classes(**parameters)
    return open_page


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def thumbnails(app) -> list[str]:
    """The captions of the farthest pictures."""
    return [caption for images in app.get("image") for caption in images.captions]


def test_the_farthest_pictures_are_shown_where_the_operator_named_the_data(classes, monkeypatch, tmp_path):
    """All grey but one, which makes the variance; no visitor's address and no archive's leads to a file."""
    data = tmp_path / "data"
    for i in range(110):
        path = data / "train" / f"class {i % 2}" / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.full((30, 30, 3), 128) + np.random.default_rng(i).normal(0, 2, (30, 30, 3))
        path.write_bytes(png(i) if i == 60 else encoded(grey))
    stats = collect(make_model("se"), data, tmp_path / "run", Settings(batch_size=11, shard_size=110, sample=110),
                    split="train", workers=0, progress=False)
    named = directions.outliers(stats, summaries.dimension(stats))
    assert "class 0/060.png" in set(named["file"])

    def open_page(*data: str):
        monkeypatch.setattr(sys, "argv", ["app.py", "--statistics", str(tmp_path / "run"), *data])
        app = classes(statistics="run: se on data train, 110 pictures")
        fine(app)
        assert app.selectbox(key="statistics").value.startswith("run: ")
        return app

    absent = "The farthest pictures are not at hand here, so that they are named and not shown."
    for arguments in ([], ["--data", str(data / "train" / "class 1")]):
        app = open_page(*arguments)  # without, or with other data
        assert not thumbnails(app) and absent in sentences(app.caption)
    app = open_page("--data", str(data / "train" / "class 1"), "--data", str(data), "train")
    assert absent not in sentences(app.caption)
    parts = {file: list(rows["source"]) for file, rows in named.groupby("file", sort=False)}
    assert parts["class 0/060.png"] == ["gate", "squeeze"]
    assert thumbnails(app) == [f"{plain(Path(file).name)} ({plain(Path(file).parent.name)}), " + {
        ("gate",): "gate", ("squeeze",): "squeezed input z", ("gate", "squeeze"): "gate and squeezed input z"}[
            tuple(sources)] for file, sources in parts.items()]
    own = classes(run=False)  # a run that the visitor started, whose photos are nowhere else
    small = {int(index): Image.new("RGB", (8, 8)) for index in named["index"]}
    own.session_state["jobs"] = [SimpleNamespace(job=SimpleNamespace(
        out=str(tmp_path / "run"), outlying=small, total=110, used=110, succeeded=True, running=False, stopped=False,
        error=""))]
    monkeypatch.setattr(sys, "argv", ["app.py"])
    own.run()
    own.selectbox(key="statistics").set_value("se on data train, 110 pictures").run()
    fine(own)
    assert len(thumbnails(own)) == len(small) and absent not in sentences(own.caption)
    (data / "train" / "class 0" / "060.png").write_bytes(png(7) + b" ")  # of another size: other pictures
    st.cache_resource.clear()
    app = open_page("--data", str(data), "train")
    assert not thumbnails(app) and absent in sentences(app.caption)
    monkeypatch.setattr(sys, "argv", ["app.py", "--statistics", str(tmp_path / "run"), "--data", "/no/such place"])
    app = classes(statistics="run: se on data train, 110 pictures")
    fine(app, errors=1)
    assert sentences(app.error) == ["The farthest pictures cannot be opened; the server's log says why."]


def test_gates_outside_0_and_1_are_said(offered, tmp_path):
    torch.manual_seed(0)
    module = slim_resnet50("se", num_classes=2, widths=(4, 4, 8, 8))
    module.layer1[0].se = SqueezeExcite(module.layer1[0].se.expand.out_features, 4, excitation="tanh")
    module.layer1[0].se.expand.bias.data.fill_(-1)
    own = sv.Model(module, lambda image: torch.from_numpy(
        np.asarray(image.resize((32, 32)), np.float32) / 255).permute(2, 0, 1), ["a", "b"])
    contents = [png(i) for i in range(4)]
    collect(own, Pictures(contents.__getitem__, [0, 0, 1, 1], ["a", "b"]), tmp_path / "tanh",
            Settings(batch_size=4, shard_size=4), workers=0, progress=False)
    app = offered(tmp_path / "tanh")
    app.selectbox(key="statistics").set_value(app.selectbox(key="statistics").options[-1]).run()
    app.selectbox(key="class_block").set_value("SE_2_1").run()
    fine(app)
    for key in ("saturation", "channel_histogram"):
        assert "The gates of **SE_2_1** lie outside 0..1 in part, from -0." in sections(app)[key].text
    app.selectbox(key="class_block").set_value("SE_2_2").run()
    assert "outside 0..1" not in sections(app)["channel_histogram"].text


@pytest.mark.parametrize("name", LABELS)
def test_small_statistics(offered, runs, name):
    app = offered(runs / name, sample=NAMES[0], paper="true")
    app.selectbox(key="statistics").set_value(app.selectbox(key="statistics").options[-1]).run()
    fine(app)
    labelled, there = sum(label >= 0 for label in LABELS[name]), len(set(LABELS[name]) - {-1})
    missing = set()
    if not there:
        missing |= {"lines", "heat_map", "selective", "channel_classes"}
    if there < 2:
        missing |= {"pair", "separating"}
    if labelled <= there:
        missing |= {"nearest"}
    assert {*OF_DATA, *OF_PHOTOS} - set(sections(app)) == missing
    assert ("paper" in sections(app)) == (name not in ("few", "none"))  # as the paper's, not enlarged
    for section in sections(app).values():
        assert section.figure is None or section.figure.to_json()
    if not there:
        app.selectbox(key="overall").set_value("mean of pictures").run()
        fine(app)
        assert {t.name for t in sections(app)["lines"].figure.data} == {"all"}


def test_a_damaged_and_an_unfinished_run_are_a_sentence_each(offered, runs):
    app = offered(runs, sample=NAMES[0])
    fine(app, errors=2)
    assert "damaged" in sentences(app.error)[0] and "unfinished run" in sentences(app.error)[1]
    assert len(app.selectbox(key="statistics").options) == 2 + len(LABELS)
    assert app.selectbox(key="statistics").value.startswith(f"{SE} on tiny")


@pytest.mark.parametrize(("name", "said"), [("something else", "holds no statistics"), ("gone", "there is no folder")])
def test_a_folder_without_statistics_is_a_sentence(offered, runs, name, said):
    app = offered(runs / name, sample=NAMES[0])
    fine(app, errors=1)
    assert said in sentences(app.error)[0] and set(OF_DATA) < set(sections(app))


def test_without_any_statistics_a_run_can_be_started(classes, monkeypatch, tmp_path):
    from pages.parts import archives

    monkeypatch.setattr(archives, "EMBEDDED", tmp_path)
    app = classes(sample=NAMES[0])
    fine(app)
    assert [h.value for h in app.header] == ["Statistics over your own photos"] and not sections(app)
    assert "There are no statistics here yet" in sentences(app.info)[0]


# a run of one's own

def tree(names: list[str]) -> list[tuple[str, bytes, str]]:
    return [(name, png(i), "image/png") for i, name in enumerate(names)]


@pytest.fixture
def bare(classes):
    app = classes(run=False)
    app.session_state["sample"] = []
    return app.run()


FOLDERS = {
    "3 photos, 2 classes: cat (2), dog (1).": ["p/cat/1.png", "p/cat/2.png", "p/dog/3.png"],
    "2 photos, 1 class: cat (1), 1 in no sub-folder, without a class.": ["p/cat/a/1.png", "p/0.png"],
    "2 photos, 0 classes: 2 in no sub-folder, without a class.": ["p/1.png", "p/2.png"],
    "2 photos, 2 classes: cat (1), dog (1).": ["cat/1.png", "dog/2.png"],
    "3 photos, 2 classes: cat (1), dog (1), 1 in no sub-folder, without a class.": [
        "p/cat/1.png", "dog/2.png", "3.png"],
    "1 photo, 1 class: *b* (1).": ["p/*b*/1.png"],
}


def test_folders_are_classes(bare):
    for said, names in FOLDERS.items():
        bare.file_uploader(key="folders").set_value(tree(names)).run()
        fine(bare)
        assert said in sentences(bare.markdown)
    bare.file_uploader(key="folders").set_value([(f"p/c/{i}.png", b"x", "image/png") for i in range(501)]).run()
    fine(bare, errors=1)
    assert "501 photos are too many" in sentences(bare.error)[0] and "collect" not in [b.key for b in bare.button]


def run_over(app, files: list[tuple[str, bytes, str]], control: bool = False):
    """Start a run, wait for its end, and see the page."""
    app.file_uploader(key="folders").set_value(files).run()
    if not control:
        app.toggle(key="control").set_value(False)
    app.button(key="collect").click().run()
    job = app.session_state["jobs"][-1].job
    job.thread.join(120)
    app.run()
    return job


def test_a_run_over_ones_own_photos(bare, model, tmp_path):
    files = [*tree(["p/cat/1.png", "p/cat/2.png", "p/dog/3.png", "p/dog/4.png"]), ("p/dog/5.png", b"no", "image/png")]
    job = run_over(bare, files, control=True)
    fine(bare)
    assert sentences(bare.success)[0].startswith("Done: 4 photos, 1 could not be used.") and job.done == 5
    name = bare.selectbox(key="statistics").options[-1]
    assert name == f"{SE} on own pictures, 4 pictures" != bare.selectbox(key="statistics").value
    bare.selectbox(key="statistics").set_value(name).run()
    fine(bare)
    assert set(sections(bare)) == set(OF_DATA)
    assert "1 could not be used" in bare.caption[0].value and "**2** classes of 2" in bare.caption[0].value
    content = [content for _, content, _ in files]
    expected = collect(
        model, Pictures(content.__getitem__, [0, 0, 1, 1, 1], ["cat", "dog"], files=[name for name, *_ in files]),
        tmp_path / "own", Settings(batch_size=8, shard_size=8, random_weights=3), workers=0, progress=False)
    # of four pictures, ω² of a channel that hardly varies is half rounding, and that differs between threads
    pd.testing.assert_frame_equal(
        sections(bare)["depth"].table, summaries.specificity(expected), rtol=0.02, atol=5e-3)
    # a second run, in which the visitor's first one stays; another visitor sees neither
    assert run_over(bare, tree(["p/1.png"])) is not job
    assert bare.selectbox(key="statistics").options[-2:] == [name, f"{SE} on own pictures, 1 pictures"]


def test_runs_that_fail_are_one_sentence(bare, monkeypatch):
    run_over(bare, [("p/cat/1.png", b"no", "image/png")])
    fine(bare, errors=1)
    assert len(bare.selectbox(key="statistics").options) == 2 and not bare.success
    monkeypatch.setattr(sys.modules["senet_viz.collecting.runs"], "_compute", lambda *_: {}["weights"])
    run_over(bare, tree(["p/cat/1.png"]))
    fine(bare, errors=1)
    assert "The network fails (KeyError: 'weights')." in sentences(bare.error)
    monkeypatch.undo()
    run_over(bare, tree(["p/cat/1.png"]))  # and one can try again
    fine(bare)
    assert bare.success


def test_a_run_is_followed_and_cancelled(bare, monkeypatch):
    """It waits where the second shard would begin."""
    shards = sys.modules["senet_viz.collecting.runs"].Shards
    reached, go, original = threading.Event(), threading.Event(), shards.write

    def write(self, shard, result):
        original(self, shard, result)
        if shard == 0:
            reached.set()
            assert go.wait(60)

    monkeypatch.setattr(shards, "write", write)
    bare.file_uploader(key="folders").set_value(tree([f"p/cat/{i}.png" for i in range(20)])).run()
    bare.toggle(key="control").set_value(False)
    bare.button(key="collect").click().run()
    job = bare.session_state["jobs"][-1].job
    assert reached.wait(60)
    bare.run()
    fine(bare)
    assert bare.file_uploader(key="folders").proto.disabled and job.running
    bare.button(key="cancel").click().run()
    fine(bare)
    assert bare.button(key="cancel").disabled
    go.set()
    job.thread.join(60)
    bare.run()
    fine(bare)
    assert sentences(bare.info)[-1] == "Cancelled after 8 of 20 photos."
    assert len(bare.selectbox(key="statistics").options) == 2


def test_a_run_ends_with_its_visitor(bare):
    job = run_over(bare, tree(["p/cat/1.png"]))
    folder, cancelled = Path(job.folder.name), job.cancelled
    assert folder.is_dir() and not cancelled.is_set()
    del job
    bare.session_state["jobs"].clear()  # as the end of a session does
    gc.collect()
    assert cancelled.is_set() and not folder.exists()
