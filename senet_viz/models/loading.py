"""Loading a network by name: embedded, from timm, from torchvision, or from a file."""
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torchvision
from PIL import Image
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset, resolve_model_data_config
from torch import nn

from ..data.places import ASSETS
from .checkpoints import Checkpoint, CheckpointError, first_line, read_checkpoint
from .devices import choose_device
from .download import NETWORK_ERRORS, UnknownModel, download_error, reachable_or_cached, remote
from .listing import published
from .matching import check_state, find, listed, load_state, not_finite
from .meta import on_meta
from .model import Model
from .networks import NETWORKS
from .pruned import without
from .resnet import slim_resnet50
from .timm_weights import TWINS, from_timm
from .variant import slim_resnet50_variant

DATA = {"in1k": "ImageNet-1k", "in12k": "ImageNet-12k", "in21k": "ImageNet-21k", "in22k": "ImageNet-22k"}  # timm's tags
METRICS = {"acc@1": "top-1", "acc@5": "top-5", "miou": "mean IoU", "pixel_acc": "pixels", "box_map": "box mAP",
           "mask_map": "mask mAP", "kp_map": "keypoint mAP"}  # of torchvision
MAX_SIDE = 2048  # pixels
TRANSFORM = {"input_size", "crop_pct", "crop_mode", "interpolation", "mean", "std"}  # of timm.data.create_transform
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {  # what a checkpoint's own metadata may name
    make.__name__: make for make in (slim_resnet50, slim_resnet50_variant)}


def embedded_models() -> list[str]:
    """Names of the models that come with the program, "demo/…"."""
    return sorted(f"demo/{path.stem}" for path in (ASSETS / "models").glob("*.safetensors"))


def load(name: str, *, arch: str | None = None, device: str = "auto", pretrained: bool = True,
         ignore_unexpected: bool = False) -> Model:
    """Load a network, its transform and its class names.

    Args:
        name: "demo/se_resnet50_slim" (embedded), "timm/seresnet50.ra2_in1k" (any timm name, ``local-dir:`` and
            ``hf-hub:`` among them), "torchvision/efficientnet_b0" (segmentations and detectors too), or
            "file:weights.safetensors" (also ``.pt``/``.pth`` files that hold nothing but tensors).
        arch: for a file without a description of its own: the architecture by its name, "timm/seresnet50".
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".
        pretrained: with False, random weights and no download.
        ignore_unexpected: for a file: leave out tensors that the architecture has no place for, those of another head
            for one. They are an error otherwise.

    Raises:
        UnknownModel: for a name that does not exist.
        DownloadError: when weights are neither in the cache nor to be had.
        CheckpointError: for a file that is no checkpoint, holds code, or does not fit the architecture.
        ValueError: for a device that this machine lacks.
    """
    target = choose_device(device)
    if name.startswith("file:"):
        model = _from_file(Path(name[5:]).expanduser(), arch, ignore_unexpected)
    else:
        source, _, rest = name.partition("/")
        if source not in SOURCES or not rest:
            raise UnknownModel(f"{name!r} names no model: names begin with {', '.join(f'{s}/' for s in SOURCES)} or "
                               f"file:.")
        model = SOURCES[source](rest, pretrained)
        model.name = name
    model.module.to(target)
    return model


def _demo(name: str, pretrained: bool, num_classes: int | None = None) -> Model:
    path = ASSETS / "models" / f"{name}.safetensors"
    if f"demo/{name}" not in embedded_models():
        raise UnknownModel(f"There is no embedded model {name!r}; there are: {', '.join(embedded_models()) or 'none'}.")
    checkpoint = read_checkpoint(path)
    model = _from_metadata(path, checkpoint, num_classes, random=not pretrained)
    if pretrained:
        load_state(model.module, checkpoint.state, path.name)
    return model


def _timm(name: str, pretrained: bool, num_classes: int | None = None) -> Model:
    place = remote(f"timm/{name}", weights=pretrained)
    if place is not None and place.repository:
        reachable_or_cached(f"timm/{name}", place)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    module: Any = _fetching(f"timm/{name}", lambda: timm.create_model(name, pretrained=pretrained, **options))
    config = module.pretrained_cfg
    info = {"Architecture": f"timm {config.get('architecture', name)}"}
    if pretrained:
        tag = str(config.get("tag") or name)
        # in a folder or a repository of one's own the tag may be that of the network it was tuned from
        full = f"timm/{config['architecture']}.{tag}" if timm.is_model(name) else ""
        data = [title for token, title in DATA.items() if token in tag.split("_")]
        info |= {"Weights": tag, "Data": ", ".join(data) or "not stated",
                 "Accuracy": published(full) or "not published with the weights",
                 "Licence": str(config.get("license") or "not stated")}
    return Model(module, create_transform(**resolve_model_data_config(module), is_training=False),
                 config.get("label_names") or _imagenet_names(module.num_classes), info=_weights_info(info, pretrained))


def _torchvision(name: str, pretrained: bool, num_classes: int | None = None) -> Model:
    remote(f"torchvision/{name}")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if name not in torchvision.models.list_models(module=torchvision.models):  # dense: the backbone's come apart
        options["weights_backbone"] = None

    def create() -> nn.Module:
        if pretrained:  # torchvision unpickles whatever lies in the cache: see first that it is tensors, nothing else
            weights.get_state_dict(check_hash=True, weights_only=True)
        return torchvision.models.get_model(name, weights=weights if pretrained else None, **options)

    module = _fetching(f"torchvision/{name}", create)
    info = {"Architecture": f"torchvision {name}"}
    if pretrained:
        info |= {"Weights": weights.name}
        for data, score in weights.meta["_metrics"].items():  # of a segmentation or detection COCO
            said = ", ".join(f"{METRICS.get(key, key)} {value:.1f} %" for key, value in score.items())
            info |= {"Data": data, "Accuracy": f"{said} (as torchvision publishes)"}
    classes = weights.meta["categories"]
    if num_classes not in (None, len(classes)):
        classes = _numbered(num_classes)
    return Model(module, weights.transforms(), classes, info=_weights_info(info, pretrained))


def _paper(name: str, pretrained: bool, num_classes: int | None = None) -> Model:
    if name not in NETWORKS:
        raise UnknownModel(f"The papers have no network {name!r} here; there are: {', '.join(NETWORKS)}.")
    if name not in TWINS and pretrained:
        raise UnknownModel(f"paper/{name} has no public weights; with pretrained=False they are random.")
    classes = 1000 if num_classes is None else num_classes
    if name in TWINS:
        model, module = _timm(TWINS[name], pretrained, num_classes), NETWORKS[name](classes)
        if pretrained:
            load_state(module, from_timm(model.module.state_dict()), f"timm/{TWINS[name]}")
        model.module = module.eval()
    else:
        transform = create_transform(299 if name.startswith("se_inception") else 224)
        model = Model(NETWORKS[name](classes), transform, _imagenet_names(classes), info=_weights_info({}, pretrained))
    model.info["Architecture"] = f"senet_viz {name}"
    return model


SOURCES: dict[str, Callable[..., Model]] = {
    "demo": _demo, "paper": _paper, "timm": _timm, "torchvision": _torchvision,
}


def _from_file(path: Path, arch: str | None, ignore_unexpected: bool) -> Model:
    checkpoint = read_checkpoint(path)
    if arch:
        model = _of_architecture(arch, checkpoint, path.name, ignore_unexpected)
    elif "architecture" in checkpoint.metadata:
        model = _from_metadata(path, checkpoint, ignore_unexpected=ignore_unexpected)
    else:
        raise CheckpointError(f"{path.name} does not say which network it belongs to: give its architecture (arch), "
                              f"such as \"timm/seresnet50\".")
    place = find(checkpoint, model.module, path.name)
    left_out = load_state(model.module, checkpoint.states[place.entry], path.name, place.prefix, ignore_unexpected)
    if removed := checkpoint.metadata.get("removed"):
        model.info["Removed"] = ", ".join(change["name"] for change in removed)
        if "Accuracy" in model.info:
            model.info["Accuracy"] += f", before {len(removed)} attention block{'s' * (len(removed) > 1)} were removed"
    model.name = f"{path.name} ({_in_short(arch, checkpoint.metadata)})"
    model.info["Weights"] = path.name + (f", under {place}" if str(place) else "")
    if left_out:
        model.info["Left out"] = listed("tensor", left_out)
    if broken := not_finite(model.module):  # what comes before them can be looked at all the same
        model.info["NaN or infinite"] = listed("tensor", broken)
        warnings.warn(f"{path.name} holds NaN or infinite numbers in {listed('tensor', broken)}.", stacklevel=3)
    return model


def _in_short(arch: str | None, metadata: dict[str, Any]) -> str:
    """Which architecture a file's weights are of, to stand behind its name: "timm seresnet50"."""
    if arch:
        source, _, rest = arch.partition("/")
        return f"{source} {rest.partition('.')[0]}"  # the tag is that of other weights
    own = metadata["architecture"]
    return ", ".join(str(own[key]) for key in ("name", "attention") if key in own)


def _of_architecture(arch: str, checkpoint: Checkpoint, name: str, ignore_unexpected: bool) -> Model:
    """The named architecture with as many classes as the checkpoint's classifier has, and the class names it gives."""
    source, _, rest = arch.partition("/")
    if source not in SOURCES or not rest:
        raise UnknownModel(f"{arch!r} names no architecture: give one as timm/NAME or torchvision/NAME.")
    count = _classes_of(checkpoint, lambda **options: SOURCES[source](rest, False, **options), name)
    options = {} if count is None else {"num_classes": count}
    model = SOURCES[source](rest, False, **options)
    if removed := checkpoint.metadata.get("removed"):
        try:
            with on_meta():  # a description must not make us build more than the file holds
                small = without(SOURCES[source](rest, False, **options).module, removed)
            place = find(checkpoint, small, name)
            check_state(small, checkpoint.states[place.entry], name, place.prefix, ignore_unexpected)
            without(model.module, removed)
        except CheckpointError:
            raise
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{name} does not fit {arch}: {first_line(error)}.") from error
    if checkpoint.classes:
        if len(checkpoint.classes) != (count or len(model.classes)):
            raise CheckpointError(f"{name} names {len(checkpoint.classes)} classes, but its classifier has "
                                  f"{count or len(model.classes)}.")
        model.classes = checkpoint.classes
    return model


def _classes_of(checkpoint: Checkpoint, build: Callable[..., Model], name: str) -> int | None:
    """How many classes the classifier in a checkpoint has; None where it has none by the architecture's name for it.

    The classifier is what changes its shape with the number of classes: that holds for any architecture.
    """
    with on_meta():
        two, three = (build(num_classes=count).module for count in (2, 3))
    state = find(checkpoint, two, name).tensors(checkpoint)
    shapes = {key: value.shape for key, value in three.state_dict().items()}
    counts = set()
    for key, value in two.state_dict().items():
        if value.shape != shapes[key] and key in state and state[key].dim() == value.dim():
            dim = next(i for i, (a, b) in enumerate(zip(value.shape, shapes[key])) if a != b)
            if state[key].untyped_storage().nbytes() < state[key].numel() * state[key].element_size():
                raise CheckpointError(f"{name} holds less than it claims: {key} of shape {tuple(state[key].shape)}.")
            counts.add(state[key].shape[dim])
    if len(counts) > 1 or 0 in counts:
        raise CheckpointError(f"{name} has a classifier of {' and '.join(map(str, sorted(counts)))} classes.")
    return next(iter(counts), None)


def _from_metadata(path: Path, checkpoint: Checkpoint, num_classes: int | None = None, random: bool = False,
                   ignore_unexpected: bool = False) -> Model:
    """The network that a checkpoint written by ``python -m senet_viz train`` (or ``ablate``) describes.

    With ``random`` its weights are drawn; else they are what lies in memory, until the caller loads the checkpoint's.
    """
    metadata = checkpoint.metadata
    try:
        architecture = dict(metadata["architecture"])
        build = ARCHITECTURES[architecture.pop("name")]
        removed = metadata.get("removed", ())
        with on_meta():  # a description must not make us build more than the file holds
            module = without(build(**architecture), removed)
        check_state(module, checkpoint.state, path.name, ignore_unexpected=ignore_unexpected)
        if random:
            other = {} if num_classes is None else {"num_classes": num_classes}
            module = without(build(**architecture | other), removed)
        else:
            module.to_empty(device="cpu")
            for buffer in module.buffers():  # counters, which a checkpoint may lack
                buffer.zero_()
        if max(metadata["transform"]["input_size"]) > MAX_SIDE:
            raise CheckpointError(f"{path.name} asks for pictures of more than {MAX_SIDE} pixels.")
        if unknown := sorted(metadata["transform"].keys() - TRANSFORM):  # timm's would augment at random as well
            raise CheckpointError(f"{path.name} asks for a transform with {', '.join(unknown)}; known are "
                                  f"{', '.join(sorted(TRANSFORM))}.")
        transform = create_transform(**metadata["transform"])
        classes = metadata["classes"]
        size = metadata["transform"]["input_size"][-1]
        shape = tuple(transform(Image.new("RGB", (2 * size, size))).shape)
        if shape != tuple(metadata["transform"]["input_size"]):
            raise ValueError(f"its transform gives {shape}")
        if len(classes) != architecture["num_classes"] or not all(isinstance(name, str) for name in classes):
            raise ValueError(f"it names {len(classes)} classes of {architecture['num_classes']}")
        data, accuracy, recipe = metadata["data"], metadata["accuracy"], metadata["recipe"]
        info = {
            "Architecture": f"bottleneck units 3/4/6/3, widths {'/'.join(map(str, recipe['widths']))}",
            "Weights": f"{recipe['epochs']} epoch{'s' * (recipe['epochs'] != 1)}, {metadata['made']['date']}",
            "Data": f"{data['name']}, {data['training']:,} pictures, {len(classes)} classes, {size} px",
            "Accuracy": f"top-1 {accuracy['top1']:.1%}, top-5 {accuracy['top5']:.1%} on "
                        f"{accuracy['images']:,} validation pictures",
            "Note": f"{len(classes)} classes, {size} px",
        }
    except CheckpointError:
        raise
    except Exception as error:  # a foreign description fails wherever it likes, timm's assertions included
        raise CheckpointError(f"{path.name} describes no network that this program can build ({type(error).__name__}: "
                              f"{first_line(error)}).") from error
    return Model(module, transform, classes if num_classes in (None, len(classes)) else _numbered(num_classes),
                 info=info)


def _numbered(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


def _weights_info(info: dict[str, str], pretrained: bool) -> dict[str, str]:
    return info if pretrained else info | {"Weights": "random"}


def _imagenet_names(count: int) -> list[str]:
    """Names from what timm ships, by the number of classes; "class 0", … where that number is no ImageNet subset's."""
    subset = infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return _numbered(count)
    names = ImageNetInfo(subset)
    return [names.index_to_description(index) for index in range(count)]


def _fetching(name: str, create: Callable[[], nn.Module]) -> nn.Module:
    try:
        return create()
    except Exception as error:  # of the network, by whichever client; else a file damaged in one of many ways
        if isinstance(error, NETWORK_ERRORS) or type(error).__module__.startswith(("httpx", "requests")):
            raise download_error(name, error) from error
        raise CheckpointError(f"{name} could not be made ({first_line(error)}).") from error
