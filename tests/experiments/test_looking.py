"""One picture looked at; a view without what is large, and what it lacks had from elsewhere."""
from pathlib import Path

import numpy as np
import pytest
import torch

import senet_viz as sv
from senet_viz import tables
from senet_viz.experiments.looking import explain, lighter, look, with_maps
from senet_viz.gates.answers import target_of
from tests.experiments.test_what_if import NAMES
from tests.gates.conftest import make

PHOTO = Path(__file__).resolve().parents[2] / "assets" / "samples" / "teapot.jpg"


@pytest.fixture(scope="module", params=["se", "sk"])
def looked(request):
    net = sv.Model(make(f"slim/{request.param}"), lambda image: torch.from_numpy(
        np.asarray(image.resize((64, 64)), np.float32) / 64 - 2).permute(2, 0, 1), NAMES, name=request.param)
    return look(net, sv.open_image(PHOTO))


def test_a_lighter_view_holds_nothing_large(looked):
    view = lighter(looked.view)
    assert list(view.features) == list(looked.view.features) and not any(view.features.values())
    assert view._graph is None and view._batch is None and view._model is None
    assert view.gates is looked.view.gates and view.logits is looked.view.logits
    assert looked.view._graph is not None and all(map(torch.is_tensor, looked.view.features.values()))


def test_maps_and_graph_are_asked_for_when_they_are_needed(looked):
    asked = []

    def again():
        asked.append(1)
        return looked.view

    view = with_maps(lighter(looked.view), again)
    points = list(looked.view.features)
    assert list(view.features) == points and len(view.features) == len(points)
    assert points[0] in view.features and ("nowhere", "input") not in view.features
    assert not asked
    assert view.features[points[-1]] is looked.view.features[points[-1]] and len(asked) == 1
    with pytest.raises(KeyError):
        view.features["nowhere", "input"]
    assert len(asked) == 1
    whole = tables.contributions({"pot": looked.view})
    assert tables.contributions({"pot": view}).equals(whole)


def test_single_maps_can_come_from_elsewhere(looked):
    point = next(iter(looked.view.features))
    view = with_maps(lighter(looked.view), lambda: pytest.fail("not the whole view"), lambda at: (at, "map"))
    assert view.features[point] == (point, "map")


def test_the_top_class_needs_no_graph_and_others_do(looked):
    top = int(looked.view.logits.argmax())
    other = (top + 1) % looked.view.logits.shape[1]
    asked = []
    view = with_maps(lighter(looked.view), lambda: asked.append(1) or looked.view)
    for target in (top, other):
        cams, weights = looked.view.grad_cam([target_of(looked.view, target)])  # from the graph, both times
        found, alpha = explain(view, target)
        assert list(found) == list(cams) and len(cams) > 0
        for point in cams:
            np.testing.assert_array_equal(found[point], cams[point][0, 0].numpy())
            assert torch.equal(alpha[point], weights[point])
    assert len(asked) == 1
