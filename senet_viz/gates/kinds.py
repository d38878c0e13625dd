"""What public attention classes are called; their gates are found by what they do (``senet_viz.gates.search``).

Three timm classes share two names, so a class is known by its module and qualified name, never by its attributes.
"""
from torch import nn

# only where the kind is not what it looks like: one gate a map is SE, a choice between branches SK
KINDS = {
    "timm.layers.squeeze_excite:EffectiveSEModule": "eSE",
    "timm.models.hgnet:EseModule": "eSE",
    "timm.layers.eca:EcaModule": "ECA",
    "timm.layers.eca:CecaModule": "ECA",
    "timm.layers.split_attn:SplitAttn": "SplitAttn",
    "timm.layers.global_context:GlobalContext": "GC",
    "timm.layers.cbam:ChannelAttn": "CBAM",
    "timm.layers.cbam:LightChannelAttn": "CBAM",
    "timm.layers.gather_excite:GatherExcite": "GE",
}


def kind_of(module: nn.Module, form: str) -> str:
    """The kind of a block: by its class, or the nearest class that it derives from, else by its form."""
    for cls in type(module).__mro__:
        kind = KINDS.get(f"{cls.__module__}:{cls.__qualname__}")
        if kind is not None:
            return kind
    return form
