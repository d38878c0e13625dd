"""Make channel attention visible: record, summarise and draw the gates of SE and SK networks."""
from .gates import AttentionBlock, ModelBusy, View, find_blocks, grad_cam, inspect, record
from .images import UnreadableImage, open_image
from .models import Model, load
from .statistics import Statistics, open_statistics

__all__ = [
    "AttentionBlock", "Model", "ModelBusy", "Statistics", "UnreadableImage", "View", "find_blocks", "grad_cam",
    "inspect", "load", "open_image", "open_statistics", "record",
]
