"""A slower second opinion beside Grad-CAM: Captum's occlusion and integrated gradients, on the pixels themselves."""
import math
from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients, Occlusion

from ..gates.blocks import eager, to_module
from ..gates.hooks import hooked
from ..gates.targets import Score, logits_of, scores_of

METHODS = ("occlusion", "integrated gradients")
STEPS, CHUNK = 32, 8


def attribute(
        model,
        image: torch.Tensor,
        target: int | Score,
        method: str = "occlusion",
        *,
        progress: Callable[[float], None] | None = None,
) -> torch.Tensor:
    """How much each pixel speaks for a class.

    Occlusion (Zeiler and Fergus, https://arxiv.org/abs/1311.2901): the fall of the logit while a grey square of an
    eighth of the picture's side covers the pixel, in steps of half its side. Integrated gradients (Sundararajan et al.,
    https://arxiv.org/abs/1703.01365): 32 steps from mid-grey, summed over colours. Other threads may use the model
    between chunks of eight.

    Args:
        model: a ``senet_viz.Model`` or ``nn.Module``.
        image: (3, H, W), transformed; grey is its 0.
        target: class index, or a function of what the network returns for N images that gives (N,)
            (``senet_viz.gates.answers.target_of`` a segmentation's class).
        method: one of ``METHODS``.
        progress: called with the share done, 0..1.

    Returns:
        (H, W) float32, signed, in units of the logit or score.

    Raises:
        ValueError: for another method, a class that the network lacks, or an index where it gives no logits.
        ModelBusy: when the model stayed in use.
    """
    if method not in METHODS:
        raise ValueError(f"method must be {' or '.join(METHODS)}, not {method!r}")
    module = eager(model if isinstance(model, torch.nn.Module) else model.module)
    output = None if isinstance(model, torch.nn.Module) else model.output
    batch = to_module(image[None], module)
    height, width = image.shape[-2:]
    window = (max(1, height // 8), max(1, width // 8))
    stride = (max(1, window[0] // 2), max(1, window[1] // 2))
    if method == "occlusion":
        windows = math.prod(math.ceil((side - w) / s) + 1 for side, w, s in zip((height, width), window, stride))
        total = math.ceil(windows / CHUNK) + 1
    else:
        total = math.ceil(STEPS / CHUNK)
    done = 0

    def forward(x):
        nonlocal done
        with hooked(module):
            returned = module(x)
        done += 1
        if progress:
            progress(min(1.0, done / total))
        logits = None if callable(target) else logits_of(returned, len(x), output)
        return scores_of([target], returned, logits, len(x))[0]

    if method == "occlusion":
        with torch.no_grad():
            values = Occlusion(forward).attribute(
                batch, sliding_window_shapes=(len(image), *window), strides=(len(image), *stride),
                perturbations_per_eval=CHUNK)
        return values[0].mean(0).float()
    values = IntegratedGradients(forward).attribute(batch, n_steps=STEPS, internal_batch_size=CHUNK)
    return values[0].sum(0).detach().float()
