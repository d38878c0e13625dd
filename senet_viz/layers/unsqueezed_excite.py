"""SE without its squeeze, the paper's "NoSqueeze" (Hu et al., https://arxiv.org/abs/1709.01507, Sec. 7.1).

The two layers are 1×1 convolutions over the whole map, so that every place has a gate of its own, computed from that
place alone.
"""
import torch

from .squeeze_excite import SqueezeExcite


class UnsqueezedExcite(SqueezeExcite):
    """Scale every channel at every place: s = excitation(W2 relu(W1 U)), (N, C, H, W); output = s · U.

    The gate is the output of the submodule ``gate``.

    Args:
        channels: C, the channels of the feature map.
        reduction: r; the hidden layer has max(C // r, min_width) channels.
        min_width: least number of them.
        bias: whether the two layers have biases.
        excitation: as of ``SqueezeExcite``.

    Raises:
        ValueError: for another excitation, or a size below 1.

    Shape: (N, C, H, W) → (N, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 16, *, min_width: int = 1, bias: bool = True,
                 excitation: str = "sigmoid"):
        super().__init__(channels, reduction, min_width=min_width, bias=bias, excitation=excitation, fc="conv")
        del self.pool, self.flatten

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.expand(self.relu(self.reduce(x))))
