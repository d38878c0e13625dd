"""What inspect returns, against Captum, against forwards written out by hand, and against itself."""
import copy
import gc
import pickle
import threading
import weakref
from collections import namedtuple

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn
from torch.nn import functional as F

import senet_viz.gates.hooks as hooks_module
from senet_viz.gates import ModelBusy, contribution_points, grad_cam, inspect, record
from senet_viz.gates.hooks import hooked
from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.models import Model

RESNET_LAYERS = ("layer1", "layer2", "layer3", "layer4")
CAM_NETWORKS = {  # network → layers for Grad-CAM
    "timm/seresnet18": RESNET_LAYERS,
    "timm/seresnet50": RESNET_LAYERS,
    "timm/legacy_seresnet18": RESNET_LAYERS,
    "timm/skresnet18": RESNET_LAYERS,
    "slim/se": RESNET_LAYERS,
    "slim/sk": RESNET_LAYERS,
    "torchvision/mobilenet_v3_small": ("features.0", "features.3", "features.8", "features.12"),
}


def captum(module, batch, targets, layer, **options) -> torch.Tensor:
    """Captum's Grad-CAM before its ReLU, for (N, T) targets: (N, T, h, w)."""
    explain = LayerGradCam(module, module.get_submodule(layer))
    return torch.cat([explain.attribute(batch, target=targets[:, t], **options) for t in range(targets.shape[1])], 1)


def assert_captums(view, point, reference):
    """Each map to 1e-5 of its maximum; the weights too, by the signed sum that ReLU cuts off."""
    signed = torch.einsum("ntc,nchw->nthw", view.weights[point], view.features[point])
    assert view.cams[point].shape == reference.shape
    assert not view.cams[point].requires_grad
    assert reference.max() > 0
    for mine, mine_signed, theirs in zip(*(maps.flatten(0, 1) for maps in (view.cams[point], signed, reference))):
        assert (mine - theirs.relu()).abs().max() <= 1e-5 * theirs.relu().max()
        assert (mine_signed - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def model_of(module) -> Model:
    return Model(module, lambda image: torch.rand(3, 64, 64), [str(k) for k in range(10)])


def count_forwards(module):
    calls = []
    handle = module.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls, handle


# gates

def se(block, x):
    z = x.mean((2, 3))
    layers = [part for part in block.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    z = F.linear(z, layers[0].weight.flatten(1), layers[0].bias)
    z = F.silu(z) if any(isinstance(part, nn.SiLU) for part in block.modules()) else F.relu(z)
    return F.linear(z, layers[1].weight.flatten(1), layers[1].bias)


def sk(block, branches):
    """Our selective kernel's fuse and select, in evaluation mode."""
    norm, z = block.fuse[2], F.linear(sum(branches).mean((2, 3)), block.fuse[1].weight.flatten(1))
    z = (z - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    z = F.linear(F.relu(z), block.select.weight.flatten(1))
    return z.view(len(z), len(branches), -1).softmax(1)


def timm_sk(block, branches):
    attn, norm = block.attn, block.attn.bn
    z = F.linear(sum(branches).mean((2, 3)), attn.fc_reduce.weight.flatten(1))
    z = (z - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    z = F.linear(F.relu(z), attn.fc_select.weight.flatten(1))
    return z.view(len(z), len(branches), -1).softmax(1)


def eca(block, x):
    weight = block.conv.weight.flatten()
    z, k = x.mean((2, 3)), len(weight) // 2
    padded = torch.cat([torch.zeros(len(z), k), z, torch.zeros(len(z), k)], 1)
    return sum(w * padded[:, i:i + z.shape[1]] for i, w in enumerate(weight))


def hard_sigmoid(z):
    return ((z + 3) / 6).clamp(0, 1)


GATES_BY_HAND = {
    "timm/seresnet18": lambda block, x: torch.sigmoid(se(block, x)),
    "timm/legacy_seresnet18": lambda block, x: torch.sigmoid(se(block, x)),
    "slim/se": lambda block, x: torch.sigmoid(se(block, x)),
    "timm/efficientnet_b0": lambda block, x: torch.sigmoid(se(block, x)),
    "timm/mobilenetv3_small_050": lambda block, x: hard_sigmoid(se(block, x)),
    "torchvision/mobilenet_v3_small": lambda block, x: hard_sigmoid(se(block, x)),
    "torchvision/efficientnet_b0": lambda block, x: torch.sigmoid(se(block, x)),
    "timm/ecaresnet26t": lambda block, x: torch.sigmoid(eca(block, x)),
    "timm/ese_vovnet19b_dw": lambda block, x: hard_sigmoid(
        F.linear(x.mean((2, 3)), block.fc.weight.flatten(1), block.fc.bias)),
    "timm/hgnet_tiny": lambda block, x: torch.sigmoid(
        F.linear(x.mean((2, 3)), block.conv.weight.flatten(1), block.conv.bias)),
    "timm/skresnet18": timm_sk,
    "slim/sk": sk,
}


@pytest.mark.parametrize("name", GATES_BY_HAND)
def test_gates_and_what_they_scale(network, pictures, name):
    """The gate is what its layers give by hand for the block's input, and gate · input is the block's output."""
    module, batch = network(name), pictures(2)
    with torch.no_grad():
        logits = module(batch)
    view = inspect(module, batch)
    points = [(block.label, place) for block in view.blocks for place in ("input", "output", *range(len(block.paths)))]
    view = inspect(module, batch, features=points)
    torch.testing.assert_close(view.logits, logits)
    assert list(view.gates) == [block.name for block in view.blocks]
    for block in view.blocks:
        gate, u = view.gates[block.name], view.features[block.name, "input"]
        assert gate.shape == (2, block.branches, block.channels)
        assert gate.dtype == torch.float32
        branches = [view.features[block.name, m] for m in range(len(block.paths))]
        part = module.get_submodule(block.name)
        with torch.no_grad():
            by_hand = GATES_BY_HAND[name](part, branches or u)
        torch.testing.assert_close(gate, by_hand.view(gate.shape), rtol=1e-4, atol=1e-5)
        scaled = gate[:, :, :, None, None] * (torch.stack(branches, 1) if branches else u[:, None])
        torch.testing.assert_close(scaled.sum(1), view.features[block.name, "output"], rtol=1e-4, atol=1e-5)
        if branches:
            torch.testing.assert_close(u, sum(branches))
            torch.testing.assert_close(gate.sum(1), torch.ones(2, block.channels))
    assert max(float((gate[0] - gate[1]).abs().max()) for gate in view.gates.values()) > 0.01


def test_the_last_unit_of_a_resnet_written_out(network, pictures):
    """In-place additions and ReLUs overwrite what a hook kept without cloning; seresnet50 does both after its gate."""
    module, batch = network("timm/seresnet50"), pictures(2)
    unit = module.layer4[2]
    view = inspect(module, batch, [1], ["layer4"], features=[
        "layer4.1", "layer4.2.bn3", "layer4.2.act1", "layer4.2", "layer4", ("SE_5_3", "input"), ("SE_5_3", "output"),
        ("SE_5_3", "shortcut")])
    with torch.no_grad():
        x = view.features["layer4.1"]
        first = F.relu(unit.bn1(unit.conv1(x)))
        u = unit.bn3(unit.conv3(F.relu(unit.bn2(unit.conv2(first)))))
        hidden = F.relu(unit.se.fc1(u.mean((2, 3), keepdim=True)))
        output = u * torch.sigmoid(unit.se.fc2(hidden))
        end = F.relu(output + x)
        logits = module.fc(end.mean((2, 3)))
    expected = {
        "layer4.2.act1": first, "layer4.2.bn3": u, ("layer4.2.se", "input"): u, ("layer4.2.se", "output"): output,
        ("layer4.2.se", "shortcut"): x, "layer4.2": end, "layer4": end}
    for point, value in expected.items():
        torch.testing.assert_close(view.features[point], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(view.logits, logits, rtol=1e-4, atol=1e-5)
    assert (view.features["layer4.2.se", "output"] < 0).any()  # the ReLU that follows has not touched it


@pytest.mark.parametrize("name", ["timm/seresnet18", "timm/seresnet50", "slim/se", "timm/legacy_seresnet18"])
def test_a_residual_unit_is_the_gates_output_and_its_shortcut(network, pictures, name):
    module, batch = network(name), pictures(1)
    blocks = record(module, batch).blocks
    units = {block: block.name.rpartition(".")[0] for block in blocks}
    view = inspect(module, batch, features=[*units.values(), *((block, place) for block in blocks
                                                               for place in ("output", "shortcut"))])
    for block, unit in units.items():
        total = view.features[block.name, "output"] + view.features[block.name, "shortcut"]
        torch.testing.assert_close(total.relu(), view.features[unit])


def test_contribution_points(network, pictures):
    se_view = record(network("timm/seresnet18"), pictures(1))
    assert contribution_points(se_view.blocks[:2]) == [
        ("layer1.0.se", "input"), ("layer1.0.se", "shortcut"), ("layer1.1.se", "input"), ("layer1.1.se", "shortcut")]
    sk_view = record(network("slim/sk"), pictures(1))
    assert contribution_points(sk_view.blocks[:1]) == [("layer1.0.conv2", 0), ("layer1.0.conv2", 1)]


# Grad-CAM

@pytest.mark.parametrize("name", CAM_NETWORKS)
def test_grad_cam_is_captums(network, pictures, unchanged, name):
    """Two images, three classes each, different for each image."""
    module, batch, layers = network(name), pictures(2), CAM_NETWORKS[name]
    targets = torch.tensor([[3, 0, 7], [1, 9, 2]])
    with unchanged(module):
        view = inspect(module, batch, targets, layers, layers)
    assert list(view.cams) == list(layers)
    for layer in layers:
        assert_captums(view, layer, captum(module, batch, targets, layer))


@pytest.mark.parametrize("name", ["timm/seresnet18", "slim/se", "slim/sk", "torchvision/mobilenet_v3_small"])
def test_a_batch_is_its_images(network, pictures, name):
    """In double precision: convolutions of one image and of two are computed in different orders."""
    module, batch, layers = copy.deepcopy(network(name)).double(), pictures(2), CAM_NETWORKS[name]
    targets = torch.tensor([[3, 0, 7], [1, 9, 2]])
    view = inspect(module, batch, targets, layers, layers)
    for i in range(2):
        alone = inspect(module, batch[i:i + 1], targets[i], layers, layers)
        for mine, theirs in [(alone.gates, view.gates), (alone.features, view.features), (alone.cams, view.cams),
                             (alone.weights, view.weights)]:
            assert mine.keys() == theirs.keys()
            for key in mine:
                torch.testing.assert_close(mine[key][0], theirs[key][i], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(alone.logits[0], view.logits[i])


@pytest.mark.parametrize("name, point, layer, options", [
    ("timm/seresnet18", ("SE_3_1", "input"), "layer2.0.se", {"attribute_to_layer_input": True}),
    ("timm/seresnet18", ("SE_3_1", "output"), "layer2.0.se", {}),
    ("timm/seresnet18", ("SE_3_1", "shortcut"), "layer2.0.downsample", {}),
    ("timm/seresnet18", ("SE_3_2", "shortcut"), "layer2.1", {"attribute_to_layer_input": True}),
    ("timm/legacy_seresnet18", ("SE_5_2", "output"), "layer4.1.se_module", {}),
    ("timm/ecaresnet26t", ("ECA_4_1", "input"), "layer3.0.se", {"attribute_to_layer_input": True}),
    ("slim/se", ("SE_5_3", "output"), "layer4.2.se", {}),
    ("slim/sk", ("SK_3_2", 0), "layer2.1.conv2.branches.0", {}),
    ("slim/sk", ("SK_3_2", 1), "layer2.1.conv2.branches.1", {}),
    ("slim/sk", ("SK_3_2", "output"), "layer2.1.conv2", {}),
    ("timm/skresnet18", ("SK_5_1", 1), "layer4.0.conv1.paths.1", {}),
    ("torchvision/mobilenet_v3_small", ("SE_4_1", "input"), "features.4.block.2", {"attribute_to_layer_input": True}),
])
def test_grad_cam_at_blocks_is_captums(network, pictures, unchanged, name, point, layer, options):
    module, batch, targets = network(name), pictures(2), torch.tensor([[3, 0, 7, 4], [1, 9, 2, 5]])
    block = next(block for block in record(module, batch).blocks if block.label == point[0])
    with unchanged(module):
        view = inspect(module, batch, targets, [point], [point])
    assert_captums(view, (block.name, point[1]), captum(module, batch, targets, layer, **options))


def test_weights_are_mean_gradients(network, pictures):
    module, batch = network("timm/seresnet18"), pictures(2)
    kept = {}
    handle = module.layer3.register_forward_hook(lambda _, args, out: kept.update(map=out))
    logits = module(batch)
    handle.remove()
    gradient, = torch.autograd.grad(logits[:, 4].sum(), kept["map"])
    view = inspect(module, batch, [4], ["layer3"], ["layer3"])
    torch.testing.assert_close(view.weights["layer3"][:, 0], gradient.mean((2, 3)), rtol=1e-4, atol=1e-7)
    cam = (gradient.mean((2, 3))[:, :, None, None] * kept["map"]).sum(1).relu().detach()
    torch.testing.assert_close(view.cams["layer3"][:, 0], cam, rtol=1e-4, atol=1e-5 * float(cam.max()))


def test_many_points_at_once_are_the_same_as_one_at_a_time(network, pictures):
    """Also where several points share one tensor, and where a map is kept for the CAM and returned too."""
    module, batch = network("timm/seresnet18"), pictures(2)
    points = ["layer4", "layer4.1", "layer4.1.bn2", "layer4.1.se", ("SE_5_2", "output"), ("SE_5_2", "input"),
              ("SE_5_2", "shortcut"), "layer4.0", "act1", "conv1", ("SE_2_1", "shortcut"), "maxpool"]
    together = inspect(module, batch, [1, 2], points, points)
    assert len(together.cams) == len(points)
    for point in together.cams:
        alone = inspect(module, batch, [1, 2], [point])
        torch.testing.assert_close(together.cams[point], alone.cams[point], rtol=1e-4, atol=1e-8)
        torch.testing.assert_close(
            together.features[point], inspect(module, batch, features=[point]).features[point], rtol=1e-5, atol=1e-6)
    assert torch.equal(together.features["layer4.1.se"], together.features["layer4.1.se", "output"])


def test_no_targets_means_each_images_first_class(network, pictures):
    module, batch = network("timm/seresnet18"), pictures(8)
    view = inspect(module, batch, layers=["layer4"])
    first = view.logits.argmax(1, keepdim=True)
    assert len(first.unique()) > 1
    torch.testing.assert_close(view.cams["layer4"], inspect(module, batch, first, ["layer4"]).cams["layer4"])


@pytest.mark.parametrize("targets", [[4, 2], (4, 2), torch.tensor([4, 2]), torch.tensor([[4, 2], [4, 2]]),
                                     torch.tensor([4, 2], dtype=torch.uint8)])
def test_forms_of_targets(network, pictures, targets):
    module, batch = network("slim/se"), pictures(2)
    expected = captum(module, batch, torch.tensor([[4, 2], [4, 2]]), "layer3")
    assert_captums(inspect(module, batch, targets, ["layer3"], ["layer3"]), "layer3", expected)


def test_record_and_grad_cam_are_parts_of_inspect(network, pictures):
    module, batch = network("slim/sk"), pictures(2)
    view = inspect(module, batch, [1, 5], ["layer3", ("SK_5_1", "output")])
    gates = record(module, batch)
    torch.testing.assert_close(gates.logits, view.logits)
    torch.testing.assert_close(gates.gates, view.gates)
    assert (gates.cams, gates.features) == ({}, {})
    torch.testing.assert_close(grad_cam(module, batch, [1, 5], ["layer3", ("SK_5_1", "output")]), view.cams)


# one forward

@pytest.mark.parametrize("name", ["slim/se", "slim/sk"])
def test_one_forward_for_everything(network, pictures, name):
    module, batch = network(name), pictures(2)
    model = model_of(module)
    block = model.blocks[-1].name
    calls, handle = count_forwards(module)
    try:
        view = inspect(model, batch, [0, 1, 2, 3, 4], [*RESNET_LAYERS, (block, "output")],
                       contribution_points(model.blocks), retain_graph=True)
        assert len(calls) == 1
        cams, weights = view.grad_cam([[5, 6], [7, 8]])
        again, _ = view.grad_cam([5])
        assert len(calls) == 1
    finally:
        handle.remove()
    fresh = inspect(module, batch, [[5, 6], [7, 8]], [*RESNET_LAYERS, (block, "output")])
    torch.testing.assert_close(cams, fresh.cams)
    torch.testing.assert_close(weights, fresh.weights)
    torch.testing.assert_close(again["layer2"][0], cams["layer2"][0, :1])
    assert not torch.equal(view.cams["layer4"][:, :2], cams["layer4"])


def test_a_new_module_is_run_once_more_to_find_its_blocks(pictures):
    module = Tiny()
    calls, _ = count_forwards(module)
    record(module, pictures(3))
    record(module, pictures(3))
    assert len(calls) == 3


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda view: pickle.loads(pickle.dumps(view))])
def test_a_copy_of_a_view_holds_all_but_the_graph(network, pictures, copied):
    view = inspect(network("slim/se"), pictures(2), [1], ["layer4"], [("SE_3_1", "input")], retain_graph=True)
    other = copied(view)
    for name in ("gates", "features", "cams", "weights"):
        mine, theirs = getattr(other, name), getattr(view, name)
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in theirs)
    assert torch.equal(other.logits, view.logits) and other.blocks == view.blocks and repr(other) == repr(view)
    with pytest.raises(RuntimeError, match="kept no graph"):
        other.grad_cam([2])
    assert view.grad_cam([1])[0]["layer4"].equal(view.cams["layer4"])  # the view itself has it still


def test_a_view_keeps_a_graph_only_where_it_is_asked_to(network, pictures):
    view = inspect(network("slim/se"), pictures(1), [1], ["layer4"])
    with pytest.raises(RuntimeError, match="this view kept no graph"):
        view.grad_cam([2])
    kept = inspect(network("slim/se"), pictures(1), [1], ["layer4"], retain_graph=True)
    with pytest.raises(ValueError, match=r"targets must lie in 0\.\.9"):
        kept.grad_cam([10])
    assert kept.grad_cam([1])[0]["layer4"].shape == (1, 1, 4, 4)  # the refusal did not spend the graph


def test_nothing_outlives_the_view(network, pictures):
    """No cycle keeps a graph until the garbage collector comes by; memory would grow in loops."""
    model = model_of(network("slim/se"))
    model.blocks  # noqa: B018
    gc.disable()
    try:
        view = inspect(model, pictures(1), [1], ["layer1"], [("SE_2_1", "input")], retain_graph=True)
        alive = [weakref.ref(tensor) for tensor in (view._graph.logits, view._graph.maps["layer1"], view.logits,
                                                    view.features["layer1.0.se", "input"])]
        assert all(ref() is not None for ref in alive)
        del view
        assert [ref() for ref in alive] == [None] * 4
    finally:
        gc.enable()


# modes, types, networks of one's own

class Tiny(nn.Module):
    """Stem, gates, head; ``change`` works on the feature map behind the gates and on the logits."""

    def __init__(self, *, features=lambda x: x, logits=lambda y: y):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True))
        self.se, self.sk = SqueezeExcite(8, 2), SelectiveKernel(8, min_width=4, fuse_norm=False)
        self.side = nn.Conv2d(8, 8, 1)
        self.unused = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 10)
        self.features, self.logits = features, logits

    def forward(self, x):
        x = self.sk(self.se(self.stem(x)))
        self.side(x)
        return self.logits(self.head(self.features(x).mean((2, 3))))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_mode_does_not_matter(network, pictures, unchanged, mode):
    module, batch = network("slim/se"), pictures(2)
    expected = inspect(module, batch, [1, 2], ["layer2", "layer4"])
    further = inspect(module, batch, [3], ["layer2", "layer4"])
    with mode(), unchanged(module):
        view = inspect(module, pictures(2), [1, 2], ["layer2", "layer4"], retain_graph=True)
        cams, _ = view.grad_cam([3])
        fresh = record(Tiny(), pictures(2))  # made, searched and recorded in this mode
    torch.testing.assert_close(dict(view.cams), expected.cams)
    torch.testing.assert_close(view.gates, expected.gates)
    torch.testing.assert_close(dict(cams), further.cams)
    assert len(fresh.gates) == 2


def test_a_view_made_with_gradients_is_asked_without(network, pictures):
    module, batch = network("slim/se"), pictures(1)
    view = inspect(module, batch, [1], ["layer4"], retain_graph=True)
    with torch.no_grad():
        torch.testing.assert_close(view.grad_cam([2])[0], inspect(module, batch, [2], ["layer4"]).cams)


def test_training_mode_and_frozen_weights_change_nothing(network, pictures, unchanged):
    module, batch = network("slim/se"), pictures(2)
    expected = inspect(module, batch, [1], RESNET_LAYERS)
    parameters = list(module.parameters())
    try:
        module.train()
        module.layer2[1].eval()
        for parameter in parameters[::2]:
            parameter.requires_grad_(False)
        with unchanged(module):
            mixed = inspect(module, batch, [1], RESNET_LAYERS)
        for parameter in parameters:
            parameter.requires_grad_(False)
        with unchanged(module):
            frozen = inspect(module, batch, [1], RESNET_LAYERS)
    finally:
        module.eval().requires_grad_(True)
    for view in (mixed, frozen):
        torch.testing.assert_close(view.logits, expected.logits)
        torch.testing.assert_close(view.cams, expected.cams)


def test_a_batch_that_wants_gradients_gets_none(network, pictures):
    batch = pictures(1).requires_grad_()
    view = inspect(network("slim/se"), batch, [1], ["layer4"])
    assert batch.grad is None
    assert not view.logits.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attention", ["se", "sk"])
def test_other_float_types(network, pictures, attention, dtype):
    """The network computes in its own type; what the view holds is float32, and exactly what the network computed."""
    module, batch, kept = copy.deepcopy(network(f"slim/{attention}")).to(dtype), pictures(2), {}
    view = inspect(module, batch, [4], ["layer2"], ["layer2"])
    tensors = [view.logits, *view.gates.values(), view.cams["layer2"], view.weights["layer2"], view.features["layer2"]]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert len(view.gates) == 16

    block = view.blocks[7]
    module.get_submodule(block.gate).register_forward_hook(lambda _, args, out: kept.update(gate=out.detach()))
    module.layer2.register_forward_hook(lambda _, args, out: kept.update(map=out))
    logits = module(batch.to(dtype))
    gradient, = torch.autograd.grad(logits[:, 4].sum(), kept["map"])
    weights, features = gradient.float().mean((2, 3)), kept["map"].detach().float()
    assert logits.dtype == gradient.dtype == dtype
    torch.testing.assert_close(view.logits, logits.float())
    torch.testing.assert_close(view.gates[block.name].flatten(), kept["gate"].float().flatten())
    torch.testing.assert_close(view.features["layer2"], features)
    torch.testing.assert_close(view.weights["layer2"][:, 0], weights)
    torch.testing.assert_close(view.cams["layer2"][:, 0], torch.einsum("nc,nchw->nhw", weights, features).relu())


def test_a_compiled_network_is_inspected_eagerly(network, pictures):
    module, batch = network("slim/se"), pictures(1)
    compiled = torch.compile(module, backend=lambda *_: pytest.fail("compiled"))
    expected = inspect(module, batch, [1], ["layer4"])
    for wrapper in (compiled, model_of(compiled)):
        view = inspect(wrapper, batch, [1], ["layer4"])
        torch.testing.assert_close(view.cams, expected.cams)
        torch.testing.assert_close(view.gates, expected.gates)


def test_a_network_without_values(pictures):
    with torch.device("meta"):
        module = Tiny()
    with pytest.raises(ValueError, match="meta"):
        inspect(module, pictures(1))


def test_a_network_without_gates(network, pictures):
    module, batch, targets = network("timm/resnet18"), pictures(2), torch.tensor([[1], [2]])
    view = inspect(module, batch, targets, ["layer3"], ["layer3"])
    assert (view.gates, view.blocks) == ({}, [])
    assert_captums(view, "layer3", captum(module, batch, targets, "layer3"))


@pytest.mark.parametrize("wrap", [
    lambda y: namedtuple("Output", "logits aux")(y, y * 0), lambda y: (y, y * 0),
    lambda y: type("Output", (), {"logits": y})(),
])
def test_logits_in_an_object(pictures, wrap):
    expected = inspect(Tiny(), pictures(2), [3], ["sk"])
    view = inspect(Tiny(logits=wrap), pictures(2), [3], ["sk"])
    torch.testing.assert_close(view.logits, expected.logits)
    torch.testing.assert_close(view.cams, expected.cams)


def test_hooks_of_ones_own_stay_and_fire(pictures):
    module, seen = Tiny(), []
    module.se.register_forward_hook(lambda _, args, out: seen.append("forward") or out * 2)
    module.se.gate.register_forward_pre_hook(lambda *_: seen.append("before"))
    module.head.register_full_backward_hook(lambda *_: seen.append("backward"))
    view = inspect(module, pictures(1), [1], ["sk"], ["se"])
    assert seen.count("forward") == seen.count("before") == 2  # the search and the forward
    assert seen.count("backward") == 1
    with torch.no_grad():
        torch.testing.assert_close(view.features["se"], module.se(module.stem(pictures(1))))  # with the hook's factor
    assert [len(part._forward_hooks) for part in (module.se, module.sk, module.sk.gate)] == [1, 0, 0]


def test_points_are_as_one_image_sees_them(pictures):
    """An in-place operation on what a point's module returned does not reach the map that is kept."""
    def spoil(x):
        x.mul_(0)
        return x + 1

    module = Tiny(features=spoil).eval()
    view = inspect(module, pictures(1), features=["sk", ("SK_1_2", "output")])
    with torch.no_grad():
        expected = module.sk(module.se(module.stem(pictures(1))))
    torch.testing.assert_close(view.features["sk"], expected)
    torch.testing.assert_close(view.features["sk", "output"], expected)
    assert expected.any()


def test_a_gate_that_is_overwritten_after_use(pictures):
    class Careless(SqueezeExcite):
        def forward(self, x):
            s = self.gate(self.expand(self.relu(self.reduce(x.mean((2, 3))))))
            output = x * s[:, :, None, None]
            s.zero_()
            return output

    module, batch = Tiny().eval(), pictures(1)
    expected = record(module, batch).gates
    careless = Careless(8, 2)
    careless.load_state_dict(module.se.state_dict())
    module.se = careless
    torch.testing.assert_close(record(module, batch).gates, expected)


@pytest.mark.parametrize("point", ["same", ("SE_1_1", "input")])
def test_a_map_that_others_hold_and_overwrite(pictures, point):
    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.stem, self.same, self.se = nn.Conv2d(3, 8, 3, 2, 1), nn.Identity(), SqueezeExcite(8, 2)

        def forward(self, x):
            u = self.stem(x)
            y = self.same(u) + self.se(u)
            u.zero_()
            return y.mean((2, 3))

    module, batch = Holds(), pictures(1)
    view = inspect(module, batch, [3], [point], [point])
    alone = inspect(module, batch, features=[point])
    (key, cam), = view.cams.items()
    u = module.stem(batch).detach()
    torch.testing.assert_close(view.features[key], u)
    torch.testing.assert_close(alone.features[key], u)
    torch.testing.assert_close(cam, torch.einsum("ntc,nchw->nthw", view.weights[key], u).relu())


# bad input: one sentence, and the network as before

BAD_INPUT = {
    "unknown layer": (dict(layers=["layer9"]), ValueError, "ResNet has no layer 'layer9'"),
    "a label alone": (dict(layers=["SK_2_1"]), ValueError,
                      r"ResNet has no layer 'SK_2_1'; the block's output is \('SK_2_1', 'output'\)$"),
    "unknown feature": (dict(features=["layer9"]), ValueError, "ResNet has no layer 'layer9'"),
    "unknown block": (dict(layers=[("SE_9_9", "output")]), ValueError, "no attention block 'SE_9_9'.* SK_2_1, "),
    "unknown place": (dict(features=[("SK_2_1", "middle")]), ValueError, "no 'middle': .* branch from 0 to 1"),
    "branch too high": (dict(features=[("SK_2_1", 2)]), ValueError, "SK_2_1 has no 2: choose"),
    "branch below 0": (dict(layers=[("SK_2_1", -1)]), ValueError, "SK_2_1 has no -1: choose"),
    "SK input": (dict(layers=[("SK_2_1", "input")]), ValueError, "SK_2_1 sums its branches only to pool them"),
    "no shortcut": (dict(features=[("SK_2_1", "shortcut")]), ValueError, "SK_2_1 has no shortcut"),
    "no feature map": (dict(layers=["layer4", "fc"]), ValueError, r"fc gives no feature map .* but \(2, 10\)"),
    "run more than once": (dict(layers=["layer1.0.relu"]), RuntimeError,
                           "layer1.0.relu was reached 2 times .*its calls are layer1.0.relu@0 to layer1.0.relu@1$"),
    "a number": (dict(layers=[3]), ValueError, "a layer is a module's path, a module, a block, .* not 3$"),
    "a number alone": (dict(features=3), ValueError, "a layer is a module's path, .* not 3$"),
    "three in a point": (dict(layers=[("SK_2_1", "output", 0)]), ValueError, "a layer is .* not .'SK_2_1', 'output',"),
    "an odd place": (dict(layers=[("SK_2_1", None)]), ValueError, "a layer is .* not .'SK_2_1', None"),
    "an odd block": (dict(layers=[(["SK_2_1"], "output")]), ValueError, "there is no attention block .'SK_2_1'.;"),
    "ragged classes": (dict(layers=["layer4"], targets=[[1], [2, 3]]), ValueError, "targets are class indices"),
    "names of each": (dict(layers=["layer4"], targets=[["cat"], ["dog"]]), ValueError,
                      "where a senet_viz.Model knows|no class"),
    "class too high": (dict(layers=["layer4"], targets=[0, 10]), ValueError, "in 0..9; found 0 to 10"),
    "class below 0": (dict(layers=["layer4"], targets=[-1]), ValueError, "in 0..9; found -1"),
    "no class": (dict(layers=["layer4"], targets=[]), ValueError, "targets are class indices"),
    "class names": (dict(layers=["layer4"], targets=["cat"]), ValueError, "where a senet_viz.Model knows|no class"),
    "a function of nothing": (dict(layers=["layer4"], targets=[len]), ValueError, "gives one number.*not int"),
    "fractional class": (dict(layers=["layer4"], targets=[0.5]), ValueError, "targets are class indices"),
    "mask of classes": (dict(layers=["layer4"], targets=[True]), ValueError, "targets are class indices"),
    "too many rows": (dict(layers=["layer4"], targets=[[1], [2], [3]]), ValueError, "3 rows for 2 images"),
    "too many dimensions": (dict(layers=["layer4"], targets=[[[1]]]), ValueError, "targets are class indices"),
    "one map": (dict(batch=torch.rand(64, 64)), ValueError, r"a batch has the shape \(N, channels, height, width\)"),
    "no picture": (dict(batch=torch.rand(0, 3, 64, 64)), ValueError, r"a batch has the shape \(N, channels, height"),
    "a list": (dict(batch=[1, 2]), ValueError, r"a batch is a tensor .* not list"),
    "grey picture": (dict(batch=torch.rand(1, 1, 64, 64)), RuntimeError, "expected input.* to have 3 channels"),
}


@pytest.fixture(scope="module", params=[lambda module: module, model_of], ids=["module", "model"])
def works(network, request):
    """A network, by itself or as a model, and what it gives for one picture."""
    model = request.param(network("slim/sk"))
    batch = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return model, batch, inspect(model, batch, [1], ["layer4"])


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input(network, works, pictures, unchanged, case):
    arguments, error, message = BAD_INPUT[case]
    module = network("slim/sk")
    model, batch, expected = works
    module.train()
    try:
        with unchanged(module), pytest.raises(error, match=message):
            inspect(model, **({"batch": pictures(2)} | arguments))
    finally:
        module.eval()
    torch.testing.assert_close(inspect(model, batch, [1], ["layer4"]).cams, expected.cams)  # and works on


@pytest.mark.parametrize("module, layers, error, message", [
    (Tiny(features=lambda x: x.detach()), ["sk"], RuntimeError, "no gradient leads from what is explained to sk: "),
    (Tiny(), ["sk", "side"], RuntimeError, "no gradient leads from what is explained to side: "),
    (Tiny(), ["unused"], RuntimeError, "unused was reached 0 times"),
    (Tiny(logits=lambda y: y.detach()), ["sk"], RuntimeError, "Tiny computes its logits without gradients"),
    (Tiny(logits=lambda y: {"one": y, "other": y}), ["sk"], ValueError, r"no logits of shape \(N, classes\)"),
    (Tiny(logits=lambda y: y[:, :, None]), ["sk"], ValueError, r"no logits of shape \(N, classes\)"),
    (Tiny(logits=lambda y: ()), ["sk"], ValueError, r"no logits of shape \(N, classes\)"),
])
def test_networks_that_cannot_be_explained(pictures, unchanged, module, layers, error, message):
    with unchanged(module), pytest.raises(error, match=message):
        inspect(module, pictures(1), [1], layers)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_layer_before_a_quantised_head_is_named_as_it_was_asked_for(pictures, unchanged):
    """Its gates and logits are to be had all the same."""
    module = torch.ao.quantization.quantize_dynamic(Tiny(), {nn.Linear}, torch.qint8).eval()
    block = inspect(module, pictures(1)).blocks[0]
    for layer, said in {"sk": "sk", module.sk: "sk", (block.label, "output"): f"{block.label} output",
                        block: f"{block.name} output"}.items():
        message = rf"^no gradient leads from what is explained to {said}: what follows it may have none, as quantised"
        with unchanged(module), pytest.raises(RuntimeError, match=message):
            inspect(module, pictures(1), [1], [layer])


@pytest.mark.parametrize("crash", [KeyError("inside"), KeyboardInterrupt()])
@pytest.mark.parametrize("layers", [[], ["stem", "sk"]])
def test_a_crash_inside_the_network(pictures, unchanged, crash, layers):
    broken = []

    def features(x):
        if broken:
            raise crash
        return x

    module = Tiny(features=features).train()
    module.se.eval()
    expected = inspect(module, pictures(1))
    broken.append(True)
    with unchanged(module), pytest.raises(type(crash)):
        inspect(module, pictures(1), [1], layers)
    broken.clear()
    torch.testing.assert_close(inspect(module, pictures(1)).logits, expected.logits)


# threads

def in_threads(functions):
    """Run all at once; an exception in one is raised here."""
    start, errors, results = threading.Barrier(len(functions)), [], [None] * len(functions)

    def run(i, function):
        try:
            start.wait(20)
            results[i] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if errors:
        raise errors[0]
    return results


@pytest.mark.parametrize("name", ["slim/se", "slim/sk"])
def test_eight_threads_share_a_model(network, pictures, unchanged, name):
    module = network(name)
    model = model_of(module)
    batches = [pictures(1, seed=seed) for seed in range(8)]

    def explain(batch, i):
        return inspect(model, batch, [i, i + 1], ["layer2", "layer4"], retain_graph=True)

    expected = [explain(batch, i) for i, batch in enumerate(batches)]
    with unchanged(module):
        views = in_threads([lambda b=b, i=i: [explain(b, i) for _ in range(3)][-1] for i, b in enumerate(batches)])
        further = in_threads([lambda v=view: v.grad_cam([0])[0] for view in views])
        same = in_threads([lambda k=k: views[0].grad_cam([k])[0]["layer2"] for k in range(8)])
    for i, (view, reference) in enumerate(zip(views, expected)):
        torch.testing.assert_close(view.logits, reference.logits)
        torch.testing.assert_close(view.gates, reference.gates)
        torch.testing.assert_close(view.cams, reference.cams, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(further[i], reference.grad_cam([0])[0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(same[i], expected[0].grad_cam([i])[0]["layer2"], rtol=1e-4, atol=1e-6)
    assert len({float(view.logits[0, 0]) for view in expected}) == 8  # the pictures do differ


def test_another_threads_forward_is_neither_seen_nor_changed(network, pictures):
    """A bare forward of another thread runs from start to end in the middle of an inspection."""
    module, batch, other = network("slim/se"), pictures(2), pictures(3, seed=5)
    with torch.no_grad():
        expected_other = module(other)
    expected = inspect(module, batch, [1], RESNET_LAYERS, ["layer3"])
    outputs, inspecting = [], threading.get_ident()

    def interrupt(*_):
        if threading.get_ident() == inspecting:
            thread = threading.Thread(target=lambda: outputs.append(module(other)))
            thread.start()
            thread.join(60)

    handles = [module.get_submodule(path).register_forward_hook(interrupt) for path in ("layer1", "layer3.2.se")]
    try:
        view = inspect(module, batch, [1], RESNET_LAYERS, ["layer3"])
    finally:
        for handle in handles:
            handle.remove()
    assert len(outputs) == 2
    for output in outputs:
        torch.testing.assert_close(output, expected_other)
        assert output.requires_grad  # that thread's own gradient mode
    torch.testing.assert_close(view.gates, expected.gates)
    torch.testing.assert_close(view.cams, expected.cams)
    torch.testing.assert_close(view.features, expected.features)


@pytest.mark.parametrize("known", [True, False], ids=["blocks known", "blocks unknown"])
@pytest.mark.parametrize("wrap", [lambda module: module, model_of], ids=["module", "model"])
def test_a_busy_model(pictures, unchanged, known, wrap):
    module = Tiny()
    model = wrap(module)
    if known:
        record(model, pictures(1))
    held, release = threading.Event(), threading.Event()

    def use():
        with hooked(module):
            held.set()
            release.wait(20)

    thread = threading.Thread(target=use)
    thread.start()
    assert held.wait(20)
    try:
        with unchanged(module), pytest.raises(ModelBusy):
            inspect(model, pictures(1), wait=0.05)
        record(Tiny(), pictures(1))  # another network is free
    finally:
        release.set()
        thread.join()
    assert len(inspect(model, pictures(1), wait=0.05).gates) == 2


def test_others_may_use_the_model_during_the_backward(pictures, monkeypatch):
    """Only the forward holds the model: autograd needs no hooks."""
    module = Tiny()
    record(module, pictures(1))
    results = []

    def backward(_):
        thread = threading.Thread(target=lambda: results.append(inspect(module, pictures(2), wait=5)))
        thread.start()
        thread.join(20)

    def forward(_, args, output):
        if output.requires_grad:
            output.register_hook(backward)

    module.head.register_forward_hook(forward)
    monkeypatch.setattr(hooks_module, "WAIT", 5)
    inspect(module, pictures(1), [1], ["sk"])
    assert [len(view.gates) for view in results] == [2]


# layers as the peers take them, and maps as some networks lay them out

class Part(nn.Module):
    """A stem, a gate and a head around ``body``."""

    def __init__(self, body):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.se, self.body, self.head = nn.Conv2d(3, 8, 3, 2, 1), SqueezeExcite(8), body, nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.head(self.body(self.se(self.stem(x))).mean((2, 3)))


def test_layers_as_a_module_a_path_or_a_list_of_either(pictures):
    net, batch = Part(nn.Conv2d(8, 8, 3)), pictures(1)
    expected = inspect(net, batch, [1], ["se"]).cams
    for layers in ("se", net.se, [net.se], ("se",)):
        view = inspect(net, batch, [1], layers)
        assert list(view.cams) == ["se"]
        assert torch.equal(view.cams["se"], expected["se"])
    with pytest.raises(ValueError, match="the layer ReLU is no part of Part"):
        inspect(net, batch, [1], [nn.ReLU()])


def test_a_sequential_that_is_run_part_by_part(pictures):
    class ByHand(Part):
        def forward(self, x):
            x = self.stem(x)
            for part in self.body:
                x = part(x)
            return self.head(x.mean((2, 3)))

    body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Sequential(nn.ReLU(), nn.Identity()))
    net, batch = ByHand(body), pictures(1)
    found, expected = (inspect(net, batch, [1], [layer]).cams[layer] for layer in ("body", "body.1.1"))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("side", [(64, 64), (64, 96), (70, 50)])
def test_a_layer_whose_channels_come_last_is_turned(pictures, side):
    class Last(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).contiguous()

    class First(nn.Module):
        def forward(self, x):
            return x.permute(0, 3, 1, 2)

    net, batch = Part(nn.Sequential(nn.Conv2d(8, 8, 3), Last(), nn.Identity(), First())), torch.rand(2, 3, *side)
    view = inspect(net, batch, [1, 2], ["body.1", "body.0", "body.2"], ["body.1", "body.0"])
    for layer in ("body.1", "body.2"):
        torch.testing.assert_close(view.cams[layer], view.cams["body.0"])
        torch.testing.assert_close(view.weights[layer], view.weights["body.0"])
    torch.testing.assert_close(view.features["body.1"], view.features["body.0"])
    with torch.no_grad():
        torch.testing.assert_close(view.logits, net(batch))


class Signals(nn.Module):
    """A convolution of signals, ``last``, which has (N, T, C) with ``turn``, and a head of ``length`` or of a mean."""

    def __init__(self, last, turn, length=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.last, self.turn = nn.Conv1d(2, 16, 5, 2), last, turn
        self.head = nn.Linear(16 * (length or 1), 3)
        self.length, self.runs = length, 0
        self.register_buffer("longest", torch.zeros(()))
        self.eval()

    def forward(self, x):
        self.runs += 1
        self.longest += x.shape[-1]
        x = self.conv(x)
        x = self.last(x.permute(0, 2, 1)).permute(0, 2, 1) if self.turn else self.last(x)
        return self.head(x.flatten(1) if self.length else x.mean(2))


@pytest.mark.parametrize("length", [None, 198], ids=["any length", "one length"])
def test_a_signals_layer_whose_channels_come_last_is_turned(unchanged, length):
    net, batch = Signals(nn.LayerNorm(16), True, length), torch.rand(2, 2, 400)
    with unchanged(net):
        view = inspect(net, batch, [1], ["last", "conv"], ["last"])
    assert view.cams["last"].shape == view.cams["conv"].shape == (2, 1, 198)
    assert view.cams["last"].any()
    with torch.no_grad():
        expected = F.layer_norm(net.conv(batch).transpose(1, 2), (16,)).transpose(1, 2)
        torch.testing.assert_close(view.features["last"], expected)
        torch.testing.assert_close(view.logits, net(batch))
    gradient = net.head.weight[1]  # by hand: (16 · 198,) of single places, or (16,) of a mean over 198
    weight = gradient.view(16, 198).mean(1) if length else gradient / 198
    torch.testing.assert_close(view.weights["last"][0, 0], weight.detach())
    runs = net.runs
    inspect(net, batch, [1], ["last"])
    assert net.runs == runs + 1  # what was found is kept


@pytest.mark.parametrize("part", [nn.ReLU(), nn.AdaptiveAvgPool1d(8), nn.Linear(198, 198)])
def test_a_signals_layer_whose_channels_come_second_is_not(part):
    net, batch = Signals(part, False), torch.rand(2, 2, 400)
    view = inspect(net, batch, [1], ["last"], ["last"])
    with torch.no_grad():
        expected = net.last(net.conv(batch))
    torch.testing.assert_close(view.features["last"], expected)
    assert view.cams["last"].shape == (2, 1, expected.shape[2])


class Windows(nn.Module):
    """A convolution of each window of 8 × 8, as windowed attention folds them into the batch; (N, 8, 32, 32)."""

    def __init__(self):
        super().__init__()
        self.inside = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        x = x.unflatten(2, (4, 8)).unflatten(4, (4, 8)).permute(0, 2, 4, 1, 3, 5)  # (N, 4, 4, 8, 8, 8)
        windows = self.inside(x.flatten(0, 2)).unflatten(0, x.shape[:3])
        return windows.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def test_maps_of_windows_are_no_maps_of_pictures(pictures, unchanged):
    net = Part(Windows())
    for n in (1, 2):
        with unchanged(net), pytest.raises(ValueError, match=f"body.inside gives {16 * n} maps for a batch of {n}, "):
            inspect(net, pictures(n), [1], ["body.inside"])
    assert inspect(net, pictures(2), [1], ["body"]).cams["body"].shape == (2, 1, 32, 32)


def test_maps_of_frames_without_gates_are_had():
    class Frames(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

        def forward(self, x):
            return self.head(self.conv(x.transpose(1, 2).flatten(0, 1)).mean((2, 3))).unflatten(0, (len(x), -1)).mean(1)

    assert inspect(Frames(), torch.rand(2, 3, 7, 16, 16), [1], ["conv"]).cams["conv"].shape == (14, 1, 14, 14)


def test_a_block_is_a_layer(network, pictures):
    net = network("slim/se")
    block = record(net, pictures(1)).blocks[3]
    expected = inspect(net, pictures(1), [1], [(block.name, "output")]).cams
    for layers in (block, [block], [(net.get_submodule(block.name), "output")]):
        cams = inspect(net, pictures(1), [1], layers).cams
        assert list(cams) == [(block.name, "output")]
        assert torch.equal(cams[block.name, "output"], expected[block.name, "output"])


def test_a_script_is_no_layer(pictures, unchanged):
    net = Part(nn.Sequential(nn.Conv2d(8, 8, 3), torch.jit.script(nn.Sequential(nn.ReLU()))))
    for layer in ("body.1", net.body[1], "body.1.0"):
        with unchanged(net), pytest.raises(ValueError, match=r"the layer 'body\.1.*' is a script"):
            inspect(net, pictures(1), [1], [layer])
    around, before = (inspect(net, pictures(1), [1], [layer], [layer]) for layer in ("body", "body.0"))
    assert torch.equal(around.features["body"], before.features["body.0"].relu())


def test_the_whole_network_is_no_layer(pictures):
    net = Part(nn.Identity())
    with pytest.raises(ValueError, match=r"^the whole network gives no feature map .* but \(2, 5\)"):
        inspect(net, pictures(2), [1], [net])


def test_a_strip_is_not_taken_for_channels_last(pictures):
    """A map pooled over one side has the picture's proportions in neither reading."""
    net = Part(nn.AdaptiveAvgPool2d((1, 16)))
    assert inspect(net, pictures(1), [1], ["body"]).cams["body"].shape == (1, 1, 1, 16)


def test_a_module_that_writes_into_its_own_input(pictures):
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.se = nn.Conv2d(4, 4, 3, 1, 1), SqueezeExcite(8)

        def forward(self, x):
            x[:, :4] = self.conv(x[:, :4])
            return x * self.se.gate(x)

    net = Part(Writes())
    name = record(net, pictures(1)).blocks[-1].name
    view = inspect(net, pictures(2), features=[(name, "input"), (name, "output")])
    gate = view.gates[name][:, 0, :, None, None]
    torch.testing.assert_close(view.features[name, "input"] * gate, view.features[name, "output"])


def test_a_networks_own_backward_that_fails(pictures, unchanged):
    class InPlace(nn.Module):
        def forward(self, x):
            y = x.sigmoid()
            y.mul_(2)
            return x * y

    net = Part(InPlace())
    with unchanged(net), pytest.raises(RuntimeError, match=r"own backward fails: .*inplace operation") as refusal:
        inspect(net, pictures(1), layers=["stem"])
    assert "Hint" not in str(refusal.value)


def test_classes_by_their_names(network, pictures):
    model = model_of(network("slim/se"))
    named, numbered = (inspect(model, pictures(1), [target], ["layer4"]).cams["layer4"]
                       for target in (model.classes[3], 3))
    assert torch.equal(named, numbered)


@pytest.mark.parametrize("targets, explained", [
    (np.int64(3), [3, 3]), (torch.tensor(3), [3, 3]), ("lark", [3, 3]), ([["lark"], ["newt"]], [3, 7]),
    (np.array([[3], [7]]), [3, 7]), ([np.array([3]), np.array([7])], [3, 7]),
])
def test_a_figure_says_what_targets_of_any_form_explain(network, pictures, targets, explained):
    names = ["adder", "bison", "crane", "lark", "eland", "finch", "gecko", "newt", "ibex", "jay"]
    model = Model(network("slim/se"), lambda image: torch.rand(3, 64, 64), names)
    view = inspect(model, pictures(2), targets, ["layer4"])
    figure = view.plot("cams").to_json()
    assert [name for name in names if name in figure] == [names[k] for k in dict.fromkeys(explained)]
    by_index = inspect(network("slim/se"), pictures(2), [[k] for k in explained], ["layer4"])
    assert torch.equal(view.cams["layer4"], by_index.cams["layer4"])
