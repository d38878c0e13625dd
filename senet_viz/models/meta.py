"""Networks without values, on torch's meta device: to compare and count weights before there is memory for them."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode

RANDOM = {torch.Tensor.normal_, torch.Tensor.uniform_}
NUMBERS = {torch.arange, torch.tensor}


@contextmanager
def on_meta() -> Iterator[None]:
    """What is built inside has shapes and no values, and takes no time for drawing any."""
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Draws no weights: on the meta device torch imitates each step of it, in most of the time that building takes.

    Numbers that name no device have values all the same, for torchvision's RegNets count their widths with them.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in RANDOM and args[0].is_meta:
            return args[0]
        return func(*args, **({"device": "cpu"} if func in NUMBERS else {}) | (kwargs or {}))
