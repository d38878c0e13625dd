"""Squeeze-and-Excitation, from "Squeeze-and-Excitation Networks" (Hu et al., https://arxiv.org/abs/1709.01507, Sec. 3).

The defaults are the block of the released networks (with biases); the options are those of the paper's ablations
(TPAMI version, Sec. 6): reduction, squeeze operator and excitation operator.
"""
from collections.abc import Callable

import torch
from torch import nn

SQUEEZES = {"avg": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}
EXCITATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "softmax": lambda: nn.Softmax(dim=1),
}


class SqueezeExcite(nn.Module):
    """Scale every channel of a feature map by a gate computed from all channels' means.

    z = pool(U); s = excitation(W2 relu(W1 z)); output = s · U. The gate s is the output of the submodule ``gate``.

    Args:
        channels: C, the channels of the feature map.
        reduction: r; the hidden layer has max(C // r, min_width) units.
        min_width: least number of hidden units.
        squeeze: "avg" (the paper's choice) or "max".
        fc: "linear" for ``nn.Linear`` layers, "conv" for the 1×1 convolutions of the released networks.
        bias: whether the two layers have biases (the released networks do, the paper's text leaves them out).
        excitation: "sigmoid" (0..1), "tanh" (-1..1), "relu" (0..∞) or "softmax" (0..1, summing to 1 over channels).

    Raises:
        ValueError: for an option that is not named above, or a size below 1.

    Shape: (N, C, H, W) → (N, C, H, W).

    >>> SqueezeExcite(64, reduction=16)(torch.rand(2, 64, 8, 8)).shape
    torch.Size([2, 64, 8, 8])
    """

    def __init__(
            self,
            channels: int,
            reduction: int = 16,
            *,
            min_width: int = 1,
            squeeze: str = "avg",
            fc: str = "linear",
            bias: bool = True,
            excitation: str = "sigmoid",
    ):
        super().__init__()
        for option, value, known in (("squeeze", squeeze, SQUEEZES), ("fc", fc, ("linear", "conv")),
                                     ("excitation", excitation, EXCITATIONS)):
            if value not in known:
                raise ValueError(f"{option} must be one of {', '.join(known)}, not {value!r}")
        if min(channels, reduction, min_width) < 1:
            raise ValueError(f"channels ({channels}), reduction ({reduction}) and min_width ({min_width}) must be "
                             f"at least 1")
        self.hidden = hidden = max(channels // reduction, min_width)
        self.pool = SQUEEZES[squeeze](1)
        self.flatten = nn.Flatten() if fc == "linear" else nn.Identity()
        self.reduce = fully_connected(fc, channels, hidden, bias)
        self.relu = nn.ReLU()
        self.expand = fully_connected(fc, hidden, channels, bias)
        self.gate = EXCITATIONS[excitation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.flatten(self.pool(x))
        s = self.gate(self.expand(self.relu(self.reduce(z))))
        return x * s.view(*x.shape[:2], 1, 1)


def fully_connected(kind: str, inputs: int, outputs: int, bias: bool) -> nn.Module:
    """A layer of vectors, "linear" or "conv", that starts as those of the released networks."""
    layer = nn.Linear(inputs, outputs, bias) if kind == "linear" else nn.Conv2d(inputs, outputs, 1, bias=bias)
    # He's start, as in the released networks: with PyTorch's own, several times smaller, the product of the two layers
    # begins so near to 0 that most of its directions never grow
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
