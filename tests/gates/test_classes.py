"""Which classes hold a gate, and that their gate is where the table says."""
import importlib

import pytest
import timm.layers.cbam
import timm.layers.global_context
import timm.layers.squeeze_excite
import timm.models._efficientnet_blocks
import timm.models.senet
import torch
from torch import nn

from senet_viz.gates.classes import GATE_CLASSES, gate_class


def the_class(key: str) -> type[nn.Module]:
    module, _, name = key.partition(":")
    return getattr(importlib.import_module(module), name)


def instance(key: str) -> nn.Module:
    """One with 16 channels; the classes' first arguments differ."""
    cls = the_class(key)
    if key.startswith("timm.models.senet"):
        return cls(16, reduction=4)
    if key.startswith("torchvision"):
        return cls(16, 4)
    return cls(16, 16) if cls.__name__ == "SelectiveKernel" else cls(16)


@pytest.mark.parametrize("key", GATE_CLASSES)
def test_gate_times_what_it_scales_is_the_output(key):
    module, entry = instance(key).eval(), GATE_CLASSES[key]
    x, seen = torch.randn(2, 16, 8, 8), {}
    scaled = [x]
    if entry.branches:
        scaled = [None] * len(getattr(module, entry.branches))
        for m, branch in enumerate(getattr(module, entry.branches)):
            branch.register_forward_hook(lambda _, args, out, m=m: scaled.__setitem__(m, out.clone()))
    module.get_submodule(entry.gate).register_forward_hook(lambda _, args, out: seen.update(gate=out.clone()))
    with torch.no_grad():
        output = module(x)
    gate = seen["gate"].reshape(2, len(scaled), 16, 1, 1)
    assert gate.std() > 0  # a constant gate would prove nothing about the order of channels
    torch.testing.assert_close(sum(gate[:, m] * u for m, u in enumerate(scaled)), output)
    assert gate_class(module) is entry


def test_three_classes_of_two_names_are_told_apart():
    layers = gate_class(timm.layers.squeeze_excite.SEModule(16))
    blocks = gate_class(timm.models._efficientnet_blocks.SqueezeExcite(16))
    legacy = gate_class(timm.models.senet.SEModule(16, reduction=4))
    assert (layers.gate, blocks.gate, legacy.gate) == ("gate", "gate", "sigmoid")
    assert timm.layers.squeeze_excite.SqueezeExcite is timm.layers.squeeze_excite.SEModule  # an alias, not a fourth


def test_a_name_alone_makes_no_gate():
    class SEModule(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Sigmoid()

    assert gate_class(SEModule()) is None


@pytest.mark.parametrize("module", [
    nn.Identity(), nn.Sigmoid(), timm.layers.global_context.GlobalContext(16), timm.layers.cbam.SpatialAttn(),
    nn.Sequential(timm.layers.squeeze_excite.SEModule(16)),
])
def test_other_modules_have_none(module):
    assert gate_class(module) is None


def test_a_subclass_is_what_it_derives_from():
    class Mine(timm.layers.squeeze_excite.SEModule):
        pass

    class MineAgain(Mine):
        pass

    assert gate_class(MineAgain(16)) is GATE_CLASSES["timm.layers.squeeze_excite:SEModule"]


def test_an_entry_of_its_own_wins_over_the_one_it_derives_from(monkeypatch):
    class Mine(timm.layers.squeeze_excite.SEModule):
        pass

    entry = type(gate_class(Mine(16)))("Mine", "gate")
    monkeypatch.setitem(GATE_CLASSES, f"{Mine.__module__}:{Mine.__qualname__}", entry)
    assert gate_class(Mine(16)) is entry
