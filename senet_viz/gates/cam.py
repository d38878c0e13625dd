"""Grad-CAM arithmetic (Selvaraju et al., https://arxiv.org/abs/1610.02391, Sec. 3)."""
from collections.abc import Sequence

import torch


def channel_weights(
        scores: Sequence[torch.Tensor],
        maps: Sequence[torch.Tensor],
        *,
        retain_graph: bool = False,
) -> list[torch.Tensor]:
    """Grad-CAM's α: how much each channel's mean moves a score.

    One backward a score gives the gradients at all maps; images do not mix, so each backward serves the whole batch.

    Args:
        scores: T tensors, (N,) or a scalar, with a graph to the maps: a class's logit of each image, or what else is to
            be explained.
        maps: tensors (N, C, *space) of that graph.
        retain_graph: keep the graph for further calls.

    Returns:
        For each map (N, T, C) float32: the gradient of the score, averaged over space.

    Raises:
        RuntimeError: when a score does not depend on a map, or the network's own backward fails.
    """
    weights: list[list[torch.Tensor]] = [[] for _ in maps]
    for t, score in enumerate(scores):
        with torch.inference_mode(False), torch.enable_grad():
            total = score.sum()
        if not total.requires_grad:
            raise RuntimeError("what is to be explained does not depend on any of the maps asked for")
        try:
            gradients = torch.autograd.grad(
                total, maps, retain_graph=retain_graph or t + 1 < len(scores), allow_unused=True)
        except RuntimeError as error:
            raise RuntimeError(f"the network's own backward fails: {str(error).splitlines()[0]}") from error
        for position, (kept, gradient) in enumerate(zip(weights, gradients)):
            if gradient is None:
                raise RuntimeError(f"the logits do not depend on map {position} of those asked for")
            kept.append(gradient.flatten(2).mean(2, dtype=torch.float32))
    return [torch.stack(kept, 1) for kept in weights]


def weighted_sum(weights: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Σ_c α_c A_c, signed; Grad-CAM shows its positive part. (N, T, C) and (N, C, *space) → (N, T, *space)."""
    return torch.einsum("ntc,nc...->nt...", weights, maps)
