"""ShuffleNet v1 (Zhang et al., https://arxiv.org/abs/1707.01083, Table 1); torchvision and timm lack it."""
import torch
from torch import nn


class ShuffleUnit(nn.Module):
    """Grouped 1×1, shuffle, depthwise 3×3 and grouped 1×1; added to its input, or put beside it with stride 2.

    The ReLU stands after the addition, as in the paper's Fig. 2. ``first_groups`` are those of the first 1×1.

    Shape: (N, in_channels, H, W) → (N, out_channels, H/stride, W/stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int, first_groups: int):
        super().__init__()
        width, branch = out_channels // 4, out_channels - in_channels * (stride == 2)
        self.conv1 = nn.Conv2d(in_channels, width, 1, groups=first_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.shuffle = nn.ChannelShuffle(groups)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, branch, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(branch)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(3, 2, 1) if stride == 2 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.shuffle(self.relu(self.bn1(self.conv1(x))))
        out = self.bn3(self.conv3(self.bn2(self.conv2(out))))
        return self.relu(x + out if self.pool is None else torch.cat([self.pool(x), out], 1))


class ShuffleNet(nn.Sequential):
    """ShuffleNet 1× with three groups. Shape: (N, 3, H, W) → (N, num_classes)."""

    def __init__(self, num_classes: int = 1000, groups: int = 3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        channels = 24
        for index, (width, count) in enumerate(((240, 4), (480, 8), (960, 4)), start=1):
            units = []
            for unit in range(count):
                # the first 1×1 of all has too few input channels for groups
                units.append(ShuffleUnit(channels, width, 1 if unit else 2, groups, groups if channels > 24 else 1))
                channels = width
            self.add_module(f"layer{index}", nn.Sequential(*units))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)
