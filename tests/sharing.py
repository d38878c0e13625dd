"""Networks that tests of one process share, and how a test that alters one is noticed."""
from collections.abc import Callable

import torch
from torch import nn

_made: dict[tuple[Callable, str], nn.Module] = {}
_as_made: dict[tuple[Callable, str], list[tuple]] = {}
_asked: set[tuple[Callable, str]] = set()  # since the last check


def shared(make: Callable[[str], nn.Module]) -> Callable[[str], nn.Module]:
    """``functools.cache`` for what makes a network from a name; ``altered`` looks after what it gives."""
    def ask(name: str) -> nn.Module:
        key = make, name
        if key not in _made:
            _made[key] = make(name)
            _as_made[key] = fingerprint(_made[key])
        _asked.add(key)
        return _made[key]
    return ask


def fingerprint(network: nn.Module) -> list[tuple]:
    """Of modes, gradients and values, also of values that were changed through ``.data``, which counts no version."""
    found: list[tuple] = [(path, part.training) for path, part in network.named_modules()]
    tensors = [*network.named_parameters(), *network.named_buffers()]
    hashes = [torch.hash_tensor(tensor.detach()).item() for _, tensor in tensors]
    return found + [(name, tensor.requires_grad, tensor.grad is None, value)
                    for (name, tensor), value in zip(tensors, hashes)]


def altered() -> list[str]:
    """What is no longer as it was made, of the networks asked for since the last call; they are then made anew."""
    found = []
    for key in sorted(_asked, key=lambda key: key[1]):
        before, now = _as_made[key], fingerprint(_made[key])
        if before != now:
            places = [entry[0] for entry in now if entry not in before]
            found.append(f"{key[1]} ({', '.join(places[:3])})")
            del _made[key], _as_made[key]
    _asked.clear()
    return found
