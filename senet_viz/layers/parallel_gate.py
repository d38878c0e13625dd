"""A gate computed from a unit's input, beside its convolutions: in circulation as SE, but it describes another map.

Drawings that branch SE off before the residual unit's convolutions, and code written after them, have this form. What
is wrong with it: SE squeezes the map U that it scales (Hu et al., https://arxiv.org/abs/1709.01507, Eq. 2); here the
gate of U's channels is told of the input's, before the unit has found what it looks for. (The paper's PRE is something
else: there the gate of the input scales the input.)
"""
from typing import Any

import torch
from torch import nn

from .squeeze_excite import SqueezeExcite, fully_connected


class ParallelGate(nn.Module):
    """Scale U by a gate made from what enters the unit: s = excitation(W2 relu(W1 pool(x))), output = s · U.

    The gate is the output of the submodule ``gate``.

    Args:
        channels: C, the channels of U.
        in_channels: those of x.
        reduction: r; the hidden layer has max(C // r, min_width) units.
        options: ``min_width``, ``squeeze``, ``bias`` and ``excitation`` of ``SqueezeExcite``.

    Raises:
        ValueError: as ``SqueezeExcite``.

    Shape: U (N, C, H, W) and x (N, in_channels, H', W') → (N, C, H, W).
    """

    def __init__(self, channels: int, in_channels: int, reduction: int = 16, *, bias: bool = True, **options: Any):
        super().__init__()
        right = SqueezeExcite(channels, reduction, bias=bias, **options)  # of which all but the first layer is taken
        self.pool, self.flatten, self.relu, self.gate = right.pool, right.flatten, right.relu, right.gate
        self.reduce = fully_connected("linear", in_channels, right.hidden, bias)
        self.expand = right.expand

    def forward(self, u: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        z = self.flatten(self.pool(x))
        s = self.gate(self.expand(self.relu(self.reduce(z))))
        return u * s.view(*u.shape[:2], 1, 1)
