"""A report of pictures: which sections, in which order, with which numbers and words, and what was chosen instead."""
import copy

import numpy as np
import pandas as pd
import pytest
import torch

import senet_viz as sv
from senet_viz import tables
from senet_viz.experiments.looking import LARGEST, explain, look
from senet_viz.experiments.picture_report import model_facts, picture_report, report_sections
from senet_viz.experiments.picture_sections import PictureSections
from senet_viz.reports.html import Section
from senet_viz.reports.made import made
from tests.experiments.test_picture_sections import PHOTOS, model, of

__all__ = ["model", "of"]
EVERY = ["predictions", "all_blocks", "excitation", "channel_maps", "differences", "grad_cam", "gate_change",
         "contribution"]


@pytest.fixture(scope="module", params=["se", "sk"])
def pictures(of, request) -> PictureSections:
    return of(request.param, *PHOTOS)


@pytest.fixture(scope="module")
def found(pictures):
    return report_sections(pictures)


def test_sections_and_their_order(pictures, found):
    selective = pictures.model.blocks[0].branches > 1
    assert list(found) == EVERY[:5] + ["kernels"] * selective + EVERY[5:]
    for key, section in found.items():
        assert section.title and section.text and len(section.table) and section.script, key
        assert (section.figure is None) == (key in ("predictions", "differences"))


def test_numbers_are_the_librarys(pictures, found):
    last, views = pictures.model.blocks[-1], pictures.views
    names = list(PHOTOS)
    pd.testing.assert_frame_equal(found["all_blocks"].table, tables.summary(views))
    pd.testing.assert_frame_equal(found["differences"].table, tables.differences(views[names[0]], views[names[1]], 20))
    gates = found["excitation"].table
    for name, view in views.items():
        for branch in range(last.branches):
            rows = gates[(gates["picture"] == name) & (gates["branch"] == branch)]
            np.testing.assert_allclose(rows["value"], view.gates[last.name][0, branch])
    largest = {tables.kernel_name(last, -1)} if last.branches > 1 else {""}
    assert set(gates[gates["branch"] == last.branches - 1]["kernel"]) == largest


def test_grad_cam_is_of_each_pictures_own_class_or_of_one(pictures, found):
    model, stage = pictures.model, list(pictures.model.stages)[-1]
    for target in (None, 4):
        table = (found if target is None else report_sections(pictures, target=target))["grad_cam"].table
        for name, view in pictures.views.items():
            index = int(view.logits.argmax()) if target is None else target
            expected = sv.inspect(model, model.batch([sv.open_image(PHOTOS[name])]), [index],
                                  [model.stages[stage]]).cams[model.stages[stage]].flatten()
            drawn = table[(table["picture"] == name) & (table["map"] == stage)]["value"]
            np.testing.assert_allclose(drawn, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


def test_how_to_read_stands_below_what_needs_it(pictures, found):
    for key, head in (("all_blocks", "blocks"), ("grad_cam", "grad-cam"), ("gate_change", "gate-change"),
                      ("contribution", "contribution")):
        _, lead, more = pictures.head(head)
        assert found[key].about == more and found[key].text.startswith(lead) and more not in found[key].text
    assert found["predictions"].about == ""


def test_what_was_chosen_stands_as_it_is_and_the_rest_is_added(pictures):
    chosen = Section("Chosen", "by hand")
    found = report_sections(pictures, {"opinion": chosen, "excitation": chosen, "differences": None})
    assert found["opinion"] is chosen and found["excitation"] is chosen
    assert "differences" not in found and set(EVERY) - set(found) == {"differences"}
    assert list(found)[:2] == ["opinion", "excitation"]


def test_nothing_is_explained_where_all_was_chosen(pictures, monkeypatch):
    def refuse(*_):
        raise AssertionError("Grad-CAM again")

    monkeypatch.setattr("senet_viz.experiments.picture_report.explain", refuse)
    report_sections(pictures, {"grad_cam": None, "gate_change": None})


def test_one_picture_has_no_differences(of):
    assert "differences" not in report_sections(of("se", "pot"))


def test_a_network_of_other_outputs(model):
    net = model("se")
    net = sv.Model(net.module, net.transform, ["one", "two"])
    found = look(net, sv.open_image(PHOTOS["pot"]))
    pictures = PictureSections(net, "", {"pot": PHOTOS["pot"]}, {"pot": found.view}, {"pot": found.seen})
    assert list(report_sections(pictures)) == ["predictions", "all_blocks", "excitation", "channel_maps",
                                               "contribution"]


def test_the_head_of_the_page(pictures):
    page = picture_report(pictures, facts={"Command": "senet-viz <report>"})
    facts = model_facts(pictures.model)
    assert facts["Model"] == pictures.model.name
    assert facts["Parameters"] == f"{sum(p.numel() for p in pictures.model.module.parameters()):,}"
    for value in (*facts.values(), "a *bug*, pot, cat", "senet-viz &lt;report&gt;", *made().values()):
        assert f"<dd>{value}</dd>" in page
    assert "plotly" in made()["Software"] and torch.__version__.partition("+")[0] in made()["Software"]


def test_a_look_has_all_that_is_shown(model):
    net = model("sk")
    image = sv.open_image(PHOTOS["cat"])
    found = look(net, image)
    torch.testing.assert_close(found.view.logits, sv.record(net, net.batch([image])).logits)
    assert found.tensor.shape == (3, 64, 64) and found.seen.shape == (64, 64, 3) and found.seen.dtype == np.uint8
    cams, weights = explain(found.view, 2)
    layer, last = list(net.stages.values())[-1], net.blocks[-1]
    expected = sv.grad_cam(net, net.batch([image]), [2], [layer])[layer][0, 0]
    np.testing.assert_allclose(cams[layer], expected, rtol=1e-3, atol=1e-5 * float(expected.max()))
    assert weights[last.name, "output"].shape == (1, 1, last.channels)


def test_a_large_picture_is_shown_smaller(model):
    net = model("se")
    large = sv.Model(net.module, lambda _: torch.rand(3, 64, LARGEST + 512), net.classes)
    assert look(large, sv.open_image(PHOTOS["pot"])).seen.shape[1] == LARGEST


def test_an_output_that_is_no_number_is_refused(model):
    net = model("se")
    broken = sv.Model(copy.deepcopy(net.module), net.transform, net.classes)  # the other is shared by tests
    broken.module.fc.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        look(broken, sv.open_image(PHOTOS["pot"]))
