"""Loading a network by name: embedded, from timm, from torchvision, or from a file."""
import difflib
import http.client
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import huggingface_hub
import timm
import torch
import torchvision
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset, resolve_model_data_config
from torch import nn

from .checkpoints import CheckpointError, check_state, first_line, load_state, read_metadata, read_state
from .devices import choose_device
from .model import Model
from .resnet import slim_resnet50

ASSETS = Path(__file__).resolve().parents[2] / "assets"
DATA = {"in1k": "ImageNet-1k", "in12k": "ImageNet-12k", "in21k": "ImageNet-21k", "in22k": "ImageNet-22k"}  # timm's tags
MAX_SIDE = 2048  # pixels
ARCHITECTURES = {"slim_resnet50": slim_resnet50}  # what a checkpoint's own metadata may name
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # a hub repository's
NETWORK_ERRORS = (
    URLError, http.client.HTTPException, ConnectionError, TimeoutError, huggingface_hub.errors.HfHubHTTPError,
    huggingface_hub.errors.LocalEntryNotFoundError, huggingface_hub.errors.OfflineModeIsEnabled,
)


class UnknownModel(ValueError):
    """A name that no source of models knows; the message is one sentence."""


class DownloadError(OSError):
    """Weights that could not be fetched; the message is one sentence naming the model and the cache folder."""


def embedded_models() -> list[str]:
    """Names of the models that come with the program, "demo/…"."""
    return sorted(f"demo/{path.stem}" for path in (ASSETS / "models").glob("*.safetensors"))


def load(name: str, *, arch: str | None = None, device: str = "auto", pretrained: bool = True) -> Model:
    """Load a network, its transform and its class names.

    Args:
        name: "demo/se_resnet50_slim" (embedded), "timm/seresnet50.ra2_in1k" (any timm name, ``local-dir:`` and
            ``hf-hub:`` among them), "torchvision/efficientnet_b0", or "file:weights.safetensors" (also ``.pt``/``.pth``
            files that hold nothing but tensors).
        arch: for a file without a description of its own: the architecture by its name, "timm/seresnet50".
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".
        pretrained: with False, random weights and no download.

    Raises:
        UnknownModel: for a name that does not exist.
        DownloadError: when weights are neither in the cache nor to be had.
        CheckpointError: for a file that is no checkpoint, holds code, or does not fit the architecture.
        ValueError: for a device that this machine lacks.
    """
    target = choose_device(device)
    if name.startswith("file:"):
        model = _from_file(Path(name[5:]).expanduser(), arch)
    else:
        source, _, rest = name.partition("/")
        if source not in SOURCES or not rest:
            raise UnknownModel(f"{name!r} names no model: names begin with {', '.join(f'{s}/' for s in SOURCES)} or "
                               f"file:.")
        model = SOURCES[source](rest, pretrained)
        model.name = name
    model.module.to(target)
    return model


def _demo(name: str, pretrained: bool) -> Model:
    path = ASSETS / "models" / f"{name}.safetensors"
    if f"demo/{name}" not in embedded_models():
        raise UnknownModel(f"There is no embedded model {name!r}; there are: {', '.join(embedded_models()) or 'none'}.")
    state = read_state(path)
    model = _from_metadata(path, read_metadata(path), state)
    if pretrained:
        load_state(model.module, state, path.name)
    return model


def _timm(name: str, pretrained: bool) -> Model:
    if name.startswith("local-dir:"):
        if not Path(name[10:]).is_dir():
            raise UnknownModel(f"There is no folder {name[10:]}.")
    elif name.startswith(("hf-hub:", "hf_hub:")):
        repository, _, revision = name[7:].partition("@")
        _reachable_or_cached(f"timm/{name}", repository, revision or None, WEIGHTS if pretrained else ("config.json",))
    elif not timm.is_model(name):
        close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=3)
        raise UnknownModel(f"timm has no model {name!r}{'; near to it are ' + ', '.join(close) if close else ''}.")
    else:
        try:
            config = timm.get_pretrained_cfg(name)
        except (RuntimeError, KeyError) as error:
            raise UnknownModel(f"timm has no pretrained weights {name!r} ({error}).") from error
        if pretrained and (config is None or not config.has_weights):
            raise UnknownModel(f"timm has the architecture {name!r} but no pretrained weights for it.")
        if pretrained and config.hf_hub_id:
            _reachable_or_cached(f"timm/{name}", config.hf_hub_id)
    module = _fetching(f"timm/{name}", lambda: timm.create_model(name, pretrained=pretrained))
    config = module.pretrained_cfg
    info = {"Architecture": f"timm {config.get('architecture', name)}"}
    if pretrained:
        tag = str(config.get("tag") or name)
        data = [title for token, title in DATA.items() if token in tag.split("_")]
        info |= {"Weights": tag, "Data": ", ".join(data) or "not stated", "Accuracy": "not published with the weights",
                 "Licence": str(config.get("license") or "not stated")}
    return Model(module, create_transform(**resolve_model_data_config(module), is_training=False),
                 config.get("label_names") or _imagenet_names(module), info=_weights_info(info, pretrained))


def _torchvision(name: str, pretrained: bool) -> Model:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        raise UnknownModel(f"torchvision has no classification model {name!r}"
                           f"{'; near to it are ' + ', '.join(close) if close else ''}.")
    weights = torchvision.models.get_model_weights(name).DEFAULT

    def create() -> nn.Module:
        if pretrained:  # torchvision unpickles whatever lies in the cache: see first that it is tensors, nothing else
            weights.get_state_dict(check_hash=True, weights_only=True)
        return torchvision.models.get_model(name, weights=weights if pretrained else None)

    module = _fetching(f"torchvision/{name}", create)
    info = {"Architecture": f"torchvision {name}"}
    if pretrained:
        score = weights.meta["_metrics"].get("ImageNet-1K", {})
        info |= {"Weights": weights.name, "Data": "ImageNet-1K"}
        if score:
            info["Accuracy"] = f"top-1 {score['acc@1']:.1f} %, top-5 {score['acc@5']:.1f} % (as torchvision publishes)"
    return Model(module, weights.transforms(), weights.meta["categories"], info=_weights_info(info, pretrained))


SOURCES: dict[str, Callable[[str, bool], Model]] = {"demo": _demo, "timm": _timm, "torchvision": _torchvision}


def _from_file(path: Path, arch: str | None) -> Model:
    state = read_state(path)
    metadata = read_metadata(path) if path.suffix == ".safetensors" else {}
    if arch:
        model = load(arch, device="cpu", pretrained=False)
    elif "architecture" in metadata:
        model = _from_metadata(path, metadata, state)
    else:
        raise CheckpointError(f"{path.name} does not say which network it belongs to: give arch, such as "
                              f"\"timm/seresnet50\".")
    load_state(model.module, state, path.name)
    model.name = path.name
    model.info["Weights"] = path.name
    return model


def _from_metadata(path: Path, metadata: dict, state: dict[str, torch.Tensor]) -> Model:
    """The network that a checkpoint written by ``python -m senet_viz train`` describes."""
    try:
        architecture = dict(metadata["architecture"])
        build = ARCHITECTURES[architecture.pop("name")]
        with torch.device("meta"):  # a description must not make us build more than the file holds
            check_state(build(**architecture), state, path.name)
        module = build(**architecture)
        if max(metadata["transform"]["input_size"]) > MAX_SIDE:
            raise CheckpointError(f"{path.name} asks for pictures of more than {MAX_SIDE} pixels.")
        transform = create_transform(**metadata["transform"])
        classes = metadata["classes"]
        size = metadata["transform"]["input_size"][-1]
        data, accuracy, recipe = metadata["data"], metadata["accuracy"], metadata["recipe"]
        info = {
            "Architecture": f"bottleneck units 3/4/6/3, widths {'/'.join(map(str, recipe['widths']))}",
            "Weights": f"{recipe['epochs']} epochs, {metadata['made']['date']}",
            "Data": f"{data['name']}, {data['training']:,} pictures, {len(classes)} classes, {size} px",
            "Accuracy": f"top-1 {accuracy['top1']:.1%}, top-5 {accuracy['top5']:.1%} on "
                        f"{accuracy['images']:,} validation pictures",
            "Note": f"{len(classes)} classes, {size} px",
        }
    except CheckpointError:
        raise
    except Exception as error:  # a foreign description fails wherever it likes, timm's assertions included
        raise CheckpointError(f"{path.name} describes no network that this program can build ({error!r}).") from error
    return Model(module, transform, classes, info=info)


def _weights_info(info: dict[str, str], pretrained: bool) -> dict[str, str]:
    return info if pretrained else info | {"Weights": "random"}


def _imagenet_names(module: nn.Module) -> list[str]:
    """Names from what timm ships, by the number of classes; "class 0", … where that number is no ImageNet subset's."""
    subset = infer_imagenet_subset(module)
    if subset is None:
        return [f"class {index}" for index in range(module.num_classes)]
    names = ImageNetInfo(subset)
    return [names.index_to_description(index) for index in range(module.num_classes)]


def _reachable_or_cached(
        name: str, repository: str, revision: str | None = None, files: tuple[str, ...] = WEIGHTS) -> None:
    """Ask once whether the hub answers: its client tries for half a minute before it says that there is no network."""
    try:
        if any(isinstance(huggingface_hub.try_to_load_from_cache(repository, file, revision=revision), str)
               for file in files):
            return
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except huggingface_hub.errors.HFValidationError as error:
        raise UnknownModel(f"{repository!r} is no name of a repository of the Hugging Face hub.") from error
    except Exception as error:  # whichever client it uses, any failure means the same
        raise _download_error(name, error) from error


def _fetching(name: str, create: Callable[[], nn.Module]) -> nn.Module:
    try:
        return create()
    except Exception as error:  # of the network, by whichever client; else a file damaged in one of many ways
        if isinstance(error, NETWORK_ERRORS) or type(error).__module__.startswith(("httpx", "requests")):
            raise _download_error(name, error) from error
        raise CheckpointError(f"{name} could not be made ({first_line(error)}).") from error


def _download_error(name: str, error: Exception) -> DownloadError:
    return DownloadError(f"The weights of {name} could not be downloaded and are not in the cache folders "
                         f"{' and '.join(map(str, cache_folders()))} ({first_line(error)}); the embedded models work "
                         f"without a network.")


def cache_folders() -> list[Path]:
    """Where downloaded weights are kept: the Hugging Face hub's folder and torch's."""
    return [Path(huggingface_hub.constants.HF_HUB_CACHE), Path(torch.hub.get_dir()) / "checkpoints"]
