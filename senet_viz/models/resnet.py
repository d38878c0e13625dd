"""Bottleneck networks with channel attention: the papers' SE-ResNets, SE-ResNeXts, SENet-154 and SKNets, and slim ones.

SE sits on the residual branch after the last 1×1 convolution and its BN (Hu et al., https://arxiv.org/abs/1709.01507,
Sec. 3.3); SK replaces the 3×3 convolution (Li et al., https://arxiv.org/abs/1903.06586, Sec. 3.2). The SE networks
follow the authors' released definitions: a ceil-mode pool, and in SE-ResNets the stride in the first 1×1; three 3×3
convolutions as stem, a halved first 1×1, 3×3 projections and dropout for SENet-154; SE with biases.
"""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ..layers import ParallelGate, SelectiveKernel, SqueezeExcite

Attention = Callable[[int], nn.Module]  # channels → gate for the residual branch


class Bottleneck(nn.Module):
    """1×1, 3×3 (or a selective kernel) and 1×1 convolution, a gate, and the shortcut: relu(se(f(x)) + shortcut(x)).

    Args:
        in_channels: channels of the input.
        width: channels of the 3×3 convolution's output.
        out_channels: channels of the output.
        stride: of the 3×3, or of the first 1×1 when ``stride_first``.
        groups: of the 3×3 convolution.
        reduce: channels after the first 1×1; ``width`` when None.
        projection: kernel size of the shortcut's convolution where shapes differ.
        stride_first: put the stride into the first 1×1, as the authors' SE-ResNets do.
        se: makes the gate after the last 1×1 from its channel count; None for no gate.
        sk: makes the middle convolution from (in_channels, out_channels, stride); None for a plain 3×3.

    Shape: (N, in_channels, H, W) → (N, out_channels, H/stride, W/stride).
    """

    conv2: nn.Module
    bn2: nn.Module
    relu2: nn.Module
    downsample: nn.Module

    def __init__(
            self,
            in_channels: int,
            width: int,
            out_channels: int,
            *,
            stride: int = 1,
            groups: int = 1,
            reduce: int | None = None,
            projection: int = 1,
            stride_first: bool = False,
            se: Attention | None = None,
            sk: Callable[[int, int, int], nn.Module] | None = None,
    ):
        super().__init__()
        reduce = width if reduce is None else reduce
        first, middle = (stride, 1) if stride_first else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, reduce, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(reduce)
        if sk is not None:  # has the BN and ReLU of each branch inside
            self.conv2, self.bn2, self.relu2 = sk(reduce, width, middle), nn.Identity(), nn.Identity()
        else:
            self.conv2 = nn.Conv2d(reduce, width, 3, stride=middle, padding=1, groups=groups, bias=False)
            self.bn2, self.relu2 = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.se = nn.Identity() if se is None else se(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, projection, stride=stride, padding=projection // 2, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = self.se(out, x) if isinstance(self.se, ParallelGate) else self.se(out)
        return self.relu(out + self.downsample(x))


class ResNet(nn.Module):
    """Stem, four stages of bottleneck units (``layer1`` … ``layer4``), global average pooling, one linear layer.

    Args:
        stem: module whose output enters ``layer1``; ``stem_channels`` are its output channels.
        units: number of units of each stage.
        widths: channels of each stage's 3×3 convolutions; the stage's output has ``expansion`` times as many.
        strides: stride of each stage's first unit.
        num_classes: length of the output.
        dropout: probability, before the linear layer.
        first_projection: kernel of the first stage's projection; the other stages take ``projection``.
        unit: further arguments of every ``Bottleneck``.

    Shape: (N, 3, H, W) → (N, num_classes).
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
            self,
            stem: nn.Module,
            stem_channels: int,
            units: Sequence[int],
            widths: Sequence[int] = (64, 128, 256, 512),
            *,
            expansion: int = 4,
            strides: Sequence[int] = (1, 2, 2, 2),
            num_classes: int = 1000,
            dropout: float = 0.0,
            projection: int = 1,
            reduce: float = 1.0,
            **unit: Any,
    ):
        super().__init__()
        self.stem = stem
        channels = stem_channels
        for stage, (count, width, stride) in enumerate(zip(units, widths, strides, strict=True)):
            layer = []
            for index in range(count):
                layer.append(Bottleneck(
                    channels, width, width * expansion, stride=stride if index == 0 else 1, reduce=int(width * reduce),
                    # the first stage does not shrink the map: a 1×1 projection is enough (SENet-154)
                    projection=projection if stage else 1, **unit))
                channels = width * expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.dropout(self.pool(x).flatten(1)))


def se_resnet50(num_classes: int = 1000) -> ResNet:
    """SE-ResNet-50 (Hu et al., Table 1), 28,088,024 parameters at 1000 classes; random weights. Input 224×224."""
    return _se_resnet((3, 4, 6, 3), num_classes)


def se_resnet101(num_classes: int = 1000) -> ResNet:
    """SE-ResNet-101, 49,326,872 parameters at 1000 classes; random weights. Input 224×224."""
    return _se_resnet((3, 4, 23, 3), num_classes)


def se_resnet152(num_classes: int = 1000) -> ResNet:
    """SE-ResNet-152, 66,821,848 parameters at 1000 classes; random weights. Input 224×224."""
    return _se_resnet((3, 8, 36, 3), num_classes)


def se_resnext50_32x4d(num_classes: int = 1000) -> ResNet:
    """SE-ResNeXt-50 32×4d (Hu et al., Table 1), 27,559,896 parameters at 1000 classes; random weights."""
    return _se_resnext((3, 4, 6, 3), num_classes)


def se_resnext101_32x4d(num_classes: int = 1000) -> ResNet:
    """SE-ResNeXt-101 32×4d, 48,955,416 parameters at 1000 classes; random weights."""
    return _se_resnext((3, 4, 23, 3), num_classes)


def senet154(num_classes: int = 1000) -> ResNet:
    """SENet-154 (Hu et al., TPAMI appendix), 115,088,984 parameters at 1000 classes; random weights. Input 224×224."""
    stem = nn.Sequential(
        *_conv(3, 64, 3, 2), *_conv(64, 64, 3), *_conv(64, 128, 3), nn.MaxPool2d(3, stride=2, ceil_mode=True))
    return ResNet(stem, 128, (3, 8, 36, 3), (256, 512, 1024, 2048), expansion=1, num_classes=num_classes, dropout=0.2,
                  projection=3, reduce=0.5, groups=64, se=_se)


def sknet26(num_classes: int = 1000) -> ResNet:
    """SKNet-26, as SKNet-50 with two units a stage, 16,746,408 parameters at 1000 classes; random weights."""
    return _sknet((2, 2, 2, 2), num_classes)


def sknet50(num_classes: int = 1000) -> ResNet:
    """SKNet-50 = ResNeXt-50 32×4d with SK[2, 32, 16] (Li et al., Table 1); random weights. Input 224×224.

    27,479,784 parameters at 1000 classes.
    """
    return _sknet((3, 4, 6, 3), num_classes)


def sknet101(num_classes: int = 1000) -> ResNet:
    """SKNet-101, as SKNet-50 with 3/4/23/3 units, 48,736,040 parameters at 1000 classes; random weights."""
    return _sknet((3, 4, 23, 3), num_classes)


def slim_resnet50(
        attention: str = "se",
        *,
        num_classes: int = 1000,
        widths: Sequence[int] = (16, 32, 64, 128),
        strides: Sequence[int] = (1, 2, 2, 2),
        reduction: int = 16,
        min_width: int = 8,
) -> ResNet:
    """A network of 3/4/6/3 bottleneck units, narrow enough to train on a laptop with pictures of 64×64.

    Its stem is one 3×3 convolution of stride 2 without pooling. ``attention`` is "se" (gates of ``reduction`` r on the
    residual branches), "sk" (SK[2, 1, r] instead of the 3×3) or "none". ``min_width`` is the least length of the
    attention's hidden layer: with the papers' 32 it would be wider than the narrowest units.

    Raises:
        ValueError: for another ``attention``.
    """
    kinds: dict[str, dict[str, Any]] = {
        "none": {},
        "se": {"se": lambda c: SqueezeExcite(c, reduction, min_width=min_width)},
        "sk": {"sk": lambda i, o, stride: SelectiveKernel(
            i, o, reduction=reduction, min_width=min_width, stride=stride)},
    }
    if attention not in kinds:
        raise ValueError(f"attention must be one of {', '.join(kinds)}, not {attention!r}")
    channels = 2 * widths[0]
    return ResNet(nn.Sequential(*_conv(3, channels, 3, 2)), channels, (3, 4, 6, 3), widths, strides=strides,
                  num_classes=num_classes, **kinds[attention])


def _se_resnet(units: Sequence[int], num_classes: int) -> ResNet:
    return ResNet(_stem7(ceil_mode=True), 64, units, num_classes=num_classes, stride_first=True, se=_se)


def _se_resnext(units: Sequence[int], num_classes: int) -> ResNet:
    return ResNet(_stem7(ceil_mode=True), 64, units, (128, 256, 512, 1024), expansion=2, num_classes=num_classes,
                  groups=32, se=_se)


def _sknet(units: Sequence[int], num_classes: int) -> ResNet:
    return ResNet(_stem7(), 64, units, (128, 256, 512, 1024), expansion=2, num_classes=num_classes,
                  sk=lambda i, o, stride: SelectiveKernel(i, o, groups=32, reduction=16, stride=stride))


def _se(channels: int) -> SqueezeExcite:
    return SqueezeExcite(channels, reduction=16, fc="conv")


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True)]


def _stem7(ceil_mode: bool = False) -> nn.Sequential:
    pool = nn.MaxPool2d(3, stride=2, ceil_mode=True) if ceil_mode else nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(*_conv(3, 64, 7, 2), pool)
