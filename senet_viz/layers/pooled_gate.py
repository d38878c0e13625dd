"""A gate straight from the pooled values: a structure in circulation as SE that lacks its excitation.

Re-implementations that stop after the squeeze, and posts that explain SE as "global pooling and a sigmoid", have this
form. What is wrong with it: SE's two layers are what lets a channel's gate depend on other channels (Hu et al.,
https://arxiv.org/abs/1709.01507, Sec. 3.2); here a channel can follow nothing but its own mean, and nothing is learned.
"""
import torch
from torch import nn

from .squeeze_excite import EXCITATIONS, SQUEEZES


class PooledGate(nn.Module):
    """Scale every channel by its own pooled value: s = excitation(pool(U)), output = s · U. No layers, no parameters.

    The gate is the output of the submodule ``gate``.

    Args:
        channels: C; of no use here, as in other gates the first argument.
        squeeze: "avg" or "max".
        excitation: as of ``SqueezeExcite``.

    Raises:
        ValueError: for another squeeze or excitation.

    Shape: (N, C, H, W) → (N, C, H, W).
    """

    def __init__(self, channels: int, *, squeeze: str = "avg", excitation: str = "sigmoid"):
        super().__init__()
        for option, value, known in (("squeeze", squeeze, SQUEEZES), ("excitation", excitation, EXCITATIONS)):
            if value not in known:
                raise ValueError(f"{option} must be one of {', '.join(known)}, not {value!r}")
        self.pool = SQUEEZES[squeeze](1)
        self.flatten = nn.Flatten()
        self.gate = EXCITATIONS[excitation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.gate(self.flatten(self.pool(x)))
        return x * s.view(*x.shape[:2], 1, 1)
