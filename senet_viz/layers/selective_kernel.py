"""Selective Kernel convolution, from "Selective Kernel Networks" (Li et al., https://arxiv.org/abs/1903.06586).

Branches as in Sec. 3.1: each a grouped convolution, BN and ReLU, larger kernels as dilated 3×3. The attention's last
layer has no bias and nothing follows the weighted sum.
"""
import torch
from torch import nn


class SelectiveKernel(nn.Module):
    """A convolution with several kernel sizes, weighted per channel by a softmax over the branches.

    Split: U_m = ReLU(BN(conv_m(x))). Fuse: z = ReLU(BN(W · mean(Σ U_m))), of length d = max(C // r, L).
    Select: a = softmax over m of A_m z; output = Σ a_m · U_m. The gate a, (N, M, C), is the output of the submodule
    ``gate``; branch m is ``branches[m]``.

    Args:
        in_channels: channels of the input.
        out_channels: C; as many as the input has when None.
        branches: M, the number of kernel sizes: 3, 5, 7, …
        groups: G, groups of each branch's convolution.
        reduction: r.
        min_width: L, the least length of z.
        stride: stride of each branch's convolution.
        dilated: larger kernels as dilated 3×3 (the paper's choice) or, when False, as true 5×5, 7×7, …
        bias: whether the convolutions and the fuse step's layer have biases.
        fuse_norm: whether the fuse step has a batch normalisation (the paper's has).

    ``SelectiveKernel(C, branches=M, groups=G, reduction=r, dilated=False, bias=True, fuse_norm=False)`` is the
    ungrouped form in circulation, with kernels 3 + 2i.

    Raises:
        ValueError: when branches is below 2, a size is below 1, or groups does not divide the channels.

    Shape: (N, in_channels, H, W) → (N, C, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> SelectiveKernel(64, groups=32)(torch.rand(2, 64, 8, 8)).shape
    torch.Size([2, 64, 8, 8])
    """

    def __init__(
            self,
            in_channels: int,
            out_channels: int | None = None,
            *,
            branches: int = 2,
            groups: int = 1,
            reduction: int = 16,
            min_width: int = 32,
            stride: int = 1,
            dilated: bool = True,
            bias: bool = False,
            fuse_norm: bool = True,
    ):
        super().__init__()
        channels = in_channels if out_channels is None else out_channels
        if branches < 2:
            raise ValueError(f"a selective kernel needs at least 2 branches, not {branches}")
        if min(in_channels, channels, groups, reduction, min_width, stride) < 1:
            raise ValueError("channels, groups, reduction, min_width and stride must be at least 1")
        if in_channels % groups or channels % groups:
            raise ValueError(f"groups ({groups}) must divide the input channels ({in_channels}) and the output "
                             f"channels ({channels})")
        width = max(channels // reduction, min_width)
        self.kernels = tuple(3 + 2 * m for m in range(branches))  # effective sizes
        self.branches = nn.ModuleList()
        for m, kernel in enumerate(self.kernels):
            size, dilation = (3, m + 1) if dilated else (kernel, 1)
            self.branches.append(nn.Sequential(
                nn.Conv2d(in_channels, channels, size, stride=stride, padding=m + 1, dilation=dilation, groups=groups,
                          bias=bias),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ))
        self.fuse = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, width, 1, bias=bias),
            nn.BatchNorm2d(width) if fuse_norm else nn.Identity(),
            nn.ReLU(inplace=True),
        )
        self.select = nn.Conv2d(width, branches * channels, 1, bias=False)
        self.gate = nn.Softmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [branch(x) for branch in self.branches]
        z = self.fuse(sum(maps))
        n, c = maps[0].shape[:2]
        a = self.gate(self.select(z).view(n, len(maps), c))
        return sum(weight.view(n, c, 1, 1) * u for weight, u in zip(a.unbind(1), maps))
