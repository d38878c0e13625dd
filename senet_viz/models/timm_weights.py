"""Public weights of the papers' networks: timm's tensors under the names that they have here."""
import re

import torch

TWINS = {
    "se_resnet50": "legacy_seresnet50", "se_resnet101": "legacy_seresnet101", "se_resnet152": "legacy_seresnet152",
    "se_resnext50_32x4d": "legacy_seresnext50_32x4d", "se_resnext101_32x4d": "legacy_seresnext101_32x4d",
    "senet154": "legacy_senet154", "sknet50": "skresnext50_32x4d",
}
"""Network of ``senet_viz.models`` → the same network in timm; the SE ones are ports of the authors' own weights."""

_RULES = [(re.compile(pattern), new) for pattern, new in (
    (r"^(?:layer0\.)?conv(\d)\.", lambda m: f"stem.{3 * int(m[1]) - 3}."),
    (r"^(?:layer0\.)?bn(\d)\.", lambda m: f"stem.{3 * int(m[1]) - 2}."),
    (r"se_module\.fc1\.", "se.reduce."),
    (r"se_module\.fc2\.", "se.expand."),
    (r"\.paths\.(\d)\.conv\.", r".branches.\1.0."),
    (r"\.paths\.(\d)\.bn\.", r".branches.\1.1."),
    (r"\.attn\.fc_reduce\.", ".fuse.1."),
    (r"\.attn\.bn\.", ".fuse.2."),
    (r"\.attn\.fc_select\.", ".select."),
    (r"\.conv(\d)\.conv\.", r".conv\1."),
    (r"\.conv(\d)\.bn\.", r".bn\1."),
    (r"^last_linear\.", "fc."),
)]


def from_timm(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state_dict of one of timm's ``TWINS`` as its twin here takes it; the tensors are the same ones.

    >>> se_resnet50().load_state_dict(from_timm(timm.create_model("legacy_seresnet50").state_dict()))
    <All keys matched successfully>
    """
    renamed = {}
    for key, tensor in state.items():
        for pattern, new in _RULES:
            key = pattern.sub(new, key)
        renamed[key] = tensor
    return renamed
