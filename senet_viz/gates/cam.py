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
        For each map (N, T, C) float32: the gradient of the class's logit, averaged over space.

    Raises:
        RuntimeError: when the logits do not depend on a map.
    """
    weights: list[list[torch.Tensor]] = [[] for _ in maps]
    for t in range(targets.shape[1]):
        chosen = torch.zeros_like(logits).scatter_(1, targets[:, t, None], 1.0)
        gradients = torch.autograd.grad(
            logits, maps, chosen, retain_graph=retain_graph or t + 1 < targets.shape[1], allow_unused=True)
        for position, (kept, gradient) in enumerate(zip(weights, gradients)):
            if gradient is None:
                raise RuntimeError(f"the logits do not depend on map {position} of those asked for")
            kept.append(gradient.mean((2, 3), dtype=torch.float32))
    return [torch.stack(kept, 1) for kept in weights]


def weighted_sum(weights: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Σ_c α_c A_c, signed; Grad-CAM shows its positive part. (N, T, C) and (N, C, h, w) → (N, T, h, w)."""
    return torch.einsum("ntc,nchw->nthw", weights, maps)
