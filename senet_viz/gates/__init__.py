"""Channel gates: which classes hold them, finding them in a network, recording them."""
from .blocks import AttentionBlock, find_blocks
from .edits import Edit, EditError, Subspace, edited, parse_edits
from .hooks import ModelBusy
from .inspection import View, contribution_points, grad_cam, inspect, record
from .targets import (
    BinaryClassifierOutputTarget,
    FasterRCNNBoxScoreTarget,
    SemanticSegmentationTarget,
    SimilarityToConceptTarget,
)

__all__ = [
    "AttentionBlock", "BinaryClassifierOutputTarget", "Edit", "EditError", "FasterRCNNBoxScoreTarget", "ModelBusy",
    "SemanticSegmentationTarget", "SimilarityToConceptTarget", "Subspace", "View", "contribution_points", "edited",
    "find_blocks", "grad_cam", "inspect", "parse_edits", "record",
]
