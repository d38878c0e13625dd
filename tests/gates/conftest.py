"""Networks with random but lively weights, pictures, and a check that a network was left as it was."""
from contextlib import contextmanager

import pytest
import timm
import torch
import torchvision
from torch import nn

from senet_viz.models import slim_resnet50
from tests.sharing import shared

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
CLASSES = 10


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights under which nothing is trivially zero or one, and statistics that fit them.

    timm starts residual branches at zero; without the statistics activations fade through the layers.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.momentum = 1.0
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3, generator=generator)
        if norms:
            module.train()(torch.randn(8, 3, 64, 64, generator=generator))
    return module.eval()


@shared
def make(name: str) -> nn.Module:
    source, _, rest = name.partition("/")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if source == "slim":
            return lively(slim_resnet50(rest, num_classes=CLASSES, widths=(8, 12, 16, 24)))
        if source == "torchvision":
            return lively(torchvision.models.get_model(rest, num_classes=CLASSES))
        architecture, _, attention = rest.partition("+")
        options = {"block_args": {"attn_layer": attention}} if attention else {}
        return lively(timm.create_model(architecture, num_classes=CLASSES, **options))


@pytest.fixture(autouse=True, scope="module")
def small_maps(one_thread):
    """All pictures here are small."""


@pytest.fixture(scope="session")
def network():
    """``network("timm/seresnet18")``: made once; every test must leave it as it was."""
    return make


@pytest.fixture
def pictures():
    """``pictures(n, side)``: (n, 3, side, side) of noise, blurred a little so that maps have structure."""
    def make_pictures(n: int = 1, side: int = 64, seed: int = 0) -> torch.Tensor:
        noise = torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))
        return nn.functional.avg_pool2d(noise, 5, 1, 2) * 3
    return make_pictures


def state(module: nn.Module) -> dict:
    found = {"grad": torch.is_grad_enabled(), "inference": torch.is_inference_mode_enabled()}
    for path, part in module.named_modules():
        found[path] = (part.training, part._compiled_call_impl, *({*getattr(part, hooks)} for hooks in HOOKS))
    for path, parameter in module.named_parameters():
        found[path, "parameter"] = (parameter.requires_grad, parameter.grad is None, parameter._version)
    for path, buffer in module.named_buffers():
        found[path, "buffer"] = id(buffer), buffer.tolist()
    return found


@pytest.fixture
def unchanged():
    """``with unchanged(module)``: hooks, training flags, gradients, buffers and modes are as before, come what may."""
    @contextmanager
    def check(module: nn.Module):
        before = state(module)
        try:
            yield
        finally:
            after = state(module)
            assert {key: (before[key], after[key]) for key in before if before[key] != after[key]} == {}
            assert after.keys() == before.keys()
    return check
