"""A factor for each channel, put into the weights of a layer beside it, so that nothing is multiplied any more."""
from collections import Counter
from collections.abc import Callable, Iterable

import torch
from torch import nn

from ..gates.hooks import Hooks
from ..gates.targets import numbers_of

SAME = 1e-5  # the most by which a map or a logit may differ, relative to the largest
NEAR = 4  # layers before and behind that are tried


@torch.no_grad()
def fold(module: nn.Module, scales: Iterable[str], batch: torch.Tensor,
         output: Callable[[object], torch.Tensor] | None = None) -> dict[str, str]:
    """Put the numbers of ``Scale`` parts into the layers beside them; the network is changed in place.

    Which layers run before and behind a part is seen in a forward. The nearest are tried: the one before takes the
    factors into its output channels (weight and bias), the one behind into its input channels. What counts is what they
    do: the map that was scaled (or what the layer behind gives) and the logits have to be the same within ``SAME``. So
    a layer whose output goes elsewhere, too, or to a nonlinearity that factors do not pass, is left as it is.

    Args:
        module: in evaluation mode.
        scales: paths of its ``Scale`` parts.
        batch: (N, 3, H, W), to compare on.
        output: what the network returns → its logits, as of ``senet_viz.gates.targets.logits_of``.

    Returns:
        Part → the layer that took its factors, for those that could be folded; their place is taken by an identity.
    """
    scales, folded = list(scales), {}
    order = _order(module, batch)
    for path in filter(order.__contains__, scales):
        place = order.index(path)
        behind = [(other, 1) for other in order[place + 1:] if other not in scales][:NEAR]
        before = [(other, 0) for other in order[:place][::-1] if other not in scales][:NEAR]
        for layer, side in [*before, *behind]:
            if _folded(module, path, layer, side, batch, output):
                folded[path] = layer
                break
    return folded


def _order(module: nn.Module, batch: torch.Tensor) -> list[str]:
    """The parts with weights of their own that run once in a forward, as they run."""
    ran: list[str] = []
    hooks = Hooks(module, shared=False)
    try:
        for path, part in module.named_modules():
            if path and isinstance(part._parameters.get("weight"), nn.Parameter):
                hooks.before(path, lambda _, path=path: ran.append(path))
        module(batch)
    finally:
        hooks.remove()
    counts = Counter(ran)
    return [path for path in ran if counts[path] == 1]


def _folded(module: nn.Module, path: str, layer: str, side: int, batch: torch.Tensor,
            output: Callable[[object], torch.Tensor] | None) -> bool:
    """Try one layer; the network is as before where it does not do."""
    part = module.get_submodule(layer)
    new = _scaled(part, module.get_parameter(f"{path}.weight"), side)
    if new is None:
        return False
    watched = path if side == 0 else layer
    wanted = _seen(module, watched, batch, output)
    parent, _, leaf = path.rpartition(".")
    scale, old = module.get_submodule(path), {name: getattr(part, name).data for name in new}
    setattr(module.get_submodule(parent), leaf, nn.Identity())
    for name, values in new.items():
        getattr(part, name).data = values
    if all(_same(got, there) for got, there in zip(_seen(module, watched, batch, output), wanted)):
        return True
    setattr(module.get_submodule(parent), leaf, scale)
    for name, values in old.items():
        getattr(part, name).data = values
    return False


def _scaled(part: nn.Module, factors: torch.Tensor, side: int) -> dict[str, torch.Tensor] | None:
    """A layer's parameters with factors on its output channels (side 0) or input channels; None where they do not fit.

    Convolutions, linear layers and normalisations have their output channels first, and the input channels of a group
    second.
    """
    parameters = dict(part.named_parameters(recurse=False))
    weight, groups = parameters["weight"], int(getattr(part, "groups", 1))
    if side == 0:
        if weight.shape[0] != len(factors):
            return None
        new = {"weight": weight * factors.view(-1, *[1] * (weight.dim() - 1))}
        return new | ({"bias": parameters["bias"] * factors} if "bias" in parameters else {})
    if weight.dim() < 2 or weight.shape[1] * groups != len(factors) or weight.shape[0] % groups:
        return None
    rows = factors.view(groups, -1).repeat_interleave(weight.shape[0] // groups, 0)
    return {"weight": weight * rows.view(*rows.shape, *[1] * (weight.dim() - 2))}


def _seen(module: nn.Module, path: str, batch: torch.Tensor,
          output: Callable[[object], torch.Tensor] | None) -> list[torch.Tensor]:
    """What a part gives, and what the network returns."""
    outputs: list[torch.Tensor] = []
    hooks = Hooks(module, shared=False)
    try:
        hooks.after(path, lambda _, output: outputs.append(output.clone()))
        returned = module(batch)
    finally:
        hooks.remove()
    return [outputs[-1], *numbers_of(returned, len(batch), output)]


def _same(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    return got.shape == wanted.shape and bool((got - wanted).abs().max() <= SAME * wanted.abs().max())
