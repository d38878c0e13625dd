"""Grad-CAM arithmetic (Selvaraju et al., https://arxiv.org/abs/1610.02391, Sec. 3)."""
from collections.abc import Sequence

import torch

# device → of up to how many pictures several backwards are faster at once than one after the other; a processor has its
# share of work with some pictures, and then only waits for more memory
TOGETHER = {"cpu": 1, "cuda": 1024}
MOST_TOGETHER = 16  # scores, for each takes memory


def channel_weights(
        scores: Sequence[torch.Tensor],
        maps: Sequence[torch.Tensor],
        names: Sequence[str] = (),
        *,
        retain_graph: bool = False,
) -> list[torch.Tensor]:
    """Grad-CAM's α: how much each channel's mean moves a score.

    One backward a score gives the gradients at all maps; images do not mix, so each backward serves the whole batch. Of
    one picture, and on CUDA, one backward serves several scores, where the network's parts can be differentiated so.

    Args:
        scores: T tensors, (N,) or a scalar, with a graph to the maps: a class's logit of each image, or what else is to
            be explained.
        maps: tensors (N, C, *space) of that graph.
        names: of the maps, for what is raised; their numbers where there are none.
        retain_graph: keep the graph for further calls.

    Returns:
        For each map (N, T, C) float32: the gradient of the score, averaged over space.

    Raises:
        RuntimeError: when a score does not depend on a map, or the network's own backward fails.
    """
    with torch.inference_mode(False), torch.enable_grad():
        totals = [score.sum() for score in scores]
    if not all(total.requires_grad for total in totals):
        raise RuntimeError("what is to be explained does not depend on any of the maps asked for")
    found = None
    kinds = {(total.device.type, total.dtype) for total in totals}
    if 1 < len(totals) <= MOST_TOGETHER and len(kinds) == 1 and (
            max(map(len, maps)) <= TOGETHER.get(totals[0].device.type, 0)):
        found = _together(totals, maps)
    if found is None:
        found = _in_turn(totals, maps, retain_graph)
    weights = [gradient for gradient in found if gradient is not None]
    if len(weights) < len(found):
        number = [gradient is None for gradient in found].index(True)
        name = names[number] if names else f"map {number}"
        raise RuntimeError(f"no gradient leads from what is explained to {name}: what follows it may have none, as "
                           f"quantised layers have none, or makes no use of it")
    return weights


def _in_turn(totals: list[torch.Tensor], maps: Sequence[torch.Tensor], retain_graph: bool
             ) -> list[torch.Tensor | None]:
    """(N, T, C) for each map, None for one that some score does not depend on; a backward a score."""
    weights: list[list[torch.Tensor]] = [[] for _ in maps]
    for t, total in enumerate(totals):
        try:
            gradients: Sequence[torch.Tensor | None] = torch.autograd.grad(
                total, maps, retain_graph=retain_graph or t + 1 < len(totals), allow_unused=True)
        except RuntimeError as error:
            reason = str(error).partition(" Hint: ")[0].splitlines()  # the hint is for whoever wrote the network
            raise RuntimeError(f"the network's own backward fails: {[*reason, type(error).__name__][0]}") from error
        for kept, gradient in zip(weights, gradients):
            if gradient is not None:
                kept.append(gradient.flatten(2).mean(2, dtype=torch.float32))
    return [torch.stack(kept, 1) if len(kept) == len(totals) else None for kept in weights]


def _together(totals: list[torch.Tensor], maps: Sequence[torch.Tensor]) -> list[torch.Tensor | None] | None:
    """The same by one backward for all scores; None where some part of the network cannot be differentiated so."""
    with torch.inference_mode(False), torch.enable_grad():
        total = torch.stack(totals)
    reached: list[int] = []

    def gradients(of_totals: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: Sequence[torch.Tensor | None] = torch.autograd.grad(
            total, maps, of_totals, retain_graph=True, allow_unused=True)
        reached[:] = [i for i, gradient in enumerate(found) if gradient is not None]
        return tuple(gradient for gradient in found if gradient is not None)

    try:  # of vmap and not is_grads_batched, which takes the convolutions one score after the other
        stacked = torch.func.vmap(gradients)(torch.eye(len(totals), dtype=total.dtype, device=total.device))
    except Exception:  # whatever a part's own backward raises; also for want of memory, of which it takes more
        return None
    weights: list[torch.Tensor | None] = [None] * len(maps)
    for i, of_scores in zip(reached, stacked):
        weights[i] = of_scores.flatten(3).mean(3, dtype=torch.float32).transpose(0, 1)
    return weights


def weighted_sum(weights: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Σ_c α_c A_c, signed; Grad-CAM shows its positive part. (N, T, C) and (N, C, *space) → (N, T, *space)."""
    return torch.einsum("ntc,nc...->nt...", weights, maps)
