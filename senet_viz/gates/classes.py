"""Which public classes hold a channel gate, and where in them it is.

Three timm classes share two names, so a class is known by its module and qualified name, never by its attributes. The
gate of every class listed here is the output of one submodule; its shape is brought to (N, M, C) by a plain reshape,
since all of them are branch-major.
"""
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class GateClass:
    """Where a class keeps its gate.

    Attributes:
        kind: "SE", "SK", "ECA", "eSE", …
        gate: submodule whose output is the gate after its activation.
        branches: list of submodules whose outputs the gate weighs and sums; None when it scales the block's input.
    """

    kind: str
    gate: str
    branches: str | None = None


GATE_CLASSES = {
    "senet_viz.layers.squeeze_excite:SqueezeExcite": GateClass("SE", "gate"),
    "senet_viz.layers.selective_kernel:SelectiveKernel": GateClass("SK", "gate", branches="branches"),
    "timm.layers.squeeze_excite:SEModule": GateClass("SE", "gate"),
    "timm.layers.squeeze_excite:EffectiveSEModule": GateClass("eSE", "gate"),
    "timm.models._efficientnet_blocks:SqueezeExcite": GateClass("SE", "gate"),
    "timm.models.senet:SEModule": GateClass("SE", "sigmoid"),
    "timm.models.hgnet:EseModule": GateClass("eSE", "sigmoid"),
    "timm.layers.eca:EcaModule": GateClass("ECA", "gate"),
    "timm.layers.eca:CecaModule": GateClass("ECA", "gate"),
    "timm.layers.selective_kernel:SelectiveKernel": GateClass("SK", "attn", branches="paths"),
    "torchvision.ops.misc:SqueezeExcitation": GateClass("SE", "scale_activation"),
}


def gate_class(module: nn.Module) -> GateClass | None:
    """The entry of the module's class, or of the nearest class that it derives from; None when there is none."""
    for cls in type(module).__mro__:
        entry = GATE_CLASSES.get(f"{cls.__module__}:{cls.__qualname__}")
        if entry is not None:
            return entry
    return None
