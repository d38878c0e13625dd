"""Putting channel attention into a backbone, where the papers put it.

SE (Hu et al., https://arxiv.org/abs/1709.01507, Sec. 3.3 and TPAMI Sec. 6.5) sits in residual units on the residual
branch after its last convolution and BN, or at one of four other places; in Inception networks on the output of each
module; in VGG behind each convolution's non-linearity; in MobileNet v1 on the output of each depthwise-separable
module. SK (Li et al., https://arxiv.org/abs/1903.06586, Sec. 3.2) takes the place of the 3×3 convolution.

Modules are replaced, never hooked, and keep their parameters: what follows is an ordinary network to train, save and
compile.

For ablations other gates take SE's places: ECA's (Wang et al., https://arxiv.org/abs/1910.03151), SE without a squeeze,
and three structures that are taken for SE (``senet_viz.layers``).
"""
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import torch
from timm.layers import EcaModule
from timm.models import resnet as timm_resnet
from timm.models._efficientnet_blocks import DepthwiseSeparableConv
from timm.models.inception_resnet_v2 import Block8, Block17, Block35, Mixed_5b, Mixed_6a, Mixed_7a
from torch import nn
from torchvision.models import VGG, inception
from torchvision.models import resnet as torchvision_resnet
from torchvision.ops import SqueezeExcitation

from ..gates.blocks import find_blocks
from ..layers import ParallelGate, PlainConvolution, PooledGate, SelectiveKernel, SqueezeExcite, UnsqueezedExcite
from .bn_inception import Inception
from .resnet import Bottleneck
from .shufflenet import ShuffleUnit

GATES: dict[str, Callable[..., nn.Module]] = {  # kind → what stands in SE's place, made from its channels
    "se": SqueezeExcite, "eca": EcaModule, "unsqueezed": UnsqueezedExcite, "pooled": PooledGate,
    "convolution": PlainConvolution, "parallel": ParallelGate,
}
KINDS = (*GATES, "sk")
LAYERS = (SqueezeExcite, SelectiveKernel, ParallelGate, PooledGate, EcaModule)  # with those made from the first
PLACES = ("standard", "pre", "post", "identity", "3x3")
UNITS = (  # conv1, bn1, conv2, bn2, … and downsample
    Bottleneck, torchvision_resnet.BasicBlock, torchvision_resnet.Bottleneck, timm_resnet.BasicBlock,
    timm_resnet.Bottleneck,
)
BRANCHES = {  # other residual units → the module whose output is added to the shortcut, or put beside it
    ShuffleUnit: "bn3", Block35: "conv2d", Block17: "conv2d", Block8: "conv2d",
}
MODULES = (
    Inception, inception.InceptionA, inception.InceptionB, inception.InceptionC, inception.InceptionD,
    inception.InceptionE, Mixed_5b, Mixed_6a, Mixed_7a,
)
OWN = re.compile(r"(se|eca|cbam)(_|\d|$)")  # names of a unit's own attention, "se" in timm
SIDES = (32, 96)  # of the picture on which a backbone's own gates are looked for: Inception networks take none smaller
KNOWN = "ResNets and ResNeXts of torchvision, timm and senet_viz"
KNOWN_STANDARD = ("torchvision's VGGs and Inception-v3, timm's Inception-ResNet-v2 and MobileNet v1, senet_viz's "
                  "BN-Inception and ShuffleNet")


def with_attention(backbone: nn.Module, kind: str = "se", place: str = "standard", **options) -> nn.Module:
    """Put a gate into every unit of a network, in place.

    The parameters that were there keep their values, but some change their names: a backbone's own weights are loaded
    before. What is new is random, and on the device, in the precision and in the mode of its unit. A backbone is first
    run on one small black picture, to find attention that it has already; one that cannot be run so (on the meta
    device, say) is known by its classes and names alone.

    Args:
        backbone: a ResNet or ResNeXt (torchvision's, timm's or ``senet_viz.models``'), or any part of one: of
            ``net.layer3`` only that stage is changed. With "se" also torchvision's VGGs and Inception-v3, timm's
            Inception-ResNet-v2 and MobileNet v1, and this package's BN-Inception and ShuffleNet.
        kind: "se" or "sk"; in the place of SE also "eca" (timm's), "unsqueezed" (``UnsqueezedExcite``), and what is
            taken for SE: "pooled" (``PooledGate``), "convolution" (``PlainConvolution``) and "parallel"
            (``ParallelGate``, in ``senet_viz.models``' bottleneck units, in the standard place).
        place: of SE in a residual unit: "standard" (on the residual branch after the last convolution and its BN,
            before the addition), "pre" (before the branch's first convolution), "post" (after the addition and its
            ReLU), "identity" (on the shortcut, after its projection where it has one) or "3x3" (after the 3×3
            convolution and its BN; in a basic unit the first one).
        options: of the layer that is put in: ``reduction``, ``excitation``, … The defaults are the
            released networks', SE with biases; ``bias=False`` is SE as in the paper's text. SK takes the groups of the
            convolution that it replaces, and in a basic unit replaces the first 3×3 only, for it ends with the ReLU of
            its branches and no ReLU stands behind the second.

    Returns:
        The backbone; where it is itself one module and the gate stands behind it, the two in sequence.

    Raises:
        ValueError: one sentence, for another kind or place, a backbone in which they are not defined, or one that has
            attention blocks already.

    >>> network = with_attention(torchvision.models.resnet50(), "se", place="pre", bias=False)
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if place not in PLACES:
        raise ValueError(f"place must be one of {', '.join(PLACES)}, not {place!r}")
    if kind == "sk" and place != "standard":
        raise ValueError(f"a selective kernel takes the place of the 3×3 convolution, so place cannot be {place!r}")
    if kind == "parallel" and place != "standard":
        raise ValueError(f"a gate beside a unit's convolutions scales what leaves them, so place cannot be {place!r}")
    if there := _attention(backbone):
        raise ValueError(f"{type(backbone).__name__} has attention already: {there}.")
    if kind == "sk":
        edits = list(_kernels(backbone, options))
    elif kind == "parallel":
        edits = list(_parallel(backbone, options))
    else:
        edits = list(_gates(backbone, place, partial(GATES[kind], **options)))
    if not edits:
        paper = "SK" if kind == "sk" else "SE"
        known = "bottleneck networks of senet_viz" if kind == "parallel" else KNOWN
        also = f", and {KNOWN_STANDARD}" if paper == "SE" and place == "standard" and kind != "parallel" else ""
        raise ValueError(f"{type(backbone).__name__} has no unit in which the {paper} paper defines the place "
                         f"{place!r}, or none that is known here; known are the {known}{also}.")
    for path, module in edits:
        module.training = backbone.training
        if path:
            parent, _, name = path.rpartition(".")
            setattr(backbone.get_submodule(parent), name, module)
        else:
            backbone = module
    return backbone


def _attention(backbone: nn.Module) -> str | None:
    """The first attention block that a network has, by its class, by what units call theirs, or by what it does."""
    for path, part in backbone.named_modules():
        if isinstance(part, (*LAYERS, SqueezeExcitation)) or (
                OWN.match(path.rpartition(".")[2]) and not isinstance(part, nn.Identity)):
            return f"{path} ({type(part).__name__})"
    first = next((part for part in backbone.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        return None
    for side in SIDES:
        with suppress(ValueError):  # it has no values, or takes no such picture
            blocks = find_blocks(backbone, torch.zeros(1, first.in_channels, side, side, device="cpu"))
            return next((f"{b.name} ({type(backbone.get_submodule(b.path)).__name__})" for b in blocks), None)
    return None


def _gates(backbone: nn.Module, place: str, make: Callable[[int], nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for path, part in backbone.named_modules():
        if isinstance(part, UNITS):
            convs = [name for name in ("conv1", "conv2", "conv3") if hasattr(part, name)]
            last = getattr(part, convs[-1])
            if place == "standard":
                slot = "se" if isinstance(part, Bottleneck) else f"bn{len(convs)}"
                yield _after(path, part, slot, last.out_channels, make)
            elif place == "pre":
                gate = make(_plain(part, "conv1").in_channels)
                yield _join(path, "conv1"), nn.Sequential(_like(part, gate), part.conv1)
            elif place == "post":
                yield _after(path, part, "", last.out_channels, make)
            elif place == "identity":
                yield _after(path, part, "downsample", last.out_channels, make)
            else:
                middle = convs[-2]
                channels = _plain(part, middle).out_channels
                yield _after(path, part, middle.replace("conv", "bn"), channels, make)
        elif place != "standard":
            continue
        elif type(part) in BRANCHES:
            *_, last = (module for module in part.modules() if isinstance(module, nn.Conv2d))
            yield _after(path, part, BRANCHES[type(part)], last.out_channels, make)
        elif isinstance(part, MODULES):
            yield _after(path, part, "", _width(part), make)
        elif isinstance(part, VGG):
            for name, layer in part.features.named_children():
                if isinstance(layer, nn.Conv2d):
                    channels = layer.out_channels
                elif isinstance(layer, nn.ReLU):
                    yield _after(_join(path, "features"), part.features, name, channels, make)
        elif isinstance(part, DepthwiseSeparableConv) and not part.has_skip and not isinstance(
                part.bn2.act, nn.Identity):  # MobileNet v1's; later networks have none behind the 1×1
            yield _after(path, part, "", part.conv_pw.out_channels, make)


def _parallel(backbone: nn.Module, options: dict) -> Iterator[tuple[str, nn.Module]]:
    for path, part in backbone.named_modules():
        if isinstance(part, Bottleneck):
            gate = ParallelGate(part.conv3.out_channels, part.conv1.in_channels, **options)
            yield _join(path, "se"), _like(part, gate)


def _kernels(backbone: nn.Module, options: dict) -> Iterator[tuple[str, nn.Module]]:
    for path, part in backbone.named_modules():
        if isinstance(part, UNITS):
            middle = "conv2" if hasattr(part, "conv3") else "conv1"
            conv = _plain(part, middle)
            if conv.dilation != (1, 1):
                raise ValueError(f"{_join(path, middle)} is dilated: a selective kernel replaces a plain 3×3.")
            # the ReLU that follows stays: what SK returns is never negative
            kernel = SelectiveKernel(
                conv.in_channels, conv.out_channels, stride=conv.stride[0], **{"groups": conv.groups} | options)
            for layer in kernel.modules():
                if isinstance(layer, nn.Conv2d):  # as in all these backbones
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            yield _join(path, middle), _like(part, kernel)
            yield _join(path, middle.replace("conv", "bn")), nn.Identity()


def _after(path: str, unit: nn.Module, child: str, channels: int, make: Callable[[int], nn.Module]
           ) -> tuple[str, nn.Module]:
    """A gate behind a child of a unit, "" the unit itself; instead of a child that does nothing."""
    module = getattr(unit, child) if child else unit
    gate = _like(unit, make(channels))
    empty = module is None or isinstance(module, nn.Identity)
    return _join(path, child), gate if empty else nn.Sequential(module, gate)


def _like(unit: nn.Module, new: nn.Module) -> nn.Module:
    """On the device, in the precision and in the mode of a unit."""
    parameter = next(unit.parameters())
    return new.to(parameter.device, parameter.dtype).train(unit.training)


def _plain(unit: nn.Module, name: str) -> nn.Conv2d:
    conv = getattr(unit, name)
    if not isinstance(conv, nn.Conv2d):
        raise ValueError(f"{name} of a {type(unit).__name__} is a {type(conv).__name__} already, no plain convolution.")
    return conv


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _width(module: nn.Module) -> int:
    """Output channels of an Inception module, from a forward without numbers."""
    weight = next(part for part in module.modules() if isinstance(part, nn.Conv2d)).weight  # of a branch's first layer
    state = {name: tensor.to("meta") for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    example = torch.empty(2, weight.shape[1], 32, 32, dtype=weight.dtype, device="meta")
    return torch.func.functional_call(module, state, example).shape[1]
