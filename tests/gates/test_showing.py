"""How a view shows itself: a line, a table in a notebook, and figures, beside numpy and tables of single pictures."""
import re
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import nn
from torchvision import transforms

import senet_viz as sv
from senet_viz import figures, tables
from senet_viz.gates import contribution_points
from senet_viz.layers import SqueezeExcite

CLASSES = [f"class {k}" for k in range(10)]
FACTS = ["block", "name", "kind", "channels", "mean gate", "std over channels"]


def model_of(module: nn.Module, name: str = "") -> sv.Model:
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)])
    return sv.Model(module, transform, CLASSES, name=name)


def pictures(count: int, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(count, 3, side, side, generator=generator) * 4 - 2


@pytest.fixture(params=["se", "sk"])
def model(network, request) -> sv.Model:
    return model_of(network(f"slim/{request.param}"), name=f"slim {request.param}")


def parsed(html: str) -> ElementTree.Element:
    """As XML, which is stricter than HTML: each tag closed, each < and & escaped."""
    return ElementTree.fromstring(html)


def table(html: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the only table."""
    found, = parsed(html).iter("table")
    head, *rows = [[cell.text or "" for cell in row] for row in found.iter("tr")]
    return head, rows


def text(html: str) -> str:
    return " ".join(parsed(html).itertext())


# --- what a notebook shows


@pytest.mark.parametrize("count", [1, 5])
def test_table_of_blocks(model, count):
    view = sv.record(model, pictures(count))
    head, rows = table(view._repr_html_())
    assert head == FACTS + ["std over pictures"] * (count > 1)
    assert len(rows) == len(model.blocks) == 16
    for row, block in zip(rows, model.blocks):
        gate = view.gates[block.name][:, -1].numpy().astype(float)
        assert row[:4] == [block.label, block.name, block.kind, str(block.channels)]
        spreads = [np.mean([one.std() for one in gate])]
        if count > 1:
            spreads.append(np.mean([channel.std() for channel in gate.T]))
        assert [float(cell) for cell in row[4:]] == pytest.approx([gate.mean(), *spreads], abs=6e-4)


def test_facts(model):
    view = sv.inspect(model, pictures(2), layers=["layer3", (model.blocks[0], "output")],
                      features=contribution_points(model.blocks))
    said = text(view._repr_html_())
    first = model.blocks[0].label
    for fact in (f"View of {model.name}", "2 pictures", "16 attention blocks", "10 classes",
                 f"Grad-CAM of layer3, {first} output", " more"):
        assert fact in said
    weighs = model.blocks[0].branches > 1
    assert ("the weight of the last one, 5×5" in said) == weighs
    assert "1 picture ·" in text(sv.record(model, pictures(1))._repr_html_())


def test_of_a_module_alone(network):
    view = sv.record(network("slim/se"), pictures(1))
    assert "View of ResNet" in text(view._repr_html_()) and "10 logits" in text(view._repr_html_())


def test_names_are_escaped():
    gated = nn.Sequential()
    gated.add_module("<b>&amp;", nn.Conv2d(3, 8, 3, 2))
    gated.add_module("<script>alert('se')</script>", SqueezeExcite(8, 2))
    model = model_of(nn.Sequential(gated, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
                     name="<img src=x onerror=alert(1)> & co")
    view = sv.inspect(model, pictures(1), layers=["0.<b>&amp;"])
    html = view._repr_html_()
    assert "<script" not in html and "<img" not in html and "<b>&amp;" not in html
    assert "View of <img src=x onerror=alert(1)> & co" in text(html) and "Grad-CAM of 0.<b>&amp;" in text(html)
    assert table(html)[1][0][1] == "0.<script>alert('se')</script>"
    assert not re.search("<img|<b>&amp;", view.plot().to_json().replace("\\u003c", "<"))


def test_short_for_many_blocks():
    blocks = [nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), SqueezeExcite(4, 2)) for _ in range(100)]
    model = model_of(nn.Sequential(nn.Conv2d(3, 4, 3, 2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                   nn.Linear(4, 10)))
    view = sv.record(model, pictures(1, 32))
    assert len(view.blocks) == 100
    html = view._repr_html_()
    _, rows = table(html)
    assert len(rows) == 21 and len(html) < 6000 and "100 attention blocks" in text(html)
    assert [rows[0][0], rows[9][0], rows[11][0], rows[20][0]] == [view.blocks[i].label for i in (0, 9, 90, 99)]
    assert set(rows[10]) == {"..."}
    assert len(repr(view)) < 200


def test_without_blocks():
    view = sv.record(model_of(nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())), pictures(1))
    assert "0 attention blocks" in text(view._repr_html_()) and not list(parsed(view._repr_html_()).iter("table"))
    with pytest.raises(ValueError, match="Sequential has no attention blocks, so there is no gate to draw"):
        view.plot()


def test_plain(model):
    view = sv.inspect(model, pictures(1), layers=["layer4"], features=contribution_points(model.blocks))
    assert repr(view).startswith(f"View({model.name}; 1 picture; 16 attention blocks; 10 classes; Grad-CAM of layer4; ")
    assert len(repr(view)) < 250 and "\n" not in repr(view) and "tensor" not in repr(view)


def test_models_and_blocks(network):
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    model = model_of(network("slim/sk"), name="slim sk")
    assert repr(model) == f"Model('slim sk': {model.parameters:,} parameters, 10 classes, on cpu)"
    block = model.blocks[0]
    assert repr(model) == f"Model('slim sk': {model.parameters:,} parameters, 10 classes, 16 attention blocks, on cpu)"
    assert pretty(block) == (
        f"AttentionBlock(SK_2_1: {block.name!r}, SK, {block.channels} channels, 2 branches 3×3, 5×5)")
    assert pretty(model.blocks).count("\n") == 15
    assert all(f"{name}=" in repr(block) for name in vars(block))  # a run's identity is made of it


# --- figures


def drawn(figure: go.Figure) -> list[tuple[str, list[float]]]:
    """Name and numbers of each trace."""
    return [(trace.name or trace.type, np.concatenate([
        np.ravel(np.asarray(values, dtype=float)) for values in (trace["y"], getattr(trace, "z", None),
                                                                 getattr(trace, "median", None))
        if values is not None]).tolist()) for trace in figure.data if trace.type != "image"]


def same(one: go.Figure, other: go.Figure, within: float = 1e-4) -> bool:
    return all(a[0] == b[0] and np.allclose(a[1], b[1], atol=within, equal_nan=True)
               for a, b in zip(drawn(one), drawn(other), strict=True))


@pytest.fixture
def seen(model) -> tuple[sv.View, dict[str, sv.View], sv.AttentionBlock]:
    """A view of three pictures, views of each of them, and the block whose output is explained."""
    block, batch = model.blocks[-1], pictures(3)
    asked = dict(targets=[4], layers=["layer3", (block, "output")], features=contribution_points(model.blocks))
    return (sv.inspect(model, batch, **asked),
            {name: sv.inspect(model, batch[n:n + 1], **asked) for n, name in enumerate("abc")}, block)


def test_figures_are_those_of_single_pictures(seen, model):
    view, alone, block = seen
    quantity = "gate" if block.branches == 1 else "weight of 5×5"
    middle = model.blocks[5]
    before, after = ({name: tables.gate_change(one, block)[which] for name, one in alone.items()} for which in (0, 1))
    shown = {name: model.seen(picture) for name, picture in zip("abc", pictures(3))}
    cams = {name: {"layer3": one.cams["layer3"][0, 0].numpy(),
                   f"{block.label} output": one.cams[block.name, "output"][0, 0].numpy()}
            for name, one in alone.items()}
    expected = {
        ("gates", None): figures.all_blocks(tables.summary(alone)),
        ("block", None): figures.excitation(tables.quantity(alone, block, quantity), block.label),
        ("block", middle.label): figures.excitation(tables.quantity(alone, middle, quantity), middle.label),
        ("block", middle): figures.excitation(tables.quantity(alone, middle, quantity), middle.label),
        ("contribution", None): figures.contribution(tables.contributions(alone)),
        ("gate_change", None): figures.gate_change(shown, before, after, block.label),
        ("cams", None): figures.cam_grid(shown, cams, classes=dict.fromkeys("abc", "class 4")),
    }
    if block.branches > 1:
        expected["kernels", None] = figures.kernel_preference(tables.kernel_preference(alone))
    for (which, asked), figure in expected.items():
        found = view.plot(which, asked, names="abc")
        # three pictures round otherwise than one, and a value on the other side of a ReLU's zero changes gradients
        assert isinstance(found, go.Figure) and same(found, figure, 1e-3 if which == "cams" else 1e-4), which
        of = f"{(middle if asked else block).label} of " if which in ("block", "gate_change") else ""
        assert found.layout.title.text == f"{of}{model.name}, 3 pictures"
        assert [trace.source for trace in found.data if trace.type == "image"] == [
            trace.source for trace in figure.data if trace.type == "image"], which
        assert found.layout.meta["alt"].count("class 4") == figure.layout.meta["alt"].count("class 4")


def test_pictures_are_named(seen):
    view, *_ = seen
    assert list(dict.fromkeys(trace.name for trace in view.plot("block").data)) == ["picture 1", "picture 2",
                                                                                   "picture 3"]
    for names in ("ab", "aab"):
        with pytest.raises(ValueError, match="names are 3 different ones"):
            view.plot(names=names)


@pytest.mark.parametrize(("targets", "explained"), [
    (None, None), ([2, 7], ["class 2", "class 7"]), (["class 3"], ["class 3"]), ("class 3", ["class 3"]),
    (torch.tensor([6]), ["class 6"]), ([lambda logits: logits[:, 1]], ["<lambda>"]),
    ([sv.BinaryClassifierOutputTarget(1)], ["BinaryClassifierOutputTarget"])])
def test_what_maps_explain(network, targets, explained):
    model = model_of(network("slim/se"))
    if targets and callable(targets[0]) and not isinstance(targets[0], type(lambda: 0)):
        model = model_of(nn.Sequential(network("slim/se"), nn.Linear(10, 1)))
        layer = "0.layer4"
    else:
        layer = "layer4"
    view = sv.inspect(model, pictures(2), targets, layers=[layer])
    for number in range(len(explained or [0])):
        figure = view.plot("cams", names=["a", "b"], target=number)
        words = [explained[number]] if explained else [f"class {k}" for k in view.logits.argmax(1).tolist()]
        assert all(one.replace("<", "&lt;").replace(">", "&gt;") in figure.to_json().replace("\\u003c", "<").replace(
            "\\u003e", ">").replace("\\u0026", "&") for one in words)
        maps = [np.asarray(trace.z) for trace in figure.data if trace.type == "heatmap"]
        assert np.allclose(maps, view.cams[layer][:, number].numpy())
    with pytest.raises(ValueError, match="counted from 0; there is no 9"):
        view.plot("cams", target=9)


def test_each_picture_its_own_target(network):
    view = sv.inspect(network("slim/se"), pictures(2), [[3], [5]], layers=["layer4"])
    alt = view.plot("cams").layout.meta["alt"]
    assert "class 3, class 5" in alt


def test_many_pictures(network):
    view = sv.record(network("slim/se"), pictures(18, 32))
    figure = view.plot()
    assert figure.layout.title.text == "ResNet, the first 16 of 18 pictures"
    assert len({trace.name for trace in figure.data}) == 16


def test_a_signal_and_a_volume():
    for space, kind in ((1, "scatter"), (3, "heatmap")):
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[space - 1]
        pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[space - 1]
        net = nn.Sequential(conv(1, 4, 3, 2), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 3))
        view = sv.inspect(net, torch.rand(2, 1, *[16] * space), [1], layers=["0"])
        assert any(trace.type == kind for trace in view.plot("cams").data)


class Clip(nn.Module):
    """(N, frames, 3, H, W) → (N, 4): frames are folded into the batch."""

    def __init__(self):
        super().__init__()
        self.conv, self.se, self.head = nn.Conv2d(3, 8, 3, 2), SqueezeExcite(8, 2), nn.Linear(8, 4)

    def forward(self, x):
        frames = self.se(self.conv(x.flatten(0, 1)))
        return self.head(frames.mean((2, 3)).unflatten(0, x.shape[:2]).mean(1))


class Mirrored(Clip):
    """(N, 3, H, W) → (N, 4): a picture's mirror image lies behind all pictures of the batch."""

    def forward(self, x):
        both = self.se(self.conv(torch.cat([x, x.flip(-1)])))
        return sum(self.head(both.mean((2, 3))).chunk(2))


@pytest.mark.parametrize(("make", "shape", "rows"), [(Clip, (4, 3, 32, 32), 4), (Mirrored, (3, 32, 32), 2)])
def test_several_rows_a_picture(make, shape, rows):
    torch.manual_seed(1)
    net, clips = make(), torch.rand(3, *shape)
    view = sv.record(net, clips)
    block, = view.blocks
    assert view.gates[block.name].shape[0] == 3 * block.rows == 3 * rows
    alone = {name: sv.record(net, clips[n:n + 1]) for n, name in enumerate("abc")}
    assert same(view.plot("block", names="abc"), figures.excitation(tables.gates(alone, block), block.label))
    explained = sv.inspect(net, clips, [1], layers=["conv"])
    with pytest.raises(ValueError, match="the maps are of single frames"):
        explained.plot("cams")


@pytest.mark.parametrize(("which", "options", "words"), [
    ("nothing", {}, "a view has the figures gates, block, kernels, cams, contribution, gate_change, not 'nothing'"),
    ("cams", {}, "this view has no Grad-CAM"),
    ("kernels", {}, "no block of ResNet weighs kernels"),
    ("block", {"block": "SE_9_9"}, "there is no attention block 'SE_9_9'; the network's are: SE_2_1"),
    ("contribution", {}, "SE_2_1 input is missing"),
    ("gate_change", {}, "SE_2_1 input is missing"),
])
def test_what_cannot_be_drawn(network, which, options, words):
    view = sv.record(network("slim/se"), pictures(1))
    with pytest.raises(ValueError, match=re.escape(words)):
        view.plot(which, **options)


def test_a_change_that_was_not_asked_for(network):
    module = network("slim/se")
    blocks = sv.find_blocks(module, pictures(1))
    view = sv.inspect(module, pictures(1), layers=["layer4", (blocks[0], "output")],
                      features=contribution_points(blocks))
    assert view.plot("gate_change").layout.title.text == "SE_2_1 of ResNet, 1 picture"
    with pytest.raises(ValueError, match=r"layers=\[\('SE_5_3', 'output'\)\]"):
        view.plot("gate_change", "SE_5_3")


def test_a_batch_that_is_written_to_afterwards(network):
    batch = pictures(1)
    view = sv.inspect(network("slim/se"), batch, layers=["layer4"])
    first = [trace.source for trace in view.plot("cams").data if trace.type == "image"]
    batch.zero_()
    assert [trace.source for trace in view.plot("cams").data if trace.type == "image"] == first
