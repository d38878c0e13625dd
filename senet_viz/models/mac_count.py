"""Counting multiply-accumulates, as the papers do."""
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..gates.hooks import hooked


def macs(module: nn.Module, input_size: tuple[int, int] = (224, 224)) -> int:
    """Multiply-accumulates of the convolutions and matrix products in one picture's forward, in evaluation mode.

    Nothing is computed: PyTorch's counter sees shapes only. The papers' "FLOPs" are these, counted once each.

    Args:
        module: (N, 3, H, W) → anything; left as it was.
        input_size: H and W in pixels.
    """
    with hooked(module), torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        state = {name: tensor.to("meta") for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
        dtype = next((parameter.dtype for parameter in module.parameters()), None)
        torch.func.functional_call(module, state, torch.empty(1, 3, *input_size, dtype=dtype))
    return counter.get_total_flops() // 2
