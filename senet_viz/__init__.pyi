"""Make channel attention visible: record, summarise and draw the gates of SE and SK networks."""
from .data.images import UnreadableImage, open_image
from .experiments.overlays import on_photo
from .gates import (
    AttentionBlock,
    BinaryClassifierOutputTarget,
    Edit,
    EditError,
    FasterRCNNBoxScoreTarget,
    ModelBusy,
    SemanticSegmentationTarget,
    SimilarityToConceptTarget,
    View,
    edited,
    find_blocks,
    grad_cam,
    inspect,
    parse_edits,
    record,
)
from .models import Model, load
from .statistics import Statistics, open_statistics
from .training import Monitor

__all__ = [
    "AttentionBlock", "BinaryClassifierOutputTarget", "Edit", "EditError", "FasterRCNNBoxScoreTarget", "Model",
    "ModelBusy", "Monitor", "SemanticSegmentationTarget", "SimilarityToConceptTarget", "Statistics", "UnreadableImage",
    "View", "edited", "find_blocks", "grad_cam", "inspect", "load", "on_photo", "open_image", "open_statistics",
    "parse_edits", "record",
]
