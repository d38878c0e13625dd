"""The Anatomy page: its numbers are the library's, each part says what it needs, and nothing ends in a traceback."""
import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import senet_viz as sv
from senet_viz.experiments import anatomy, cost, variants
from senet_viz.models import embedded_models
from senet_viz.reports import scripts
from senet_viz.reports.html import report
from senet_viz.training.ablation_folder import ABLATION
from senet_viz.training.ablation_sections import EMBEDDED
from tests.app.checks import fine, png, same, sections, sentences

ROOT = Path(__file__).resolve().parents[2]
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
OF_BLOCK = {SE: ["se_strips", "se_channel"], SK: ["sk_strips", "sk_channel"]}
OF_VARIANTS = ["variants", "variant_effects", "variant_errors"]
OF_COST = [*["ablations"] * (EMBEDDED / ABLATION).is_file(), "se_cost", "sk_cost", "sk_networks", "ratio"]

pytestmark = pytest.mark.skipif(not {SE, SK} <= set(embedded_models()), reason="the embedded models are missing")


@pytest.fixture(scope="module")
def page(start):
    """``page(se_block="SE_3_2")``: the page opened with these parameters, of one sample and the embedded SE model."""
    def open_page(run: bool = True, **parameters):
        app = start(run=False, **{"model": SE, "sample": "ladybug", **parameters})
        app.switch_page("pages/anatomy.py")
        return app.run() if run else app
    return open_page


@pytest.fixture(scope="module")
def shown(page) -> dict:
    """Model → the page, nothing in it as it is at first."""
    return {SE: page(se_block="SE_3_2", se_of="7", variant_block="SE_4_3", se_r="4", se_width="32", se_bias="true"),
            SK: page(model=SK, sk_block="SK_4_2", sk_of="3", variant_block="SK_3_1", sk_m="3", sk_g="16", sk_r="8",
                     sk_l="64", sk_width="256")}


@pytest.mark.parametrize("name", [SE, SK])
def test_the_page_is_described_and_its_tables_are_offered(shown, name):
    app = shown[name]
    fine(app)
    found = sections(app)
    assert list(found) == [*OF_BLOCK[name], *OF_VARIANTS, *OF_COST]
    assert {button.key for button in app.get("download_button")} == {"report", *(f"{key}_csv" for key in found)}
    for key, section in found.items():
        assert section.script and len(section.table), key
        assert key in ("variant_effects", "variant_errors") or len(section.figure.layout.meta["alt"]) > 40, key
    assert report("t", {}, found.values()).count("Plotly.newPlot(") == len(found) - 2


def test_a_point_is_a_decimal_point_in_every_browser(shown):
    """A German one would write 441.136 parameters beside a top-1 of 30.9."""
    columns = [json.loads(frame.proto.columns) for frame in shown[SE].dataframe]
    formats = [column["type_config"]["format"] for table in columns for column in table.values()
               if (column.get("type_config") or {}).get("format")]
    assert "%,d" in formats and "localized" not in formats


@pytest.mark.parametrize(("name", "label", "channel", "other"), [
    (SE, "SE_3_2", 7, "SE_4_3"), (SK, "SK_4_2", 3, "SK_3_1")])
def test_numbers_and_sentences_are_the_librarys(shown, name, label, channel, other):
    model = sv.load(name, device="cpu")
    batch = model.batch([sv.open_image(ROOT / "assets/samples/ladybug.jpg")])
    others = model.batch([sv.open_image(path) for path in sorted((ROOT / "assets/samples").glob("*.jpg"))
                          if path.stem != "ladybug"])
    found, run = anatomy.dissect(model, batch, label), variants.variants(model, batch, other, others)
    stats = sv.open_statistics(ROOT / "assets" / "statistics" / name.partition("/")[2])
    strips, maps = (sections(shown[name])[key] for key in OF_BLOCK[name])
    same(strips.table, anatomy.strips(found))
    same(maps.table, anatomy.cells(found, channel))
    assert anatomy.describe(found, stats) in strips.text and "count as" in strips.text
    assert anatomy.describe_channel(found, channel)[0] in maps.text
    formulae = anatomy.formulae(found)
    assert [line.value.strip("$\n") for line in shown[name].latex][:len(formulae)] == formulae
    assert {shape.x0 for shape in strips.figure.layout.shapes} == {channel - 0.5}
    effects = sections(shown[name])["variant_effects"].table
    same(effects.drop(columns="class"), variants.table(run, model.class_labels).drop(columns="class"))
    same(sections(shown[name])["variants"].table, variants.strips(run))
    same(sections(shown[name])["variant_errors"].table, variants.beside(run, variants.table(run, model.class_labels)))
    said = "\n".join(sentences(shown[name].markdown))
    assert all(sentence.partition(":")[0] in said for sentence in variants.findings(run))
    assert "Swapped in, not retrained" in said and variants.published() in said


def test_costs_are_the_librarys(shown):
    for name, found in ((SE, cost.se_cost(4, 32, True)), (SK, cost.sk_cost(3, 16, 8, 64, 256))):
        key = "se_cost" if name == SE else "sk_cost"
        same(sections(shown[name])[key].table, found.table)
        metrics = [metric.value for metric in shown[name].metric][:4] if name == SE else [
            metric.value for metric in shown[name].metric][4:]
        assert metrics == [f"{found.attention:,}", f"{found.share:.2%}", f"{found.parameters:,}",
                           f"{found.macs / 1e9:.3f}"]
        assert cost.describe(found) in sections(shown[name])[key].text
    assert cost.formula(cost.se_cost(4, 32, True), 4) in [line.value.strip("$\n") for line in shown[SE].latex]
    same(sections(shown[SE])["ratio"].table, cost.reductions())
    assert cost.balance(cost.reductions()) in sections(shown[SE])["ratio"].text


@pytest.mark.parametrize(("name", "key"), [
    *((SE, key) for key in [*OF_BLOCK[SE], *OF_VARIANTS, "se_cost", "ratio", "sk_networks"]),
    *((SK, key) for key in [*OF_BLOCK[SK], *OF_VARIANTS, "sk_cost"])])
def test_the_script_gives_the_table(shown, name, key, run_script, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    section = sections(shown[name])[key]
    same(run_script(section.script), section.table)
    assert capsys.readouterr().out


@pytest.mark.parametrize(("key", "table", "says"), [
    ("se_networks", cost.se_networks, "SE paper, Sec. 5.1"), ("se_choices", cost.ablations, "SE paper, Sec. 6.2"),
    ("sk_competitors", cost.competitors, "SK paper, Table 2"), ("sk_kernels", cost.kernels, "SK paper, Sec. 4.3")])
def test_published_tables_are_counted_when_they_are_opened(page, key, table, says, run_script, capsys):
    app = page(sample="teapot", **{f"{key}_open": "true"})
    fine(app)
    section = sections(app)[key]
    pd.testing.assert_frame_equal(section.table, table())
    assert says in section.text and {"se_networks", "se_choices", "sk_competitors", "sk_kernels"} & set(
        sections(app)) == {key}
    pd.testing.assert_frame_equal(run_script(section.script), section.table)
    assert capsys.readouterr().out


def test_scripts_take_any_path():
    ugly = "a'b\"c\n{x}\\"
    compile(scripts.of_block("model = None", ugly, "anatomy", "result = 1"), "script", "exec")
    assert repr(ugly) in scripts.of_block("model = None", ugly, "anatomy", "result = 1")


@pytest.mark.parametrize(("name", "other", "said"), [
    (SE, SK, "takes a selective-kernel network"), (SK, SE, "takes a squeeze-and-excitation network")])
def test_a_model_of_the_other_kind_says_what_each_part_takes(page, name, other, said):
    app = page(model=name)
    fine(app)
    [note] = sentences(app.info)
    assert said in note and name in note
    next(button for button in app.button if other in button.label).click().run()
    fine(app)
    assert app.session_state["loaded"].model.name == other
    assert list(sections(app)) == [*OF_BLOCK[other], *OF_VARIANTS, *OF_COST]


def test_a_slider_runs_no_forward_and_a_channel_changes_its_maps_only(page):
    app = page()
    model, forwards = app.session_state["loaded"].model, []
    handle = model.module.register_forward_pre_hook(lambda _, inputs: forwards.append(len(inputs[0])))
    try:
        before = {key: section.figure.to_json() for key, section in sections(app).items() if section.figure}
        app.number_input(key="se_of").set_value(12)
        app.select_slider(key="se_r").set_value(8)
        app.slider(key="sk_m").set_value(4)
        app.run()
        fine(app)
        changed = {key for key, figure in before.items() if sections(app)[key].figure.to_json() != figure}
        assert not forwards and changed == {"se_strips", "se_channel", "se_cost", "sk_cost", "sk_networks"}
        app.selectbox(key="se_block").set_value("SE_2_1").run()
        assert forwards == [1] and app.number_input(key="se_of").value == 12
    finally:
        handle.remove()


def test_pictures_that_are_odd_or_none(page):
    app = page()
    app.pills(key="sample").set_value([]).run()
    fine(app)
    assert "Upload a photo" in sentences(app.info)[0] and list(sections(app)) == OF_COST
    app.file_uploader(key="uploads").set_value([("<b>letter.jpg", b"Dear Sir", "image/jpeg")]).run()
    fine(app, errors=1)
    assert sentences(app.error)[0].startswith("**<b>letter.jpg**: The ") and list(sections(app)) == OF_COST
    app.file_uploader(key="uploads").set_value(
        [("one.png", png(0, 1, 1), "image/png"), ("grey.png", grey(), "image/png")]).run()
    fine(app)
    assert list(sections(app)) == [*OF_BLOCK[SE], *OF_VARIANTS, *OF_COST]
    app.selectbox(key="anatomy_picture").set_value("grey.png").run()
    fine(app)
    assert "grey" in sections(app)["se_strips"].text


def grey() -> bytes:
    """A picture of one channel."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png())).convert("L").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_link_from_another_time_still_opens(page):
    app = page(se_block="SE_9_9", se_of="99999", variant_block="none", se_r="3", se_width="abc", sk_m="77", sk_g="5")
    fine(app)
    # the last of those whose gates move in more than one direction
    assert {app.selectbox(key=f"{key}_block").value for key in ("se", "variant")} == {"SE_5_3"}
    assert app.number_input(key="se_of").value == 0
    assert list(sections(app)) == [*OF_BLOCK[SE], *OF_VARIANTS, *OF_COST]


# what an operator gives

FACTORY = """
import torch
from torch import nn
import senet_viz as sv
from torchvision.transforms.functional import to_tensor
from senet_viz.models import slim_resnet50
from senet_viz.layers import SelectiveKernel, SqueezeExcite

def model(module, classes=("one", "two", "three")):
    torch.manual_seed(0)
    return sv.Model(module, lambda image: to_tensor(image.resize((32, 32))), classes, name="my <b>own</b>")

class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 3), nn.Linear(3, 6)

    def forward(self, x):
        s = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3))))))
        return x * s[..., None, None]

class Ungiven(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        return x * torch.sigmoid(x.mean((2, 3)) @ self.weight)[..., None, None]

def around(block):
    torch.manual_seed(0)
    return model(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), block, nn.Conv2d(6, 3, 3), nn.AdaptiveAvgPool2d(1),
                               nn.Flatten()))

def functional():
    torch.manual_seed(1)
    return around(Functional())

def ungiven():
    return around(Ungiven())

def both():
    return around(nn.Sequential(SqueezeExcite(6, 2, excitation="tanh"), SelectiveKernel(6, branches=3, min_width=2)))

def miscounted():
    return model(slim_resnet50("se", num_classes=3, widths=(4, 4, 8, 8)), ["one", "two"])
"""


@pytest.fixture
def operator(tmp_path, monkeypatch, page):
    """``operator("functional")``: the page with a network of one's own."""
    (tmp_path / "own_anatomy.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)

    def open_app(name: str, **parameters):
        monkeypatch.setattr(sys, "argv", ["app.py", "--model", f"own_anatomy:{name}"])
        return page(model=f"own_anatomy:{name}", **parameters)
    yield open_app
    sys.modules.pop("own_anatomy", None)


def test_gates_of_functions(operator):
    app = operator("functional")
    fine(app)
    assert "above zero" in sections(app)["se_strips"].text and "ReLU" in app.latex[1].value
    app = operator("ungiven")
    fine(app)
    assert "nothing is known of it between" in sections(app)["se_strips"].text
    assert list(sections(app)["variants"].table["strip"].unique()) == [variants.OWN]


def test_a_network_with_both_kinds_and_three_branches(operator):
    app = operator("both")
    fine(app)
    assert list(sections(app)) == [*OF_BLOCK[SE], *OF_BLOCK[SK], *OF_VARIANTS, *OF_COST]
    assert "7×7" in "".join(sections(app)["sk_strips"].table["strip"]) and "M = 3" in "".join(
        line.value for line in app.latex)
    assert r"\\tanh" in repr([line.value for line in app.latex]) and not app.info


def test_a_network_whose_output_does_not_fit_says_nothing_of_classes(operator):
    app = operator("miscounted")
    fine(app)
    assert "3 logits, but there are 2 class names: what another gate" in "".join(sentences(app.info))
    assert list(sections(app)) == [*OF_BLOCK[SE], *OF_VARIANTS, *OF_COST]
    assert sections(app)["variant_effects"].table["own class"].isna().all()
