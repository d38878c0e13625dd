import importlib

import pytest
import timm
import torch
import torchvision

import senet_viz as sv
from senet_viz import models
from senet_viz.models.networks import NETWORKS
from senet_viz.models.resnet import ResNet

load = importlib.import_module("senet_viz.models.loading")  # the package's own attribute is the function

GATES = {  # network → widths of the gates, in order
    "se_resnet18": [64] * 2 + [128] * 2 + [256] * 2 + [512] * 2,
    "se_resnet34": [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3,
    "se_resnet50": [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3,
    "se_vgg16_bn": [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6,
    "se_bn_inception": [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024],
    "se_inception_v3": [256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048],
    "se_inception_resnet_v2": [320] * 11 + [1088] * 21 + [2080] * 11,
    "se_mobilenet": [64] + [128] * 2 + [256] * 2 + [512] * 6 + [1024] * 2,
    "se_shufflenet": [216] + [240] * 3 + [240] + [480] * 7 + [480] + [960] * 3,
    "sknet26": [128] * 2 + [256] * 2 + [512] * 2 + [1024] * 2,
}
UNITS = {"se_resnet18": (2, 2, 2, 2), "se_resnet34": (3, 4, 6, 3), "se_resnet50": (3, 4, 6, 3), "sknet26": (2, 2, 2, 2)}


@pytest.mark.parametrize(("name", "channels"), GATES.items())
def test_every_gate_is_found_once(name, channels, with_weights):
    with torch.device("meta"):
        network = NETWORKS[name](num_classes=5)
    with_weights(network)
    side = 128 if "inception_" in name else 64  # a gate on a 1×1 map is not to be told from another product
    x = torch.rand(2, 3, side, side)
    blocks = sv.find_blocks(network, x)
    assert [block.channels for block in blocks] == channels
    kind = "SK" if name.startswith("sk") else "SE"
    assert {block.kind for block in blocks} == {kind}
    labels = [block.label for block in blocks]
    assert len(set(labels)) == len(labels)
    if name in UNITS:
        assert labels == [f"{kind}_{stage}_{unit}" for stage, count in enumerate(UNITS[name], 2)
                          for unit in range(1, count + 1)]
    assert network(x).shape == (2, 5)


@pytest.mark.parametrize("name", NETWORKS)
def test_public_and_of_any_number_of_classes(name):
    assert getattr(models, name) is NETWORKS[name] and name in models.__all__
    if name not in GATES:  # seen above
        with torch.device("meta"):
            assert NETWORKS[name](num_classes=3).fc.out_features == 3


def test_what_se_adds_to_a_backbone():
    with torch.device("meta"):
        backbone, network = torchvision.models.vgg16_bn(), models.se_vgg16_bn()
    added = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in backbone.parameters())
    assert added == sum(2 * c * c // 16 + c // 16 + c for c in GATES["se_vgg16_bn"])


def test_loaded_by_name_with_random_weights():
    model = sv.load("paper/se_bn_inception", device="cpu", pretrained=False)
    assert (model.name, model.input_size, len(model.classes)) == ("paper/se_bn_inception", (224, 224), 1000)
    assert model.classes[1].startswith("goldfish") and model.info["Weights"] == "random"
    assert sv.load("paper/se_inception_v3", device="cpu", pretrained=False).input_size == (299, 299)


@torch.no_grad()
def test_loaded_by_name_with_timms_weights(monkeypatch, with_weights):
    with torch.device("meta"):
        theirs = timm.create_model("legacy_seresnet50")
    with_weights(theirs)
    asked = []

    def create_model(name, pretrained):  # stands for the download
        asked.append((name, pretrained))
        return theirs

    monkeypatch.setattr(load.timm, "create_model", create_model)
    model = sv.load("paper/se_resnet50", device="cpu")
    assert asked == [("legacy_seresnet50", True)]
    assert isinstance(model.module, ResNet) and len(model.classes) == 1000
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(model.module(x), theirs(x), rtol=1e-4, atol=1e-4 * float(theirs(x).abs().max()))
    assert model.info["Architecture"] == "senet_viz se_resnet50" and model.info["Weights"] != "random"


@pytest.mark.parametrize(("name", "message"), [
    ("paper/se_vgg16_bn", "paper/se_vgg16_bn has no public weights; with pretrained=False they are random."),
    ("paper/sknet500", "The papers have no network 'sknet500' here; there are: se_resnet18,")])
def test_names_that_cannot_be_loaded(name, message):
    with pytest.raises(models.UnknownModel) as raised:
        sv.load(name, device="cpu")
    assert str(raised.value).startswith(message)
