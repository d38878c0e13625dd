"""The Explore page: what stands on it, what it says to bad input, what it keeps, what it computes once."""
import io
import os
import pickle
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from streamlit.runtime.pages_manager import PagesManager

import senet_viz as sv
from senet_viz import tables
from senet_viz.experiments import attribution
from senet_viz.experiments.looking import look
from senet_viz.experiments.picture_report import report_sections
from senet_viz.experiments.picture_sections import PictureSections
from senet_viz.models import embedded_models
from senet_viz.reports.html import report
from senet_viz.statistics import directions
from tests.app import checks
from tests.app.checks import sections, sentences

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "assets" / "samples").glob("*.jpg"))
NAMES = [path.stem.replace("_", " ") for path in SAMPLES]
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
EVERY = {"predictions", "all_blocks", "excitation", "channel_maps", "differences", "grad_cam", "gate_change",
         "contribution"}

pytestmark = pytest.mark.skipif(not SAMPLES or not {SE, SK} <= set(embedded_models()),
                                reason="the embedded models or the sample pictures are missing")


def png(seed: int = 0, side: int = 70, kind: str = "PNG") -> bytes:
    """A picture of noise."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def huge() -> bytes:
    """A true PNG of 20,000 × 20,000 pixels, all black, of a few dozen kilobytes."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    rows = zlib.compress(bytes((20_000 // 8 + 1) * 20_000), 9)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
            + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def saved(state: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def fine(app, errors: int = 0) -> None:
    """And whole sentences."""
    checks.fine(app, errors)
    assert all(sentence.rstrip().endswith(".") for sentence in sentences(app.error))


def texts(app) -> str:
    return "\n".join(sentences(app.markdown))


# first start

@pytest.fixture(scope="module")
def first(start):
    return start()


@pytest.fixture(scope="module")
def selective(start):
    return start(model=SK, sample=NAMES[:3])


@pytest.fixture(scope="module")
def views():
    """What the library says about the two samples of the first start."""
    model = sv.load(SE, device="cpu")
    return model, {name: sv.inspect(model, model.batch([sv.open_image(path)]))
                   for name, path in zip(NAMES, SAMPLES[:2])}


def test_the_first_start_shows_an_embedded_model_and_samples(first):
    fine(first)
    assert first.session_state["loaded"].model.name == SE
    assert first.session_state["sample"] == NAMES[:2]
    assert set(sections(first)) == EVERY
    assert [h.value for h in first.header] == [
        "Predictions", "All blocks at a glance", "One block, channel by channel", "Channels that differ most",
        "Where the network looks", "Gate and contribution", "The whole page"]


def test_the_first_start_says_what_the_model_is(first, views):
    model, _ = views
    said = "\n".join(sentences(first.sidebar.markdown))
    assert f"{sum(p.numel() for p in model.module.parameters()):,}" in said
    assert f"{len(model.classes)}" in said and "16 SE blocks" in said and model.info["Accuracy"] in said
    assert f"({len(model.classes)} classes, 64 px)" in texts(first)  # wherever the model speaks


def test_a_block_says_in_how_many_directions_its_gate_moves(first):
    stats = sv.open_statistics(ROOT / "assets" / "statistics" / "se_resnet50_slim")
    assert directions.mark(stats, first.selectbox(key="block").value) in [caption.value for caption in first.caption]


def test_predictions_are_the_librarys(first, views):
    model, seen = views
    table = sections(first)["predictions"].table
    for name, view in seen.items():
        shares = torch.softmax(view.logits[0], 0)
        rows = table[table["picture"] == name]
        assert rows["class"].tolist() == [model.classes[i] for i in shares.argsort(descending=True)[:5]]
        np.testing.assert_allclose(rows["probability"], shares.sort(descending=True).values[:5], rtol=1e-4)


def test_gates_are_the_librarys(first, views):
    model, seen = views
    pd.testing.assert_frame_equal(sections(first)["all_blocks"].table, tables.summary(seen), rtol=1e-4, atol=1e-6)
    pd.testing.assert_frame_equal(
        sections(first)["excitation"].table, tables.gates(seen, model.blocks[-1]), rtol=1e-4, atol=1e-6)


def check_every_section(app):
    for key, section in sections(app).items():
        if section.figure is not None:
            assert section.figure.layout.meta["alt"], key
        assert section.table is not None and len(section.table), key
        buttons = [button.key for button in app.get("download_button")]
        assert f"{key}_csv" in buttons and "report" in buttons
    assert {code.language for code in app.code} == {"python"}
    assert {code.value.strip() for code in app.code} == {s.script.strip() for s in sections(app).values() if s.script}


def test_every_figure_is_described_and_every_table_offered(first):
    check_every_section(first)


def test_the_selective_kernel_model_shows_its_kernels(selective):
    fine(selective)
    assert set(sections(selective)) == EVERY | {"kernels"}
    check_every_section(selective)
    table = sections(selective)["kernels"].table
    assert len(table) == 16 * 3 and set(table["largest"]) == {"5×5"}
    # the mean difference of two weights that sum to 1
    larger = sections(selective)["all_blocks"].table.query("kernel == '5×5'")
    np.testing.assert_allclose(table["difference"], 2 * larger["mean"].to_numpy() - 1, atol=1e-6)


def test_quantities_of_a_selective_kernel_unit(selective):
    table = sections(selective)["excitation"].table
    wide = table.pivot(index=["picture", "channel"], columns="kernel", values="value")
    for quantity, expected in (("weight of 3×3", wide["3×3"]), ("weight of 5×5", wide["5×5"]),
                               ("5×5 − 3×3", wide["5×5"] - wide["3×3"])):
        selective.selectbox(key="quantity").set_value(quantity).run()
        fine(selective)
        for trace, name in zip(sections(selective)["excitation"].figure.data, NAMES):
            np.testing.assert_allclose(trace.y, expected[name].loc[list(trace.customdata)], atol=1e-6)
            assert trace.name == name  # pictures keep their order and so their colours


def test_channels_can_be_ordered(start):
    def asked(app):
        return [box.key for box in app.selectbox if box.key in ("first", "second")]

    app = start(sample=NAMES[:2], block="SE_4_2", channels="all")
    section = sections(app)["excitation"]
    wide = section.table.pivot(index="channel", columns="picture", values="value")
    one, two = NAMES[:2]
    assert list(section.figure.data[0].customdata) == list(range(len(wide)))
    assert not asked(app)
    for order, values, of in (("value in the first picture", wide[one], ["first"]),
                              ("difference of the two pictures", wide[two] - wide[one], ["first", "second"])):
        app.selectbox(key="order").set_value(order).run()
        fine(app)
        assert asked(app) == of  # a box is there where it does something
        drawn = list(sections(app)["excitation"].figure.data[0].customdata)
        assert sorted(drawn) == list(range(len(wide))) and (np.diff(values.loc[drawn]) <= 0).all()


def test_differences_of_two_chosen_pictures(first, views):
    _, seen = views
    pd.testing.assert_frame_equal(
        sections(first)["differences"].table, tables.differences(*seen.values(), top=20), rtol=1e-3, atol=1e-5)
    assert "differ most" in texts(first) or "differ most" in sections(first)["differences"].text


def test_the_report_holds_what_the_page_shows(first):
    shown = sections(first)
    document = report("t", {}, shown.values())
    for section in shown.values():
        assert f"<h2>{section.title}</h2>" in document
    assert document.count("Plotly.newPlot(") >= sum(s.figure is not None for s in shown.values())


def test_a_report_without_the_page_has_what_the_page_begins_with(start):
    for app, count in ((start(sample=NAMES[:2]), 2), (start(model=SK, sample=NAMES[:3]), 3)):
        loaded, paths = app.session_state["loaded"], dict(zip(NAMES, SAMPLES[:count]))
        looks = {name: look(loaded.model, sv.open_image(path)) for name, path in paths.items()}
        pictures = PictureSections(
            loaded.model, loaded.code, {name: str(path.relative_to(ROOT)) for name, path in paths.items()},
            {name: found.view for name, found in looks.items()}, {name: found.seen for name, found in looks.items()})
        found, shown = report_sections(pictures), sections(app)
        assert list(found) == list(shown)
        for key, section in found.items():
            assert section.title == shown[key].title and section.script == shown[key].script, key
            assert section.text.endswith(shown[key].text), key
            pd.testing.assert_frame_equal(section.table, shown[key].table, rtol=1e-3, atol=1e-5)
            if section.figure is not None:
                assert [trace.name for trace in section.figure.data] == [t.name for t in shown[key].figure.data], key
                assert section.figure.layout.meta == shown[key].figure.layout.meta, key


def test_no_pictures_is_an_invitation(start):
    app = start(run=False)
    app.run()
    app.pills(key="sample").set_value([]).run()
    fine(app)
    assert not sections(app) and ["Upload photos or choose a sample picture to begin."] == sentences(app.info)


def test_one_picture_has_nothing_to_be_compared_with(start):
    app = start(sample=NAMES[0])
    fine(app)
    assert "differences" not in sections(app) and EVERY - {"differences"} == set(sections(app))
    assert "Choose two pictures or more to compare their gates." in sentences(app.info)


# links

def test_a_link_restores_the_page(start):
    chosen = [NAMES[2], NAMES[0]]
    label = sv.load(SK, device="cpu").class_labels[7]
    app = start(**{"model": SK, "block": "SK_3_2", "class": label, "sample": chosen, "opacity": "0.25", "channel": "5",
                   "channels": "all", "smooth": "false", "change": "SK_4_1"})
    fine(app)
    assert app.session_state["loaded"].model.name == SK and app.session_state["class"] == label
    assert set(sections(app)["predictions"].table["picture"]) == set(chosen)
    assert sections(app)["excitation"].title.startswith("SK_3_2") and "SK_4_1" in sections(app)["gate_change"].title
    assert sections(app)["channel_maps"].title == "Channel 5 of SK_3_2"
    block = next(block for block in app.session_state["loaded"].model.blocks if block.label == "SK_3_2")
    assert len(sections(app)["excitation"].figure.data[0].x) == block.channels  # all, not every s-th
    maps = [trace for trace in sections(app)["grad_cam"].figure.data if trace.type == "heatmap"]
    assert {trace.opacity for trace in maps} == {0.25} and {trace.zsmooth for trace in maps} == {False}
    assert label in sections(app)["grad_cam"].figure.layout.meta["alt"]


def test_a_link_from_another_time_still_opens(start):
    app = start(block="SE_9_9", sample="not there any more", opacity="7", channel="99999", channels="none", change="x",
                first="x", rows="-3", quantity="weight of 9×9", device="cuda:77")
    fine(app)
    assert set(sections(app)) == EVERY


def test_a_link_names_the_photos_that_it_cannot_carry(start):
    app = start(photo=["my cat.jpg", "<b>$x$.png"])
    fine(app)
    note = [text for text in sentences(app.info) if "my cat.jpg" in text]
    assert len(note) == 1 and "<b>$x$.png" in note[0] and "were uploaded" in note[0]
    app.file_uploader(key="uploads").set_value([("new.png", png(), "image/png")]).run()
    fine(app)
    assert app.query_params["photo"] == "new.png"
    assert not [text for text in sentences(app.info) if "were uploaded" in text]
    app.file_uploader(key="uploads").set_value([]).run()
    assert "photo" not in app.query_params


def test_samples_that_nobody_chose_give_way_to_the_first_photos(start):
    app = start()
    photos = [(f"{i}.png", png(i), "image/png") for i in range(3)]
    app.file_uploader(key="uploads").set_value(photos).run()
    fine(app)
    assert list(sections(app)["predictions"].table["picture"].drop_duplicates()) == ["0.png", "1.png", "2.png"]
    app.button_group(key="sample").set_value([NAMES[3]]).run()
    app.file_uploader(key="uploads").set_value(photos[:1]).run()
    assert list(sections(app)["predictions"].table["picture"].drop_duplicates()) == ["0.png", NAMES[3]]
    app.file_uploader(key="uploads").set_value([]).run()
    app.file_uploader(key="uploads").set_value(photos[:1]).run()  # the sample is there because it was chosen
    assert list(sections(app)["predictions"].table["picture"].drop_duplicates()) == ["0.png", NAMES[3]]


def test_a_tab_that_outlived_its_server_finds_the_page(start, warm_server):
    """A new server runs the file in pages/ that the tab names, without app.py."""
    with warm_server.context() as patch:
        patch.undo()
        patch.setattr(PagesManager, "uses_pages_directory", None)
        app = start(run=False, sample=[NAMES[1], NAMES[2]], block="SE_2_3")
        app.switch_page("pages/explore.py").run()
    fine(app)
    assert app.sidebar.selectbox(key="model") and app.session_state["block"] == "SE_2_3"
    assert set(sections(app)["predictions"].table["picture"]) == {NAMES[1], NAMES[2]}


# models

def test_the_other_model_is_one_choice_away(start):
    app = start(block="SE_4_3")
    app.selectbox(key="model").set_value(SK).run()
    fine(app)
    assert app.session_state["loaded"].model.name == SK and app.session_state["block"].startswith("SK_")
    assert "kernels" in sections(app)
    app.selectbox(key="model").set_value(SE).run()
    fine(app)
    assert app.session_state["loaded"].model.name == SE and "kernels" not in sections(app)


@pytest.fixture(scope="module")
def bare(start):
    """The app without pictures: what concerns the model alone is quick to try."""
    app = start()
    app.pills(key="sample").set_value([]).run()
    return app


def test_a_name_that_does_not_exist_leaves_the_page_at_work(start):
    app = start(model="timm/seresnet5o", sample=NAMES[:2])
    fine(app, errors=1)
    assert "timm has no model 'seresnet5o'" in sentences(app.error)[0] and "seresnet50" in sentences(app.error)[0]
    assert set(sections(app)) == EVERY and f"The page goes on with {SE}." in sentences(app.caption)


@pytest.mark.parametrize(("name", "said"), [
    ("torchvision/efficientnet_b9000", "torchvision has no classification, segmentation or detection model"),
    ("demo/nothing", "There is no embedded model"),
    ("nonsense", "names no model"),
    ("timm/", "names no model"),
    ("file:/etc/passwd", "is a path on the server"),
    ("file:assets/models/se_resnet50_slim.safetensors", "is a path on the server"),
    ("timm/local-dir:/etc", "is a path on the server"),
    ("timm/Local-Dir:/etc", "timm has no model"),
    ("timm/hf-hub:someone/something", "is not fetched from here"),
    ("timm/hf_hub:someone/something", "is not fetched from here"),
])
def test_names_that_are_refused(start, name, said):
    app = start(model=name, sample=NAMES[0], run=False)
    app.session_state["sample"] = []
    app.run()
    fine(app, errors=1)
    assert said in sentences(app.error)[0]
    assert app.session_state["loaded"].model.name == SE


def test_the_last_model_that_worked_stays(start):
    app = start(model=SK, run=False)
    app.session_state["sample"] = []
    app.run()
    upload(app, "noise.safetensors", os.urandom(500))
    fine(app, errors=1)
    assert f"The page goes on with {SK}." in sentences(app.caption)


def test_no_network_is_one_sentence(start, monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "get_session", unreachable)
    app = start(model="timm/legacy_seresnet50.in1k", run=False)
    app.session_state["sample"] = []
    app.run()
    fine(app, errors=1)
    said = sentences(app.error)[0]
    assert "timm/legacy_seresnet50.in1k" in said and str(Path(huggingface_hub.constants.HF_HUB_CACHE)) in said
    assert app.session_state["loaded"].model.name == SE


# a checkpoint of one's own

@pytest.fixture(scope="module")
def checkpoint() -> tuple[dict, dict]:
    path = ROOT / "assets" / "models" / "se_resnet50_slim.safetensors"
    with safe_open(path, framework="pt") as file:
        return load_file(path), file.metadata()


def upload(app, name: str, content: bytes, arch: str = "") -> None:
    app.selectbox(key="model").set_value("A checkpoint file of your own").run()
    app.file_uploader(key="checkpoint").set_value([(name, content, "application/octet-stream")])
    app.text_input(key="arch").set_value(arch).run()


def test_a_checkpoint_of_ones_own(bare, checkpoint, tmp_path):
    state, metadata = checkpoint
    changed = {key: value + 1 if key == "fc.bias" else value for key, value in state.items()}
    save_file(changed, tmp_path / "mine.safetensors", metadata)
    upload(bare, "mine.safetensors", (tmp_path / "mine.safetensors").read_bytes())
    fine(bare)
    model = bare.session_state["loaded"].model
    assert model.name == "mine.safetensors (slim_resnet50, se)" in sentences(bare.sidebar.caption)
    np.testing.assert_allclose(model.module.fc.bias.detach().cpu(), (state["fc.bias"] + 1).float(), rtol=1e-6)


def test_tensors_of_another_head_are_left_out_where_that_is_asked_for(bare, checkpoint, tmp_path):
    state, metadata = checkpoint
    save_file({**state, "box_head.weight": torch.ones(4, 512)}, tmp_path / "boxes.safetensors", metadata)
    upload(bare, "boxes.safetensors", (tmp_path / "boxes.safetensors").read_bytes())
    fine(bare, errors=1)
    assert "unexpected key (box_head.weight)" in sentences(bare.error)[0]
    bare.checkbox(key="ignore_unexpected").check().run()
    fine(bare)
    assert "ignore_unexpected=True" in bare.session_state["loaded"].code
    assert any("box_head.weight" in text and "Left out" in text for text in sentences(bare.sidebar.markdown))


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_bad_checkpoints_are_one_sentence_each(bare, checkpoint, tmp_path):
    state, metadata = checkpoint
    save_file({**state, "fc.weight": state["fc.weight"][:, :-1].contiguous()}, tmp_path / "shape.safetensors", metadata)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors", metadata)
    bomb = pickle.dumps({"state_dict": Code(tmp_path / "ran")})
    plain_net = saved(torchvision.models.squeezenet1_1(num_classes=1000).state_dict())
    for name, content, arch, said in (
            ("shape.safetensors", (tmp_path / "shape.safetensors").read_bytes(), "", "fc.weight has shape"),
            ("other.safetensors", (tmp_path / "other.safetensors").read_bytes(), "", "missing keys"),
            ("code.pt", bomb, "torchvision/squeezenet1_1", "more than tensors"),
            ("code.pth", saved({"x": Code(tmp_path / "ran")}), "torchvision/squeezenet1_1", "more than tensors"),
            ("noise.safetensors", os.urandom(500), "", "is not a safetensors file"),
            ("empty.safetensors", b"", "", "is empty"),
            ("empty.pt", b"", "torchvision/squeezenet1_1", "empty.pt"),
            ("silent.pt", saved({"x": torch.zeros(1)}), "", "does not say which network"),
            ("own.pt", plain_net, "torchvision/squeezenet1_1", "no channel attention"),
            ("own.pt", plain_net, "timm/no_such_net", "timm has no model"),
            ("own.pt", plain_net, "file:/etc/passwd", "path on the server"),
            ("own.pt", plain_net, "timm/local-dir:/etc", "path on the server"),
    ):
        upload(bare, name, content, arch)
        fine(bare, errors=1)
        assert said in sentences(bare.error)[0], (name, arch, sentences(bare.error))
        assert not (tmp_path / "ran").exists()
    with pytest.raises(FileExistsError):  # the pickle is live: opened carelessly it would have run
        pickle.loads(bomb)
        pickle.loads(bomb)


# --model package.module:factory

FACTORIES = '''
import numpy as np
import torch
import senet_viz as sv
from senet_viz.models import slim_resnet50

def make():
    torch.manual_seed(0)
    module = slim_resnet50("sk", num_classes=3, widths=(4, 4, 8, 8))
    return sv.Model(module, lambda image: torch.tensor(np.asarray(image.resize((32, 32)))).permute(2, 0, 1) / 255,
                    ["one", "two", "three"], name="my own")

def bare():
    model = make()
    return sv.Model(slim_resnet50("none", num_classes=3, widths=(4, 4, 8, 8)), model.transform, model.classes)

def broken():
    return {}["weights"]

def other():
    return 7

def miscounted():
    model = make()
    model.classes.pop()
    return model

def infinite():
    model = make()
    model.module.fc.bias.data.fill_(float("nan"))
    return model
'''


@pytest.fixture
def operator(tmp_path, monkeypatch, start):
    """``operator("module:factory")``: the app as whoever starts the server with --model sees it."""
    (tmp_path / "own_nets.py").write_text(FACTORIES)
    (tmp_path / "own_broken.py").write_text("def make(:\n")
    monkeypatch.syspath_prepend(tmp_path)

    def open_app(factory: str, pictures: list[str]):
        monkeypatch.setattr(sys, "argv", ["app.py", "--model", factory])
        app = start(run=False)
        app.session_state["sample"] = pictures
        return app.run()
    yield open_app
    sys.modules.pop("own_nets", None)


def test_a_network_of_the_operators_own(operator):
    app = operator("own_nets:make", NAMES[:2])
    fine(app)
    assert app.selectbox(key="model").options[0] == "own_nets:make" == app.session_state["model"]
    assert app.session_state["loaded"].model.name == "my own" and "kernels" in sections(app)
    script = sections(app)["predictions"].script
    assert "from own_nets import make\nmodel = make()" in script
    result = {}
    exec(script, result)
    pd.testing.assert_frame_equal(result["result"], sections(app)["predictions"].table, rtol=1e-4)


@pytest.mark.parametrize(("factory", "said"), [
    ("no_such_module:make", "there is no such function"),
    ("own_nets:missing", "there is no such function"),
    ("own_nets", "there is no such function"),
    ("own_broken:make", "there is no such function"),
    ("own_nets:other", "returned int, not a senet_viz.Model"),
    ("own_nets:broken", "failed (KeyError: 'weights')"),
    ("own_nets:bare", "no channel attention"),
])
def test_a_bad_factory_is_one_sentence(operator, factory, said):
    app = operator(factory, [])
    fine(app, errors=1)
    assert said in sentences(app.error)[0] and app.session_state["loaded"].model.name == SE


def test_a_network_whose_output_says_nothing_is_one_sentence_a_picture(operator):
    app = operator("own_nets:infinite", NAMES[:2])
    fine(app, errors=2)
    assert all("not finite" in sentence for sentence in sentences(app.error)) and not sections(app)


def test_a_network_with_other_class_names_than_logits_shows_its_gates(operator):
    app = operator("own_nets:miscounted", NAMES[:2])
    fine(app)
    assert set(sections(app)) == EVERY - {"grad_cam", "gate_change"} | {"kernels"}
    assert all("3 logits, but there are 2 class names: there" in sentence for sentence in sentences(app.info)[::2])


# pictures

def test_bad_pictures_are_one_sentence_each_and_good_ones_are_shown(start):
    photo = SAMPLES[0].read_bytes()
    bad = {"letter.jpg": b"Dear Sir or Madam", "half.jpg": photo[:len(photo) // 2], "half.png": png()[:3000],
           "huge.png": huge(), "empty.png": b""}
    app = start(run=False)
    app.session_state["sample"] = [NAMES[0]]
    app.run()
    app.file_uploader(key="uploads").set_value(
        [*((name, content, "image/png") for name, content in bad.items()),
         ("good.webp", png(kind="WEBP"), "image/webp")])
    app.run()
    fine(app, errors=len(bad))
    for name, sentence, said in zip(bad, sentences(app.error), (
            "is not a picture", "damaged", "damaged", "at most 50 megapixels", "is empty")):
        assert sentence.startswith(f"**{name}**") and said in sentence
    assert list(dict.fromkeys(sections(app)["predictions"].table["picture"])) == ["good.webp", NAMES[0]]
    assert set(sections(app)) == EVERY


def test_nothing_but_bad_pictures(start):
    app = start(run=False)
    app.session_state["sample"] = []
    app.run()
    app.file_uploader(key="uploads").set_value([("letter.jpg", b"Dear Sir", "image/jpeg")]).run()
    fine(app, errors=1)
    assert not sections(app)


def test_seventeen_pictures_of_one_name(start):
    app = start(run=False)
    app.session_state["sample"] = []
    app.run()
    files = [("same.png", png(i), "image/png") for i in range(16)] + [("same.png (2)", png(16), "image/png")]
    app.file_uploader(key="uploads").set_value(files).run()
    fine(app, errors=1)
    assert sentences(app.error) == ["17 pictures were given; the page shows the first 16."]
    shown = sections(app)["predictions"].table["picture"].drop_duplicates().tolist()
    assert shown == ["same.png", *(f"same.png ({i})" for i in range(2, 17))]
    # each name stands for its own picture
    table, model = sections(app)["predictions"].table, app.session_state["loaded"].model
    for name, (_, content, _) in zip(shown, files):
        shares = sv.inspect(model, model.batch([sv.open_image(content)])).logits[0].softmax(0)
        np.testing.assert_allclose(
            table[table["picture"] == name]["probability"], shares.topk(5).values, rtol=1e-3)


def test_names_that_collide_after_numbering(start):
    app = start(run=False)
    app.session_state["sample"] = []
    app.run()
    names = ("a.png", "a.png", "a.png (2)", "<b>*x*</b> $y$.png")
    app.file_uploader(key="uploads").set_value([(name, png(i), "image/png") for i, name in enumerate(names)]).run()
    fine(app)
    shown = sections(app)["predictions"].table["picture"].drop_duplicates().tolist()
    assert len(set(shown)) == 4 and shown[0] == "a.png" and shown[3] == "<b>*x*</b> $y$.png"
    assert "<b>*x*" not in "".join(element.value for element in app.markdown)  # escaped where Markdown would read it


# classes

def test_a_class_that_does_not_exist(start):
    app = start(**{"class": "no such thing", "sample": NAMES[:2]})
    fine(app, errors=1)
    assert "has no class 'no such thing'" in sentences(app.error)[0]
    assert EVERY - set(sections(app)) == {"grad_cam", "gate_change"}  # the rest of the page goes on


def test_part_of_a_classs_name_is_enough(start):
    labels = sv.load(SE, device="cpu").class_labels
    wanted = next(label for label in labels if sum(label[:6].casefold() in other.casefold() for other in labels) == 1)
    app = start(**{"class": wanted[:6].upper(), "sample": NAMES[:2]})
    fine(app)
    assert wanted in sections(app)["grad_cam"].figure.layout.meta["alt"]


# what is computed once

def test_a_changed_block_class_or_opacity_runs_no_forward(start):
    app = start(run=False)
    app.session_state["sample"] = []
    app.run()
    model = app.session_state["loaded"].model
    assert model.blocks  # found on a picture of noise
    forwards = []
    handle = model.module.register_forward_pre_hook(lambda *_: forwards.append(1))
    try:
        app.file_uploader(key="uploads").set_value(
            [(f"{i}.png", png(1000 + i), "image/png") for i in range(2)]).run()
        fine(app)
        assert len(forwards) == 2  # one a picture
        before = {key: section.figure.to_json() for key, section in sections(app).items() if section.figure}
        app.selectbox(key="block").set_value(model.blocks[3].label)
        app.selectbox(key="class").set_value(model.class_labels[11])
        app.selectbox(key="change").set_value(model.blocks[5].label)
        app.slider(key="opacity").set_value(0.8)
        app.number_input(key="channel").set_value(3)
        app.run()
        fine(app)
        changed = {key for key, section in sections(app).items()
                   if section.figure and section.figure.to_json() != before[key]}
        assert changed >= {"excitation", "channel_maps", "grad_cam", "gate_change"} and len(forwards) == 2
        app.file_uploader(key="uploads").set_value([("again.png", png(1000), "image/png")]).run()
        fine(app)
        assert len(forwards) == 2  # known by its content, not by its name
    finally:
        handle.remove()


def test_cams_of_a_class_are_the_librarys(start):
    model = sv.load(SE, device="cpu")
    app = start(**{"class": model.class_labels[11], "sample": NAMES[:2]})
    table = sections(app)["grad_cam"].table
    for name, path in zip(NAMES, SAMPLES[:2]):
        view = sv.inspect(model, model.batch([sv.open_image(path)]), targets=[11], layers=list(model.stages.values()))
        for stage, layer in model.stages.items():
            values = table[(table["picture"] == name) & (table["map"] == stage)]["value"]
            expected = view.cams[layer][0, 0].flatten()
            np.testing.assert_allclose(values, expected, atol=1e-4 * float(expected.max()) + 1e-12)


# a second opinion

@pytest.mark.parametrize("method", attribution.METHODS)
def test_a_second_opinion_is_captums_and_leaves_with_its_class(operator, method):
    app = operator("own_nets:make", [NAMES[0]])
    assert "opinion" not in sections(app)
    app.segmented_control(key="opinion_method").set_value(method)
    app.button(key="opinion_run").click().run()
    fine(app)
    model = app.session_state["loaded"].model
    tensor = model.transform(sv.open_image(SAMPLES[0]))
    target = int(sv.inspect(model, tensor[None]).logits.argmax())
    expected = attribution.attribute(model, tensor, target, method).numpy()
    np.testing.assert_allclose(
        sections(app)["opinion"].table["value"], expected.ravel(), atol=1e-3 * np.abs(expected).max())
    assert model.class_labels[target] in sections(app)["opinion"].text
    other = model.class_labels[(target + 1) % len(model.classes)]
    app.selectbox(key="class").set_value(other).run()
    fine(app)
    assert "opinion" not in sections(app)  # it spoke of another class; the report does not carry it on


def test_the_sections_of_a_report_stand_in_the_order_of_the_page(operator):
    app = operator("own_nets:make", NAMES[:2])
    app.button(key="opinion_run").click().run()
    keys = list(sections(app))
    assert keys.index("gate_change") < keys.index("opinion") < keys.index("contribution")
