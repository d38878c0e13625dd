"""SE's two layers as plain convolutions in the place of a gate: a structure in circulation as SE that gates nothing.

Re-implementations that write SE's layers as 1×1 convolutions, and then forget to pool and to multiply, have this form.
What is wrong with it: SE scales the map that it is given (Hu et al., https://arxiv.org/abs/1709.01507, Eq. 4); here the
map itself goes through a layer r times narrower, and only what passes that is left of it.
"""
import torch

from .squeeze_excite import SqueezeExcite


class PlainConvolution(SqueezeExcite):
    """Replace a feature map by what two 1×1 convolutions make of it: output = W2 relu(W1 U). Not a gate.

    Args:
        channels: C, the channels of the feature map.
        reduction: r; the middle has max(C // r, min_width) channels.
        min_width: least number of them.
        bias: whether the convolutions have biases.

    Raises:
        ValueError: for a size below 1.

    Shape: (N, C, H, W) → (N, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 16, *, min_width: int = 1, bias: bool = True):
        super().__init__(channels, reduction, min_width=min_width, bias=bias, fc="conv")
        del self.pool, self.flatten, self.gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.expand(self.relu(self.reduce(x)))
