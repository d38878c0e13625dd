"""Grad-CAM arithmetic (Selvaraju et al., https://arxiv.org/abs/1610.02391, Sec. 3)."""
from collections.abc import Sequence

import torch


def channel_weights(
        logits: torch.Tensor,
        targets: torch.Tensor,
        maps: Sequence[torch.Tensor],
        *,
        retain_graph: bool = False,
) -> list[torch.Tensor]:
    """Grad-CAM's α: how much each channel's mean moves a class's logit.

    One backward a class gives the gradients at all maps; images do not mix, so each backward serves the whole batch.

    Args:
        logits: (N, K), with a graph to the maps.
        targets: (N, T) class indices.
        maps: tensors (N, C, h, w) of that graph.
        retain_graph: keep the graph for further calls.

    Returns:
        For each map (N, T, C): the gradient of the class's logit, averaged over space.
    """
    weights = [[] for _ in maps]
    chosen = logits.gather(1, targets).sum(0)
    for t in range(targets.shape[1]):
        gradients = torch.autograd.grad(chosen[t], maps, retain_graph=retain_graph or t + 1 < targets.shape[1])
        for kept, gradient in zip(weights, gradients):
            kept.append(gradient.mean((2, 3)))
    return [torch.stack(kept, 1) for kept in weights]


def weighted_sum(weights: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """ReLU(Σ_c α_c A_c), the map that Grad-CAM shows: (N, T, C) and (N, C, h, w) → (N, T, h, w), values from 0 up."""
    return torch.einsum("ntc,nchw->nthw", weights, maps).relu()
