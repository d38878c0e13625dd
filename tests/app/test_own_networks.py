"""The pages with networks whose attention nobody knows by name: written inline, as functions, in units of one's own."""
import sys

import pytest
import torch
from torch import nn

import senet_viz as sv
from senet_viz.data.images import open_image
from senet_viz.data.places import ASSETS
from tests.app.checks import fine, sections
from tests.gates.test_search import FORMS, Gives, Net, SKInUnit, SKSliced

NETWORKS = {
    "inline": FORMS["inline"][0], "gives": FORMS["a module that gives the gate"][0], "sliced": SKSliced,
    "unit": SKInUnit,
    "repeated": FORMS["repeated over space"][0], "clamped": FORMS["clamped"][0],
}
SAMPLES = ASSETS / "samples"
SOURCE = """
from tests.app.test_own_networks import NETWORKS, own

def make():
    return own({name!r})
"""


class Repeated(nn.Module):
    """The same convolutions for all stages: no module gives the map of one of them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.three, self.five = (nn.Conv2d(i, 8, k, s, k // 2) for i, k, s in (
            (3, 3, 2), (8, 3, 1), (8, 5, 1)))
        self.fcs, self.head = nn.ModuleList(nn.Linear(8, 16) for _ in range(2)), nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        for fc in self.fcs:
            x = nn.functional.max_pool2d(x, 2)
            a, b = self.three(x), self.five(x)
            w = fc((a + b).mean((2, 3))).view(-1, 2, 8).softmax(1)[..., None, None]
            x = a * w[:, 0] + b * w[:, 1]
        return self.head(x.mean((2, 3)))


def own(name: str) -> sv.Model:
    def transform(image):
        return torch.frombuffer(bytearray(image.resize((64, 64)).tobytes()), dtype=torch.uint8).view(
            64, 64, 3).permute(2, 0, 1) / 255

    return sv.Model(Repeated() if name == "repeats" else Net(NETWORKS[name]), transform, list("abcde"), name=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_explore(start, tmp_path, monkeypatch, name):
    (tmp_path / f"unknown_{name}.py").write_text(SOURCE.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["app.py", "--model", f"unknown_{name}:make"])
    app = start(run=False)
    app.session_state["sample"] = ["teapot", "rocket"]
    try:
        app.run()
    finally:
        sys.modules.pop(f"unknown_{name}", None)
    fine(app)
    shown = sections(app)
    kind, model = ("SK" if name in ("sliced", "unit") else "SE"), own(name)
    assert {"predictions", "grad_cam", "contribution"} <= set(shown)
    assert ("kernels" in shown) == (kind == "SK")
    # without a module that gives the branches' sum there is no point before and after
    assert ("gate_change" in shown) == (name != "unit")
    picture = open_image(SAMPLES / "teapot.jpg")
    gates = sv.record(model, model.batch([picture])).gates
    means = {block.label: float(gates[block.name].mean()) for block in model.blocks}
    table = shown["all_blocks"].table
    rows = table[table["picture"] == "teapot"].groupby("label")["mean"].mean()
    assert rows.to_dict() == pytest.approx(means, rel=1e-4)


@pytest.mark.parametrize("page", ["app.py", "pages/what_if.py", "pages/kernels.py"])
def test_a_network_without_a_layer_for_grad_cam(start, tmp_path, monkeypatch, page):
    (tmp_path / "unknown_repeats.py").write_text(SOURCE.format(name="repeats"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["app.py", "--model", "unknown_repeats:make"])
    app = start(run=False, edits="*=uniform")
    app.session_state["sample"] = ["teapot", "rocket"]
    if page != "app.py":
        app.switch_page(page)
    try:
        app.run()
    finally:
        sys.modules.pop("unknown_repeats", None)
    fine(app)
    assert own("repeats").stages == {} and not {"grad_cam", "what_cams", "size_cam"} & set(sections(app))
    assert {"app.py": "contribution", "pages/what_if.py": "what_travel", "pages/kernels.py": "size_preference"}[
        page] in sections(app)
    assert sum("no place for Grad-CAM" in info.value for info in app.info) == 1


def test_a_module_that_returns_its_gate_is_shown_by_its_name():
    model = own("gives")
    assert isinstance(model.module.get_submodule(model.blocks[0].name), Gives | nn.Sequential)
