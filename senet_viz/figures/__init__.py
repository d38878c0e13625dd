"""Plotly figures of channel attention: tables and arrays in, ``plotly.graph_objects.Figure`` out.

Each figure carries its description for readers who do not see it in ``figure.layout.meta["alt"]``. Those for print are
Matplotlib's, in ``paper``, which is imported where they are asked for.
"""
from .ablation import trained_variants
from .blocks import all_blocks
from .box import box_picker
from .channel import channel_classes, channel_histogram
from .class_map import class_colours, painted
from .classes import class_panels
from .comparison import (
    channel_changes,
    compared_curves,
    compared_differences,
    compared_photos,
    similarity_along,
    similarity_matrix,
    static_compared,
)
from .contribution import contribution
from .cost import cost_by_stage, error_against_parameters
from .dimension import dimension
from .driving import driving
from .excitation import excitation
from .heat_map import class_heat_map
from .kernels import fig3_bars, fig3_lines, kernel_preference
from .maps import cam_grid, channel_maps, gate_change, signed_map
from .neighbours import nearest_classes
from .overlay import overlay, set_off
from .saturation import saturation
from .selectivity import channel_effects, removal
from .sizes import class_changes, share_slopes, size_bars, size_curves, size_effects, size_slopes
from .spaces import map_lines, volume_slices
from .specificity import specificity
from .static import static_or_dynamic
from .strips import strips
from .style import COLOURS, last_branch
from .training import training_curves, training_map
from .what_if import edit_effects, edit_travel, evaluated, forced_sizes

__all__ = [
    "COLOURS", "all_blocks", "box_picker", "cam_grid", "channel_changes", "channel_classes", "channel_effects",
    "channel_histogram", "channel_maps", "class_changes", "class_colours", "class_heat_map", "class_panels",
    "compared_curves", "compared_differences", "compared_photos", "contribution", "cost_by_stage", "dimension",
    "driving", "edit_effects", "edit_travel", "error_against_parameters", "evaluated", "excitation", "fig3_bars",
    "fig3_lines", "forced_sizes", "gate_change", "kernel_preference", "last_branch", "map_lines", "nearest_classes",
    "overlay", "painted", "removal", "saturation", "set_off", "share_slopes", "signed_map", "similarity_along",
    "similarity_matrix", "size_bars", "size_curves", "size_effects", "size_slopes", "specificity", "static_compared",
    "static_or_dynamic", "strips", "trained_variants", "training_curves", "training_map", "volume_slices",
]
