"""BN-Inception (Ioffe and Szegedy, https://arxiv.org/abs/1502.03167, Fig. 5); torchvision and timm lack it."""
import torch
from torch import nn
from torchvision.ops import Conv2dNormActivation as Conv


class Inception(nn.Module):
    """Four branches side by side: 1×1, 3×3, two 3×3, and a pooled 1×1; with stride 2 no 1×1 and the pool alone.

    Args:
        in_channels: channels of the input.
        one: channels of the 1×1 branch; 0 for none, and then the other branches have stride 2.
        three: channels of the 3×3 branch's 1×1 and 3×3.
        double: channels of the double branch's 1×1 and of each of its two 3×3.
        pool: channels of the pooled branch; 0 for the pool alone.
        average: average pooling instead of maximum.

    Shape: (N, in_channels, H, W) → (N, C, H/stride, W/stride), C the sum of the branches.
    """

    def __init__(self, in_channels: int, one: int, three: tuple[int, int], double: tuple[int, int], pool: int,
                 average: bool = True):
        super().__init__()
        stride = 1 if one else 2
        self.branches = nn.ModuleList([
            nn.Sequential(Conv(in_channels, three[0], 1), Conv(three[0], three[1], 3, stride)),
            nn.Sequential(Conv(in_channels, double[0], 1), Conv(double[0], double[1], 3),
                          Conv(double[1], double[1], 3, stride)),
        ])
        if one:
            self.branches.insert(0, Conv(in_channels, one, 1))
        pooling = nn.AvgPool2d(3, 1, 1) if average else nn.MaxPool2d(3, stride, 1)
        self.branches.append(nn.Sequential(pooling, Conv(in_channels, pool, 1)) if pool else pooling)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class BNInception(nn.Sequential):
    """The network of ten modules, 3a to 5b. Shape: (N, 3, H, W) → (N, num_classes)."""

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        for name, module in {
            "stem": nn.Sequential(Conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True), Conv(64, 64, 1),
                                  Conv(64, 192, 3), nn.MaxPool2d(3, 2, ceil_mode=True)),
            "inception_3a": Inception(192, 64, (64, 64), (64, 96), 32),
            "inception_3b": Inception(256, 64, (64, 96), (64, 96), 64),
            "inception_3c": Inception(320, 0, (128, 160), (64, 96), 0, average=False),
            "inception_4a": Inception(576, 224, (64, 96), (96, 128), 128),
            "inception_4b": Inception(576, 192, (96, 128), (96, 128), 128),
            "inception_4c": Inception(576, 160, (128, 160), (128, 160), 128),
            "inception_4d": Inception(608, 96, (128, 192), (160, 192), 128),
            "inception_4e": Inception(608, 0, (128, 192), (192, 256), 0, average=False),
            "inception_5a": Inception(1056, 352, (192, 320), (160, 224), 128),
            "inception_5b": Inception(1024, 352, (192, 320), (192, 224), 128, average=False),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(1024, num_classes),
        }.items():
            self.add_module(name, module)
