"""What weights are known by."""
import hashlib

import torch
from torch import nn

from ..gates.blocks import eager


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers by name, as hexadecimal digits."""
    whole = hashlib.sha256()
    for name, tensor in sorted(eager(module).state_dict().items()):
        if not name.endswith("num_batches_tracked"):  # counts training steps; no forward reads it
            whole.update(f"{name} {digest(tensor)}".encode())
    return whole.hexdigest()


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's type, shape and values, as hexadecimal digits."""
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + content).hexdigest()
