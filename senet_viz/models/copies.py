"""Copies of a network that nobody else uses: as it is, or with weights drawn anew."""
import copy
import threading

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from ..gates.blocks import eager
from ..gates.hooks import hooked

_drawing = threading.Lock()  # parts draw from the one generator that all threads share


def copied(module: nn.Module) -> nn.Module:
    """A network like this one, on its device."""
    with hooked(eager(module)):  # not while somebody's hooks are on it, which would be copied
        return copy.deepcopy(eager(module))


def random_weights(module: nn.Module, example: torch.Tensor, seed: int = 0) -> nn.Module:
    """A control: the same network with newly drawn weights, never trained.

    Every part that knows how draws its own (``reset_parameters``). Batch normalisation then takes its mean and variance
    from ``example`` (N, 3, H, W); with those of a new network, 0 and 1, activations would fade from block to block.
    """
    module = copied(module).float().cpu()  # the same weights on every device
    with _drawing, torch.random.fork_rng(devices=[example.device] if example.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if reset is not None:
                reset()
        with torch.no_grad():
            update_bn([example], module.to(example.device))
    module.eval()
    return module
