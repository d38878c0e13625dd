"""A factor for each channel, put into the weights of a layer beside it, so that nothing is multiplied any more."""
import copy
from collections import Counter
from collections.abc import Callable, Iterable

import torch
from torch import nn

from ..gates.hooks import Hooks
from ..gates.targets import numbers_of

SAME = 1e-5  # the most by which a map or a logit may differ, relative to the largest
NEAR = 4  # layers before and behind that are tried
MAGNITUDES = (1e2, 1e-2, 1e4, 1e-4)  # times those of the batch, at which a fold has to hold as well


@torch.no_grad()
def fold(module: nn.Module, scales: Iterable[str], batch: torch.Tensor,
         output: Callable[[object], torch.Tensor] | None = None) -> dict[str, str]:
    """Put the numbers of ``Scale`` parts into the layers beside them; the network is changed in place.

    Which layers run before and behind a part is seen in a forward. The nearest are tried: the one before takes the
    factors into its output channels (weight and bias), the one behind into its input channels. What counts is what they
    do: the map that was scaled (or what the layer behind gives) and the logits have to be the same within ``SAME``. So
    a layer whose output goes elsewhere, too, or to a nonlinearity that factors do not pass, is left as it is. A batch
    need not reach where a nonlinearity bends: ReLU6 passes factors of all maps below 6. So what the earlier of the two
    gives is also tried at other ``MAGNITUDES`` and with other signs.

    Args:
        module: in evaluation mode.
        scales: paths of its ``Scale`` parts.
        batch: (N, channels, *space), to compare on.
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
            values = _scaled(module.get_submodule(layer), module.get_parameter(f"{path}.weight"), side)
            if values is None:
                continue
            tried = copy.deepcopy(module)
            _put(tried, path, layer, values)
            if _alike(module, tried, *((path, layer) if side else (layer, path)), batch, output):
                _put(module, path, layer, values)
                folded[path] = layer
                break
    return folded


def _order(module: nn.Module, batch: torch.Tensor) -> list[str]:
    """The parts with weights of their own that give one tensor, once in a forward, as they run."""
    ran: list[str] = []
    hooks = Hooks(module, shared=False)
    try:
        for path, part in module.named_modules():
            if path and isinstance(part._parameters.get("weight"), nn.Parameter):
                hooks.after(path, lambda _, output, path=path: ran.append(path) if isinstance(
                    output, torch.Tensor) else None)
        module(batch)
    finally:
        hooks.remove()
    counts = Counter(ran)
    return [path for path in ran if counts[path] == 1]


def _put(module: nn.Module, path: str, layer: str, values: dict[str, torch.Tensor]) -> None:
    """Give a layer new values, and leave nothing where the factors were."""
    parent, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(parent), leaf, nn.Identity())
    for name, value in values.items():
        module.get_parameter(f"{layer}.{name}").data = value


def _scaled(part: nn.Module, factors: torch.Tensor, side: int) -> dict[str, torch.Tensor] | None:
    """A layer's parameters with factors on its output channels (side 0) or input channels; None where they do not fit.

    Convolutions, linear layers and normalisations have their output channels first, and the input channels of a group
    second.
    """
    parameters = dict(part.named_parameters(recurse=False))
    weight, groups = parameters["weight"], int(getattr(part, "groups", 1))
    if side == 0:
        if weight.shape[:1] != factors.shape:
            return None
        new = {"weight": weight * factors.view(-1, *[1] * (weight.dim() - 1))}
        return new | ({"bias": parameters["bias"] * factors} if "bias" in parameters else {})
    if weight.dim() < 2 or weight.shape[1] * groups != len(factors) or weight.shape[0] % groups:
        return None
    rows = factors.view(groups, -1).repeat_interleave(weight.shape[0] // groups, 0)
    return {"weight": weight * rows.view(*rows.shape, *[1] * (weight.dim() - 2))}


def _alike(module: nn.Module, tried: nn.Module, first: str, last: str, batch: torch.Tensor,
           output: Callable[[object], torch.Tensor] | None) -> bool:
    """Whether a network with a fold does the same, between the first and the last part that it concerns and beyond.

    At other magnitudes the first of the batch is enough, whose map has elements of many sizes. The rest of the network
    is not made for these, so ``last`` then gives what it gave without the fold: what the network returns differs only
    where the output of ``first`` goes elsewhere, too.
    """
    for magnitude in (None, *MAGNITUDES):
        tested = batch if magnitude is None else batch[:1]
        wanted = _seen(module, first, last, tested, output, magnitude)
        got = _seen(tried, first, last, tested, output, magnitude, None if magnitude is None else wanted[0])
        if len(got) != len(wanted) or not all(map(_same, got, wanted)):
            return False
    return True


def _seen(module: nn.Module, first: str, last: str, batch: torch.Tensor,
          output: Callable[[object], torch.Tensor] | None, magnitude: float | None,
          instead: torch.Tensor | None = None) -> list[torch.Tensor]:
    """What ``last`` gives, and what the network returns where it gives something else instead."""
    seen: list[torch.Tensor] = []

    def after_last(_, given: torch.Tensor) -> torch.Tensor | None:
        seen.append(given.clone())
        return None if instead is None else instead.clone()

    hooks = Hooks(module, shared=False)
    try:
        if magnitude is not None:
            hooks.after(first, lambda _, given: given * magnitude * _signs(given))
        hooks.after(last, after_last)
        returned = module(batch)
    finally:
        hooks.remove()
    return [*seen, *numbers_of(returned, len(batch), output)]


def _signs(like: torch.Tensor) -> torch.Tensor:
    """1 or -1, drawn, but always the same."""
    return torch.randint(2, like.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _same(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    got, wanted = got.nan_to_num(), wanted.nan_to_num()  # a magnitude may be too much for what lies behind
    return got.shape == wanted.shape and bool((got - wanted).abs().max() <= SAME * wanted.abs().max())
