"""The pages with networks that give no logits of several classes: class maps, one logit, lists, nothing of the kind."""
import re
import sys

import pandas as pd
import pytest
import torch
from torch import nn
from torchvision import transforms

import senet_viz as sv
from senet_viz.data.places import ASSETS
from senet_viz.layers import SelectiveKernel, SqueezeExcite
from tests.app.checks import fine, png, sections, sentences

SAMPLES, PHOTOS = ASSETS / "samples", ["teapot", "rocket"]
PAGES = ["explore", "anatomy", "classes", "kernels", "what_if", "training"]
FIXED = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
KEPT = transforms.Compose([transforms.Resize(48), transforms.ToTensor()])  # pictures keep their proportions


class Net(nn.Module):
    """Two gates, a map of scores, and what ``form`` makes of its mean (N, K) and itself."""

    def __init__(self, form, classes=5, attention=SqueezeExcite, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(channels, 16, 3, 2, 1)
        self.first, self.second = (
            nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(), attention(16)) if attention is SqueezeExcite else
            nn.Sequential(attention(16, 16), nn.ReLU(), nn.MaxPool2d(2)) for _ in range(2))
        self.head, self.form = nn.Conv2d(16, classes, 1), form

    def forward(self, x):
        maps = self.head(self.second(self.first(self.stem(x).relu())))
        return self.form(maps.mean((2, 3)), 20 * (maps - maps.mean((2, 3), keepdim=True)))


class Sound(nn.Module):
    """A gate on a signal (N, 2, T)."""

    def __init__(self):
        super().__init__()
        self.stem, self.down, self.up, self.head = nn.Conv1d(2, 8, 5), nn.Linear(8, 4), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x * self.up(self.down(x.mean(2)).relu()).sigmoid()[..., None]).mean(2))


def segmentation():
    return sv.Model(Net(lambda _, maps: {"out": maps}), KEPT, list("abcde"), name="segmentation")


def selecting():
    return sv.Model(Net(lambda _, maps: {"out": maps}, attention=SelectiveKernel), KEPT, list("abcde"),
                    name="selecting")


def organ():
    return sv.Model(Net(lambda _, maps: maps, 1), FIXED, ["lung"], name="organ")


def one_logit():
    return sv.Model(Net(lambda mean, _: (20 * mean).squeeze(), 1), FIXED, ["smiling"], name="one_logit")


def squeezed():
    return sv.Model(Net(lambda mean, _: mean.squeeze()), FIXED, list("abcde"), name="squeezed")


def backbone():
    return sv.Model(Net(lambda _, maps: maps), FIXED, [], name="backbone")


def detector():
    return sv.Model(Net(lambda mean, _: [{"boxes": torch.rand(2, 4), "scores": row} for row in mean]), KEPT, ["cat"],
                    name="detector")


def embedding():
    return sv.Model(Net(lambda mean, _: mean, attention=SelectiveKernel), FIXED, [], name="embedding")


def grey():
    return sv.Model(Net(lambda mean, _: mean, channels=1), transforms.Compose([transforms.Grayscale(), FIXED]),
                    list("abcde"), name="grey")


def sound():
    return sv.Model(Sound(), torch.as_tensor, list("abc"), name="sound")


def read_sound():
    return sv.Model(Sound(), torch.as_tensor, list("abc"), name="sound", reader=bytes, example=torch.randn(2, 200))


@pytest.fixture
def operator(monkeypatch, start):
    """``operator("segmentation", "explore")``: a page as whoever starts the server with that network sees it."""
    def open_app(name: str, page: str, pictures=PHOTOS, **parameters):
        monkeypatch.setattr(sys, "argv", ["app.py", "--model", f"{__name__}:{name}"])
        app = start(run=False, **parameters)
        app.session_state["sample"] = pictures
        if page != "explore":
            app.switch_page(f"pages/{page}.py")
        return app.run()
    return open_app


def result(section) -> pd.DataFrame:
    names: dict = {}
    exec(compile(section.script, "script", "exec"), names)
    return names["result"]


def same(section) -> None:
    """The script gives the table."""
    pd.testing.assert_frame_equal(result(section), section.table, check_dtype=False, rtol=1e-3, atol=1e-5)


ALWAYS = {"all_blocks", "excitation", "channel_maps", "differences", "contribution"}


def test_explore_a_segmentation(operator):
    app = operator("segmentation", "explore")
    fine(app)
    shown, model = sections(app), segmentation()
    assert set(shown) == ALWAYS | {"predictions", "grad_cam", "gate_change"}
    for key in ("predictions", "grad_cam", "gate_change"):
        same(shown[key])
    names = [title for title, _ in shown["predictions"].pictures]
    assert names == ["teapot", "teapot, its classes", "rocket", "rocket, its classes"]
    present = shown["predictions"].table.groupby("class")["share"].sum().sort_values(ascending=False).index
    box = app.selectbox(key="pixels")
    assert box.options[1:] == present.tolist() and 1 < len(present) <= 5
    written = "\n".join(sentences(app.markdown))
    assert "of its 5 classes the one with the highest score at each pixel" in written
    assert "- **Output**: a class for each pixel" in written
    assert not app.info
    last = present[-1]
    app = box.set_value(last).run()
    fine(app)
    section = sections(app)["grad_cam"]
    same(section)
    stage, layer = list(model.stages.items())[-1]
    cams = sv.inspect(model, model.batch([sv.open_image(SAMPLES / "teapot.jpg")]),
                      [sv.SemanticSegmentationTarget("abcde".index(last))], [layer]).cams
    cells = section.table[(section.table["picture"] == "teapot") & (section.table["map"] == stage)]["value"].to_numpy()
    torch.testing.assert_close(torch.tensor(cells), cams[layer].flatten(), rtol=1e-3, atol=1e-5)


def test_the_second_opinion_of_a_segmentation(operator):
    app = operator("segmentation", "explore", ["teapot"])
    app.segmented_control(key="opinion_method").set_value("integrated gradients").run()
    app.button(key="opinion_run").click().run()
    fine(app)
    same(sections(app)["opinion"])


def test_explore_a_network_with_one_map(operator):
    app = operator("organ", "explore")
    fine(app)
    assert set(sections(app)["predictions"].table["class"]) == {"lung", "none"}
    assert app.selectbox(key="pixels").options[1:] == ["lung"]
    for key in ("predictions", "grad_cam", "gate_change"):
        same(sections(app)[key])


def test_explore_one_logit(operator):
    app = operator("one_logit", "explore", **{"class": "against smiling"})
    fine(app)
    shown, model = sections(app), one_logit()
    assert set(shown) == ALWAYS | {"predictions", "grad_cam", "gate_change"}
    for key in ("predictions", "grad_cam", "gate_change"):
        same(shown[key])
    picture = sv.open_image(SAMPLES / "rocket.jpg")
    layer = list(model.stages.values())[-1]
    view = sv.inspect(model, model.batch([picture]), [sv.BinaryClassifierOutputTarget(0)], [layer])
    table = shown["predictions"].table
    row = table[(table["picture"] == "rocket") & (table["class"] == "for smiling")]
    assert row["probability"].item() == pytest.approx(float(view.logits.sigmoid()), rel=1e-4)
    cells = shown["grad_cam"].table
    cells = cells[(cells["picture"] == "rocket") & (cells["map"] == list(model.stages)[-1])]["value"].to_numpy()
    torch.testing.assert_close(2 * torch.tensor(cells), view.cams[layer].flatten(), rtol=1e-3, atol=1e-5)
    assert "The network has one logit." in "\n".join(sentences(app.markdown))


@pytest.mark.parametrize("name", ["squeezed", "grey"])
def test_explore_other_shapes_of_a_classifier(operator, name):
    app = operator(name, "explore")
    fine(app)
    assert set(sections(app)) >= ALWAYS - {"differences"} | {"predictions", "grad_cam", "gate_change"}
    same(sections(app)["predictions"])
    assert len(sections(app)["predictions"].table) == 10


@pytest.mark.parametrize(("name", "said"), [
    ("backbone", "no logits of classes but a tensor (1, 5, 8, 8) (it would be a class map if the model had 5 class"),
    ("detector", "no logits of classes but a list of 1 with a dictionary with boxes, scores"),
    ("embedding", "5 numbers for a picture, and the model names no classes")])
def test_explore_a_network_without_classes(operator, name, said):
    app = operator(name, "explore")
    fine(app)
    assert set(sections(app)) - {"kernels"} == ALWAYS | {"predictions"}
    told = sentences(app.info)
    assert len(told) == 2 and all(sentence.startswith(f"The network gives {said}") for sentence in told)
    assert told[0].endswith(": there are no predictions.") and "no class for Grad-CAM" in told[1]
    assert [title for title, _ in sections(app)["predictions"].pictures] == PHOTOS


@pytest.mark.parametrize(("name", "why"), [
    ("sound", "its transform fails: "), ("read_sound", "a reader of other files")])
def test_a_network_of_signals_is_told_at_the_door(operator, name, why):
    app = operator(name, "explore", [])
    fine(app, errors=1)
    said = sentences(app.error)[0]
    assert said.startswith(f"sound takes no pictures ({why}") and "sv.inspect" in said and said.endswith(".")
    assert app.session_state["loaded"].model.name == "demo/se_resnet50_slim"


@pytest.mark.parametrize("page", PAGES[1:])
@pytest.mark.parametrize("name", ["segmentation", "detector", "one_logit"])
def test_the_other_pages(operator, name, page):
    app = operator(name, page, edits="*=1")
    fine(app)
    told = [sentence for sentence in sentences(app.info) if sentence.startswith("The network gives ")]
    shown = set(sections(app))
    if name == "one_logit":
        assert not told
    if page == "anatomy":
        assert {"variants", "variant_effects", "se_strips"} <= shown
        same(sections(app)["variant_effects"])
        assert len(told) == (name != "one_logit")
    elif page == "what_if":
        assert {"what_overview", "what_travel"} <= shown
        same(sections(app)["what_travel"])
        assert ("what_changes" in shown) == ("what_swap" in shown) == (name == "one_logit")
        assert len(told) == (name != "one_logit")
    elif page == "classes":
        assert [sentence.endswith(": a run takes logits of classes.") for sentence in told] == [True] * (
            name != "one_logit")


@pytest.mark.parametrize("name", ["selecting", "embedding"])
def test_kernels_of_a_network_without_logits(operator, name):
    app = operator(name, "kernels")
    fine(app)
    assert {"size_preference", "size_curves", "size_slopes", "branch_maps"} <= set(sections(app))
    assert "size_cam" not in sections(app)
    assert sum("no class for Grad-CAM to explain" in sentence for sentence in sentences(app.info)) == 1


def test_photos_of_several_proportions(operator):
    app = operator("segmentation", "explore", ["teapot"])
    app.file_uploader(key="uploads").set_value([("wide.png", png(1, 120, 50), "image/png")]).run()
    fine(app)
    assert "each of its own proportions" in "\n".join(sentences(app.markdown))
    assert set(sections(app)["predictions"].table["picture"]) == {"wide.png", "teapot"}


def test_the_report_has_the_class_maps(operator):
    from senet_viz.reports.html import report

    app = operator("segmentation", "explore")
    page = report("title", {}, sections(app).values())
    assert len(re.findall(r"<figcaption>(?:teapot|rocket), its classes</figcaption>", page)) == 2
