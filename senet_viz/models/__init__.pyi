"""The papers' networks, and loading any network by name."""
from .binary import for_and_against
from .cache import cache_folders
from .checkpoints import CheckpointError
from .devices import available_devices, choose_device
from .download import DownloadError, UnknownModel, remote
from .fetching import fetch
from .insert import with_attention
from .listing import catalog
from .loading import embedded_models, load
from .mac_count import macs
from .model import Model
from .networks import (
    se_bn_inception,
    se_inception_resnet_v2,
    se_inception_v3,
    se_mobilenet,
    se_resnet18,
    se_resnet34,
    se_shufflenet,
    se_vgg16_bn,
)
from .resnet import (
    se_resnet50,
    se_resnet101,
    se_resnet152,
    se_resnext50_32x4d,
    se_resnext101_32x4d,
    senet154,
    sknet26,
    sknet50,
    sknet101,
    slim_resnet50,
)
from .timm_weights import from_timm

__all__ = [
    "CheckpointError", "DownloadError", "Model", "UnknownModel", "available_devices", "cache_folders", "catalog",
    "choose_device", "embedded_models", "fetch", "for_and_against", "from_timm", "load", "macs", "remote",
    "se_bn_inception", "se_inception_resnet_v2", "se_inception_v3", "se_mobilenet", "se_resnet18", "se_resnet34",
    "se_resnet50", "se_resnet101", "se_resnet152", "se_resnext50_32x4d", "se_resnext101_32x4d", "se_shufflenet",
    "se_vgg16_bn", "senet154", "sknet26", "sknet50", "sknet101", "slim_resnet50", "with_attention",
]
