"""The pages with networks whose attention nobody knows by name: written inline, as functions, in units of one's own."""
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import senet_viz as sv
from senet_viz.images import open_image
from tests.app.checks import fine, sections
from tests.gates.test_search import FORMS, Gives, Net, SKInUnit, SKSliced

NETWORKS = {
    "inline": FORMS["inline"][0], "gives": FORMS["a module that gives the gate"][0], "sliced": SKSliced,
    "unit": SKInUnit,
    "repeated": FORMS["repeated over space"][0], "clamped": FORMS["clamped"][0],
}
SAMPLES = Path(__file__).resolve().parents[2] / "assets" / "samples"
SOURCE = """
from tests.app.test_own_networks import NETWORKS, own

def make():
    return own({name!r})
"""


def own(name: str) -> sv.Model:
    def transform(image):
        return torch.frombuffer(bytearray(image.resize((64, 64)).tobytes()), dtype=torch.uint8).view(
            64, 64, 3).permute(2, 0, 1) / 255

    return sv.Model(Net(NETWORKS[name]), transform, list("abcde"), name=name)


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


def test_a_module_that_returns_its_gate_is_shown_by_its_name():
    model = own("gives")
    assert isinstance(model.module.get_submodule(model.blocks[0].name), Gives | nn.Sequential)
