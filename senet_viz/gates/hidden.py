"""The hidden layer of a block: what its last learned layer is given, SE's reduced vector and SK's z."""
from collections import Counter

import torch
from torch import nn

from .blocks import AttentionBlock, to_module
from .hooks import hooked
from .points import on_gate, pieces

RARE = 0.01  # a hidden unit that is above zero for fewer of the pictures is dead, for all but so few of them linear


def hidden_layers(module: nn.Module, blocks: list[AttentionBlock], example: torch.Tensor) -> dict[str, str | None]:
    """Block → path of the layer that is given its hidden units, the last learned one before the gate; None without.

    A hidden layer is what such a layer is given by another one within the block's own module: SE's reduced vector and
    SK's z are, ECA's and a single layer's inputs are not.
    """
    paths = {block.name: block.path for block in blocks}
    order: dict[str, list[tuple[str, int]]] = {name: [] for name in paths}  # the layers of vectors, with their outputs
    met: Counter[str] = Counter()  # pieces of gates: what runs in the same module when a gate is whole is not its own
    with hooked(module) as hooks, torch.no_grad():
        for block in blocks:
            for inner, part in module.get_submodule(block.path).named_modules():
                if isinstance(part, nn.Linear):
                    sizes = part.in_features, part.out_features
                elif isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                    sizes = part.in_channels, part.out_channels
                else:
                    continue
                layer = ".".join(filter(None, (block.path, inner)))

                def ran(given, _, block=block, layer=layer, sizes=sizes):
                    vector = given is not None and given[0].numel() == sizes[0]  # no map
                    if vector and met[block.name] < pieces(block):
                        order[block.name].append((layer, sizes[1]))
                hooks.after(layer, ran)
            on_gate(hooks, block, lambda *_, name=block.name: met.update([name]))
        module(to_module(example[:1], module))
    found: dict[str, str | None] = dict.fromkeys(paths)
    for block in blocks:
        layers = order[block.name]
        alone = list(paths.values()).count(paths[block.name]) == 1  # else whose layer is whose cannot be told
        if alone and len(layers) > 1 and layers[-1][1] in (block.channels, block.channels * block.branches):
            found[block.name] = layers[-1][0]
    return found


def outgoing(layer: nn.Module) -> torch.Tensor | None:
    """Σ w² of the weights that each of H hidden units goes out by, (H,) float64; None where units share weights."""
    if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1
                                        and layer.kernel_size == (1, 1)):
        return layer.weight.detach().double().flatten(1).square().sum(0)
    return None
