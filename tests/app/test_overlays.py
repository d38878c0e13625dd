"""Explore with maps over whole photos: what is drawn where, what is said, what is downloaded, what is computed once."""
import io
import sys

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from torchvision import transforms

import senet_viz as sv
from senet_viz import figures, tables
from senet_viz.gates import contribution_points
from senet_viz.models import embedded_models
from tests.app.checks import fine, sections, sentences
from tests.app.test_other_outputs import Net

SE = "demo/se_resnet50_slim"
WHOLE = "whole photo"
COLOURS = np.linspace(20, 235, 300 * 200 * 3).reshape(200, 300, 3).astype(np.uint8)

pytestmark = pytest.mark.skipif(SE not in embedded_models(), reason="the embedded models are missing")


def encoded(width: int, height: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).resize((width, height)).save(buffer, kind)
    return buffer.getvalue()


def uploaded(start, *photos, **parameters):
    app = start(run=False, over=WHOLE, **parameters)
    app.session_state["sample"] = []
    app.run()
    return app.file_uploader(key="uploads").set_value([(name, data, "image/png") for name, data in photos]).run()


def heat_maps(section) -> list:
    return [trace for trace in section.figure.data if trace.type == "heatmap"]


def test_maps_lie_on_the_part_that_was_seen(start):
    app = uploaded(start, ("wide.png", encoded(300, 200)), ("tall.png", encoded(240, 400)))
    fine(app)
    model = sv.load(SE, device="cpu")
    for key in ("grad_cam", "gate_change"):
        section = sections(app)[key]
        assert "Framed is what the network saw: 67% of wide.png and 60% of tall.png." in section.text.replace("\\", "")
        maps, columns = heat_maps(section), 4 if key == "grad_cam" else 3
        assert len(maps) == 2 * columns
        for trace, (width, height) in zip(maps, [(300, 200)] * columns + [(240, 400)] * columns):
            count = len(trace.z)
            edges = (trace.x0 - trace.dx / 2, trace.x0 + (count - 0.5) * trace.dx,
                     trace.y0 - trace.dy / 2, trace.y0 + (count - 0.5) * trace.dy)
            side = min(width, height)  # by hand: the middle square; -0.5 is the left edge of the first pixel
            left, top = (width - side) / 2 - 0.5, (height - side) / 2 - 0.5
            pixel = side / model.input_size[0]
            assert edges == pytest.approx((left, left + side, top, top + side), abs=pixel)
        frames = section.figure.layout.shapes
        assert len(frames) == 2 * len(maps)  # dark and light
        assert frames[0].x1 - frames[0].x0 == pytest.approx(200, abs=4)


@pytest.fixture
def buttons(monkeypatch) -> dict[str, tuple]:
    """What the download buttons of a page would give when they are pressed, by key: data or a function, and a name."""
    kept, original = {}, st.download_button

    def keep(label, data, name, *arguments, key, **options):
        kept[key] = data, name
        return original(label, data, name, *arguments, key=key, **options)

    monkeypatch.setattr(st, "download_button", keep)
    return kept


def test_photos_are_downloaded_as_large_as_they_are(start, buttons):
    """The page shows a reduced copy."""
    data = encoded(2100, 1400, "JPEG")
    app = uploaded(start, ("large.jpg", data), **{"class": "teapot"})
    fine(app)
    model, photo = sv.load(SE, device="cpu"), sv.open_image(data)
    block, stage = model.blocks[-1], list(model.stages)[-1]
    view = sv.inspect(model, model.batch([photo]), [model.class_index("teapot")],
                      [model.stages[stage], (block.name, "output")], contribution_points([block]))
    before, after = tables.gate_change(view, block)
    for key, values, title in (("grad_cam", view.cams[model.stages[stage]][0, 0].numpy(), stage.replace(" ", "_")),
                               ("gate_change", after - before, "difference")):
        make, name = buttons[f"{key}_png"]
        assert name == f"large_{title}_teapot.png"
        made = np.asarray(Image.open(io.BytesIO(make()))).astype(int)
        expected = figures.overlay(photo, values, model.window(photo.size), signed=key == "gate_change")
        assert made.shape == (1400, 2100, 3)
        np.testing.assert_allclose(made, np.asarray(expected).astype(int), atol=8)  # rounding of the map's values


def test_the_choice_runs_no_forward(start):
    app = start(run=False)
    app.session_state["sample"] = ["teapot"]
    app.run()
    model, forwards = app.session_state["loaded"].model, []
    handle = model.module.register_forward_pre_hook(lambda *_: forwards.append(1))
    try:
        before = sections(app)["grad_cam"].table
        app.segmented_control(key="over").set_value(WHOLE).run()
        fine(app)
        assert not forwards
        assert sections(app)["grad_cam"].table.equals(before)
        app.slider(key="opacity").set_value(0.9).run()
        fine(app)
        assert not forwards
    finally:
        handle.remove()


def turned():
    rest = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
    return sv.Model(Net(lambda mean, _: mean), lambda image: rest(image.rotate(90)), list("abcde"), name="turned")


def test_a_transform_that_cannot_be_followed_is_said(start, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["app.py", "--model", f"{__name__}:turned"])
    app = start(run=False, over=WHOLE)
    app.session_state["sample"] = ["teapot"]
    app.run()
    fine(app)
    told = [sentence for sentence in sentences(app.info) if "network's input" in sentence]
    assert len(told) == 1 and "turns or warps" in told[0] and told[0].endswith(".")
    assert len(heat_maps(sections(app)["grad_cam"])) and not sections(app)["grad_cam"].figure.layout.shapes


def test_a_segmentation_over_whole_photos(start, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["app.py", "--model", "tests.app.test_other_outputs:segmentation"])
    app = start(run=False, over=WHOLE)
    app.session_state["sample"] = ["teapot", "rocket"]
    app.run()
    fine(app)
    assert "100% of teapot" in sections(app)["grad_cam"].text
