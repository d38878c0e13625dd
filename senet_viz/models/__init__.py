"""The papers' networks, and loading any network by name."""
from .checkpoints import CheckpointError
from .devices import available_devices, choose_device
from .load import DownloadError, UnknownModel, cache_folders, embedded_models, load
from .model import Model
from .resnet import se_resnet50, senet154, sknet50, slim_resnet50

__all__ = [
    "CheckpointError", "DownloadError", "Model", "UnknownModel", "available_devices", "cache_folders", "choose_device",
    "embedded_models", "load", "se_resnet50", "senet154", "sknet50", "slim_resnet50",
]
