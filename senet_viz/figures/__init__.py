"""Plotly figures of channel attention: tables and arrays in, ``plotly.graph_objects.Figure`` out.

Each figure carries its description for readers who do not see it in ``figure.layout.meta["alt"]``.
"""
from .blocks import all_blocks
from .contribution import contribution
from .excitation import excitation
from .kernels import kernel_preference
from .maps import cam_grid, channel_maps, gate_change, signed_map
from .style import last_branch

__all__ = [
    "all_blocks", "cam_grid", "channel_maps", "contribution", "excitation", "gate_change", "kernel_preference",
    "last_branch", "signed_map",
]
