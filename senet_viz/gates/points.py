"""Where the parts of an attention block are met in a forward: at a module's boundary, or at a multiplication.

Each function here hooks one part. Where the hooked ``function`` returns a tensor, that takes the part's place.
"""
import math
from collections.abc import Callable
from functools import partial

import torch

from .blocks import AttentionBlock
from .hooks import Hooks


def on_gate(hooks: Hooks, block: AttentionBlock, function: Callable) -> None:
    """``function(gate, first)`` with the gate (N, B, C) of the branches from ``first`` on; N is of the batch's rows.

    One call has all M branches, unless each has a multiplication of its own and no module gives them together: then M
    calls have one each.
    """
    if block.spatial:
        on_gate_map(hooks, block, lambda maps: function(_means(block, maps), 0) and None)
        return
    if block.gate is not None:
        def given(_, gate):
            new = function(gate.reshape(len(gate), block.branches, block.channels), 0)
            return None if new is None else new.to(gate.dtype).reshape(gate.shape)
        hooks.after(block.gate, given)
        return
    for m, product in enumerate(block.products):
        def multiplied(multiply, *operands, m=m, operand=product.operand, branch_dim=product.branch_dim):
            gate, scaled = operands[operand], operands[1 - operand]
            values = gate.expand(torch.broadcast_shapes(gate.shape, scaled.shape))[(..., *[0] * block.space)]
            if branch_dim == 0:
                values = values.transpose(0, 1)
            branches = block.branches if len(block.products) == 1 else 1
            new = function(values.reshape(len(values), branches, block.channels), m)
            if new is not None:
                new = new.to(gate.dtype).reshape(values.shape)
                gate = (new if branch_dim else new.transpose(0, 1))[(..., *[None] * block.space)]
            return multiply(*((gate, scaled) if operand == 0 else (scaled, gate)))
        hooks.multiplied(product.path, product.number, multiplied)


def keep_gate(hooks: Hooks, block: AttentionBlock, kept: list[torch.Tensor]) -> None:
    """Append copies of what ``on_gate`` gives, with their graph, in any shape that ``reshape`` makes that one of."""
    if block.gate is not None and not block.spatial:
        hooks.keep(block.gate, kept)
    else:
        on_gate(hooks, block, lambda gate, _: kept.append(gate.clone()))


def pieces(block: AttentionBlock) -> int:
    """In how many pieces ``on_gate`` gives a gate: one, or one for each branch."""
    return 1 if block.gate is not None or block.spatial else len(block.products)


def on_gate_map(hooks: Hooks, block: AttentionBlock, function: Callable) -> None:
    """``function(maps)`` with a gate that varies over space: (N, C, *space), or (N, M, *space) of M branches."""
    seen: list[torch.Tensor] = []

    def multiplied(multiply, *operands, number, operand):
        gate, scaled = operands[operand], operands[1 - operand]
        if number == 0:
            seen.clear()
        seen.append(gate.expand(torch.broadcast_shapes(gate.shape, scaled.shape)))
        if len(seen) == len(block.products):
            function(math.prod(seen[1:], start=seen[0]) if block.branches == 1
                     else torch.stack([gate[:, 0] for gate in seen], 1))
        return multiply(*operands)
    for number, product in enumerate(block.products):
        hooks.multiplied(product.path, product.number, partial(multiplied, number=number, operand=product.operand))


def _means(block: AttentionBlock, maps: torch.Tensor) -> torch.Tensor:
    """Maps → (N, M, C)."""
    means = maps.flatten(2).mean(2)
    return means[:, None] if block.branches == 1 else means[..., None].expand(-1, -1, block.channels)


def on_branch(hooks: Hooks, block: AttentionBlock, m: int, function: Callable) -> None:
    """``function(map)`` with what the gate multiplies, (N, C, *space): branch ``m``, or the input where M is 1."""
    if block.paths:
        hooks.after(block.paths[m], lambda _, output: function(output))
    elif block.input is not None:
        hooks.before(block.input, function)
    else:
        product = block.products[min(m, len(block.products) - 1)]
        together = len(block.products) == 1 and block.branches > 1

        def multiplied(multiply, *operands):
            scaled = operands[1 - product.operand]
            new = function(scaled.select(product.branch_dim, m) if together
                           else scaled.reshape(len(scaled), block.channels, *scaled.shape[-block.space:]))
            if new is not None:
                new = scaled.select_scatter(new, product.branch_dim, m) if together else new.reshape(scaled.shape)
                operands = (operands[0], new) if product.operand == 0 else (new, operands[1])
            return multiply(*operands)
        hooks.multiplied(product.path, product.number, multiplied)


def on_output(hooks: Hooks, block: AttentionBlock, function: Callable) -> None:
    """``function(map)`` with the scaled map, or the sum of the scaled branches, (N, C, *space).

    Raises:
        ValueError: for a sum of branches that no module gives.
    """
    if block.output is not None:
        hooks.after(block.output, lambda _, output: function(output))
        return
    if block.branches > 1:
        raise ValueError(f"the sum of {block.label}'s branches is no module's output; ask for the branches")

    def multiplied(multiply, *operands):
        product = multiply(*operands)
        new = function(product.reshape(len(product), block.channels, *product.shape[-block.space:]))
        return product if new is None else new.reshape(product.shape)
    last = block.products[-1]  # coordinate attention has one for each dimension of space
    hooks.multiplied(last.path, last.number, multiplied)


def on_shortcut(hooks: Hooks, block: AttentionBlock, function: Callable) -> None:
    """``function(map)`` with what the block's output is added to, (N, C, *space).

    Raises:
        ValueError: where it is not added to anything directly.
    """
    if block.shortcut is None:
        raise ValueError(f"{block.label} has no shortcut: its output is not added to one directly")
    if block.shortcut_is_input:
        hooks.before(block.shortcut, function)
    else:
        hooks.after(block.shortcut, lambda _, output: function(output))
