"""Channel gates: which classes hold them, finding them in a network, recording them."""
from .blocks import AttentionBlock, find_blocks
from .hooks import ModelBusy
from .inspection import View, contribution_points, grad_cam, inspect, record

__all__ = ["AttentionBlock", "ModelBusy", "View", "contribution_points", "find_blocks", "grad_cam", "inspect", "record"]
