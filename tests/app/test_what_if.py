"""The What-if page: its numbers are the library's, edits go into text, link and scripts, and nothing is a traceback."""
import ast
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

import senet_viz as sv
from senet_viz import tables
from senet_viz.collecting import evaluate, open_evaluation
from senet_viz.data.datasets import Pictures
from senet_viz.experiments import over_data, what_if
from senet_viz.experiments.removal import channel_scores, removal_curve, removal_edits
from senet_viz.experiments.selectivity import channel_effects, each_channel, selectivity_findings
from senet_viz.models import embedded_models
from senet_viz.reports.html import report
from tests.app.checks import fine, png, same, sections, sentences

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "assets" / "samples"
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
LOOKED = ["what_overview", "what_block"]
OF_EDITS = ["what_changes", "what_cams", "what_travel"]
TRIED = ["what_blocks", "what_stages", "what_channels", "what_swap"]
EVALUATION = ROOT / "assets" / "evaluation"
OF_DATA = ["what_static", "what_data"] * EVALUATION.is_dir()
EDITS = {SE: "SE_5_1=mean\nSE_5_2=rank 2\nstage 4=*0.5\nSE_2_1=photo\nSE_5_3[7,9-12]=0",
         SK: "SK_4_1=5x5\nstage 3=mix 0.3 0.7"}

pytestmark = pytest.mark.skipif(
    not {SE, SK} <= set(embedded_models()) or not all(
        (ROOT / "assets" / "statistics" / name.partition("/")[2] / "metadata.json").is_file() for name in (SE, SK)),
    reason="the embedded models or their statistics are missing")


@pytest.fixture(scope="module")
def page(start):
    """``page(edits="SE_5_3=1")``: the page opened with these parameters, of two samples and the embedded SE model."""
    def open_page(run: bool = True, **parameters):
        app = start(run=False, **{"model": SE, "sample": ["ladybug", "teapot"], **parameters})
        app.switch_page("pages/what_if.py")
        return app.run() if run else app
    return open_page


@pytest.fixture(scope="module")
def shown(page) -> dict:
    """Model → the page with edits, nothing in it as it is at first."""
    return {SE: page(edits=EDITS[SE], what_picture="teapot", what_other="ladybug", what_class="espresso",
                     what_where="SE_4_3", what_channels_block="SE_3_1", what_channels_top="5",
                     what_blocks_of="probability", what_stages_of="logit"),
            SK: page(model=SK, edits=EDITS[SK])}


@pytest.fixture(scope="module")
def models() -> dict:
    return {name: sv.load(name, device="cpu") for name in (SE, SK)}


def of_data(name: str) -> list[str]:
    """The sections over a data set; of SK units no channel is removed."""
    channels = (EVALUATION / f"{name.partition('/')[2]}_channels").is_dir()
    return OF_DATA + ["what_removal"] * (channels and name == SE) + ["what_selectivity"] * channels


def batch(model: sv.Model, name: str) -> torch.Tensor:
    return model.batch([sv.open_image(SAMPLES / f"{name}.jpg")])


@pytest.mark.parametrize("name", [SE, SK])
def test_the_page_is_described_and_its_tables_are_offered(shown, name):
    app = shown[name]
    fine(app)
    expected = LOOKED + OF_EDITS + TRIED + ["what_sizes"] * (name == SK) + of_data(name)
    assert list(sections(app)) == expected
    assert {f"{key}_csv" for key in expected} | {"report"} == {button.key for button in app.get("download_button")}
    for key, section in sections(app).items():
        assert section.script and len(section.table) and section.text, key
        assert section.figure is None or len(section.figure.layout.meta["alt"]) > 40, key
    assert report("t", {}, sections(app).values()).count("Plotly.newPlot(") >= len(expected) - 1
    assert app.text_area(key="edits").value == EDITS[name]


@pytest.mark.parametrize("name", [SE, SK])
def test_numbers_are_the_librarys(shown, models, name):
    table, model = {key: section.table for key, section in sections(shown[name]).items()}, models[name]
    own, other = ("teapot", "ladybug") if name == SE else ("ladybug", "teapot")
    one = batch(model, own)
    before = sv.inspect(model, one)
    target = model.class_index("espresso") if name == SE else int(before.logits.argmax())
    stats = sv.open_statistics(ROOT / "assets" / "statistics" / name.partition("/")[2])
    edits = sv.parse_edits(EDITS[name], mean={b.name: stats.overall_mean(b) for b in stats.blocks},
                               rank=stats.rank,
                           photo=sv.record(model, batch(model, other)).gates)
    after = sv.inspect(model, one, edits=edits, targets=[target], layers=list(model.stages.values()))
    same(table["what_overview"], tables.summary({"as it is": before, "edited": after}))
    same(table["what_changes"], what_if.changes(before, after, model.class_labels, target))
    same(table["what_travel"], what_if.travel(before, after, edits))
    cams = table["what_cams"]
    assert list(cams[cams["picture"] == "edited"]["value"]) == pytest.approx(
        torch.cat([after.cams[layer].flatten() for layer in model.stages.values()]).tolist(), rel=1e-3, abs=1e-4)
    same(table["what_blocks"], what_if.each_block(model, one, target))
    same(table["what_stages"], what_if.each_stage(model, one, target))
    same(table["what_channels"], what_if.each_channel(model, one, "SE_3_1", target, 5) if name == SE
         else what_if.each_channel(model, one, "SK_5_3", target))
    same(table["what_swap"], what_if.swap(model, one, batch(model, other)))
    text = {key: section.text for key, section in sections(shown[name]).items()}
    assert what_if.describe_change(table["what_changes"], model.class_labels[target]) in text["what_changes"]
    assert what_if.describe_travel(table["what_travel"]) in text["what_travel"]
    for key in ("what_blocks", "what_stages", "what_channels"):
        assert what_if.describe_effects(table[key]) in text[key]
    if name == SK:
        image = sv.open_image(SAMPLES / "ladybug.jpg")
        same(table["what_sizes"], what_if.forced_sizes(model, image, target))
        assert what_if.describe_sizes(table["what_sizes"]) in text["what_sizes"]


@pytest.mark.parametrize(("name", "key"), [*((SE, key) for key in LOOKED + OF_EDITS + TRIED), (SK, "what_block"),
                                           (SK, "what_sizes")])
def test_the_script_gives_the_table(shown, name, key, run_script, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    section = sections(shown[name])[key]
    same(run_script(section.script), section.table)
    assert capsys.readouterr().out


@pytest.mark.skipif(not OF_DATA, reason="the embedded models were not evaluated")
@pytest.mark.parametrize("name", [SE, SK])
def test_the_evaluation_is_that_of_the_model(shown, name, run_script, monkeypatch):
    section, static = (sections(shown[name])[key] for key in ("what_data", "what_static"))
    folder = EVALUATION / name.partition("/")[2]
    table = open_evaluation(folder)
    found = over_data.static_or_dynamic(table, sv.load(name, device="cpu").blocks, folder)
    pd.testing.assert_frame_equal(section.table, table)
    pd.testing.assert_frame_equal(static.table, found[found["level"] == "stage"])
    assert over_data.describe_evaluation(table) in section.text and over_data.describe_static(found) in static.text
    monkeypatch.chdir(ROOT)
    for part in (section, static):
        assert name in part.script.replace("evaluation/", "demo/")
        pd.testing.assert_frame_equal(run_script(part.script), part.table)


def test_a_page_reaches_into_the_package_by_imports_alone():
    """``sv.gates.edits`` is there or not, by who has imported what before."""
    for path in (ROOT / "pages").glob("*.py"):
        used = {node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sv"}
        assert used <= set(sv.__all__), path.name


# editing

def test_edit_undo_reset_and_sliders(page):
    app = page(sample=["ladybug"])
    fine(app)
    assert list(sections(app)) == LOOKED + TRIED[:3] + of_data(SE) and "There are no edits" in sentences(app.info)[0]
    assert "Choose two photos" in sentences(app.info)[1] and app.button(key="what_undo").disabled

    def text() -> str:
        fine(app)
        return app.text_area(key="edits").value

    app.selectbox(key="what_where").set_value("SE_4_2")
    app.button(key="what_add").click().run()
    assert text() == "SE_5_3=1"  # what the button said when it was pressed
    app.selectbox(key="what_kind").set_value("scaled").run()
    app.slider(key="what_factor").set_value(1.5)
    app.text_input(key="what_of").set_value("7, 9-12").run()
    app.button(key="what_add").click().run()
    assert text() == "SE_5_3=1\nSE_4_2[7, 9-12]=*1.5" and set(OF_EDITS) < set(sections(app))
    app.select_slider(key="what_stage_3").set_value("×0.5").run()
    assert text().endswith("\nstage 3=*0.5")
    app.select_slider(key="what_stage_3").set_value("×2").run()
    assert text().count("stage 3=") == 1 and text().endswith("\nstage 3=*2")
    app.button(key="what_undo").click().run()
    assert text().endswith("=*0.5") and app.select_slider(key="what_stage_3").value == "×0.5"
    app.select_slider(key="what_stage_3").set_value("own").run()
    assert "stage" not in text()
    app.text_area(key="edits").set_value("SE_2_1=0; SE_2_2=top 3").run()  # by hand
    edited = sections(app)["what_travel"].table
    assert list(edited["label"][edited["edited"]]) == ["SE_2_1", "SE_2_2"]
    app.button(key="what_reset").click().run()
    assert text() == "" and not set(OF_EDITS) & set(sections(app)) and app.button(key="what_reset").disabled
    for _ in range(6):
        app.button(key="what_undo").click().run()
    assert text() == "" and app.button(key="what_undo").disabled


def test_what_a_unit_can_be_set_to(page):
    app, values = page(model=SK), []
    assert app.selectbox(key="what_kind").options == [
        "all 3x3", "all 5x5", "a mixture", "uniform", "shuffled over channels", "its mean over a data set",
        "its mean and first directions", "another photo's"]
    for kind, value in (("a mixture", "mix 0.5 0.5"), ("another photo's", "photo"), ("all 3x3", "3x3"),
                        ("its mean and first directions", "rank 1")):
        app.selectbox(key="what_kind").set_value(kind).run()
        app.button(key="what_add").click().run()
        fine(app)
        values.append(f"SK_5_3={value}")
        assert app.text_area(key="edits").value == "\n".join(values) and set(OF_EDITS) < set(sections(app))


def test_what_cannot_be_edited_is_one_sentence(page):
    app = page(sample=["ladybug"], edits="SE_9_9=1")  # a link of another network
    for edits, said in (
            ("", "SE_9_9=1 matches no block; the network's are: SE_2_1,"), ("rubbish", "'rubbish' is no edit"),
            ("SE_5_3=blue", "'blue' is no value of a gate"),
            ("SE_5_3[600]=0", "SE_5_3 has the channels 0 to 511, not 600"),
            ("SE_5_3=photo", "There is no other photo here"),
            ("*=shuffle classes", "*=shuffle classes takes pictures whose classes are known"),
            ("*=*1e38", "not finite with these edits")):
        if edits:
            app.text_area(key="edits").set_value(edits).run()
        fine(app, errors=1)
        assert said in sentences(app.error)[0]
        assert list(sections(app)) == LOOKED + TRIED[:3] + of_data(SE)
        assert "There are no edits" not in " ".join(sentences(app.info))


def test_bad_photos_and_classes(page, start):
    app = page(what_class="unicorn", sample=["ladybug"], what_where="SK_1_1", what_other="x", what_picture="gone",
               what_channels_top="99", what_blocks_of="y")
    fine(app, errors=1)
    assert "has no class 'unicorn'" in sentences(app.error)[0]
    assert list(sections(app)) == LOOKED + TRIED[:3] + of_data(SE)
    app = start(run=False)
    app.switch_page("pages/what_if.py")
    app.session_state["sample"] = []
    app.run()
    fine(app)
    assert "Upload a photo" in sentences(app.info)[0] and not sections(app)
    app.file_uploader(key="uploads").set_value([("letter.jpg", b"Dear Sir", "image/jpeg")]).run()
    fine(app, errors=1)
    app.file_uploader(key="uploads").set_value([
        ("letter.jpg", b"Dear Sir", "image/jpeg"),
        *((f"<b>{i}</b>.png", png(i), "image/png") for i in range(2))]).run()
    fine(app, errors=1)
    assert list(sections(app)) == LOOKED + TRIED + of_data(SE)


class Inline(nn.Module):
    """Gates that no module gives, one of them on random weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(3, 16, 3, 4, 1), nn.Linear(16, 3)
        self.convs = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.gates = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))

    def forward(self, x):
        x = self.stem(x).relu()
        for conv, gate in zip(self.convs, self.gates):
            u = conv(x)
            x = (x + u * gate(u.mean((2, 3))).sigmoid()[:, :, None, None]).relu()
        return self.head(x.mean((2, 3)))


def inline() -> sv.Model:
    from torchvision.transforms import v2
    return sv.Model(Inline(), v2.Compose([v2.Resize((64, 64)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
                    ["cat", "d*o*g", "$cow$"])


def test_inline_gates_of_random_weights_without_statistics(start, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["app.py", "--model", "tests.app.test_what_if:inline"])
    app = start(run=False, sample=["ladybug", "teapot"])
    app.switch_page("pages/what_if.py")
    app.run()
    fine(app)
    assert list(sections(app)) == LOOKED + TRIED
    labels = list(dict.fromkeys(sections(app)["what_overview"].table["label"]))
    app.text_area(key="edits").set_value(f"{labels[0]}=mean").run()
    fine(app, errors=1)
    assert "There are no statistics of" in sentences(app.error)[0]
    app.text_area(key="edits").set_value(f"{labels[0]}=0.2").run()
    fine(app)
    assert set(OF_EDITS) < set(sections(app))


def test_single_channels_and_removed_ones(page, run_script, monkeypatch, tmp_path):
    """An evaluation of these, found beside the others, has sections of its own."""
    model, stats = sv.load(SE, device="cpu"), sv.open_statistics(ROOT / "assets" / "statistics" / "se_resnet50_slim")
    files = sorted(SAMPLES.glob("*.jpg"))
    pictures = Pictures([path.read_bytes() for path in files].__getitem__, [i % 3 for i in range(len(files))],
                        model.classes)
    edits = {edit: edit for edit in each_channel(model.blocks[-1:], 9)} | removal_edits(
        channel_scores(model, stats, pictures.spread(4, model.transform)), [0.5])
    evaluate(model, pictures, tmp_path / "evaluation" / "channels", edits, statistics=stats, workers=0, progress=False)
    monkeypatch.setattr("pages.parts.over_data.ASSETS", tmp_path)
    shown = sections(page())
    effects = channel_effects(tmp_path / "evaluation" / "channels", stats, model.classes)
    same(shown["what_selectivity"].table, effects)
    assert len(effects) == 9 and all(
        sentence in shown["what_selectivity"].text for sentence in selectivity_findings(stats, effects))
    table = open_evaluation(tmp_path / "evaluation" / "channels")
    same(shown["what_removal"].table, removal_curve(table))
    for key in ("what_selectivity", "what_removal"):
        same(run_script(shown[key].script), shown[key].table)
