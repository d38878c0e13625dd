import argparse
import http.client
import importlib
import json
import math
import pickle
import socket
from pathlib import Path
from urllib.error import URLError

import huggingface_hub
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from PIL import Image
from timm.data import create_transform
from torch import nn

import senet_viz as sv
from senet_viz.data.datasets import open_pictures
from senet_viz.models import (
    CheckpointError,
    DownloadError,
    UnknownModel,
    cache_folders,
    embedded_models,
    load,
    slim_resnet50,
)
from senet_viz.models.checkpoints import read_metadata, save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
loading = importlib.import_module("senet_viz.models.loading")  # the package's own "load" is the function
SLIM = {"attention": "se", "num_classes": 3, "widths": [4, 4, 8, 8], "strides": [1, 2, 2, 1], "reduction": 4,
        "min_width": 2}
TRANSFORM = {"input_size": [3, 32, 32], "crop_pct": 1.0, "interpolation": "bicubic", "mean": [0.5, 0.4, 0.3],
             "std": [0.2, 0.3, 0.4]}
METADATA = {
    "architecture": {"name": "slim_resnet50", **SLIM}, "transform": TRANSFORM, "classes": ["red", "green", "blue"],
    "recipe": {"widths": [4, 4, 8, 8], "epochs": 12},
    "data": {"name": "colours", "training": 12_345, "validation": 678, "note": ""},
    "accuracy": {"top1": 0.6543, "top5": 1.0, "images": 678}, "made": {"date": "2024-02-29"},
}
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


class Code:
    """Pickles as a call: whoever unpickles it creates the file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Cache folders of this test alone, and no network, whether the machine has one or not."""
    def no_network(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    return tmp_path / "hub", tmp_path / "torch" / "checkpoints"


@pytest.fixture
def slim():
    torch.manual_seed(3)
    return slim_resnet50(**SLIM).eval()


@pytest.fixture
def assets(tmp_path, monkeypatch, slim):
    """An assets folder with one small embedded model."""
    monkeypatch.setattr(loading, "ASSETS", tmp_path / "assets")
    save_checkpoint(tmp_path / "assets" / "models" / "tiny.safetensors", slim.state_dict(), METADATA)
    return tmp_path / "assets"


def refuse(error, name, message, **options):
    with pytest.raises(error, match=message) as caught:
        load(name, device="cpu", **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def check_described(model, slim):
    """The model is the network and the transform that METADATA describes."""
    assert model.classes == ["red", "green", "blue"]
    batch = model.batch([PHOTO])
    assert torch.equal(batch[0], create_transform(**TRANSFORM)(PHOTO))
    assert batch.shape == (1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model.module(batch), slim(batch))
    assert not model.module.training


# embedded models

def test_demo(assets, slim):
    assert embedded_models() == ["demo/tiny"]
    model = sv.load("demo/tiny", device="cpu")
    check_described(model, slim)
    assert model.name == "demo/tiny"
    assert model.info["Data"] == "colours, 12,345 pictures, 3 classes, 32 px"
    assert model.info["Accuracy"] == "top-1 65.4%, top-5 100.0% on 678 validation pictures"
    assert model.info["Note"] == "3 classes, 32 px"
    assert [block.label for block in model.blocks][:3] == ["SE_2_1", "SE_2_2", "SE_2_3"]


def test_demo_without_its_weights(assets, slim):
    model = load("demo/tiny", device="cpu", pretrained=False)
    assert not torch.equal(model.module.fc.weight, slim.fc.weight)
    assert model.module.fc.weight.shape == slim.fc.weight.shape


def test_demo_unknown(assets):
    refuse(UnknownModel, "demo/other", "no embedded model 'other'; there are: demo/tiny.")
    (assets / "models" / "tiny.safetensors").rename(assets / "outside.safetensors")
    refuse(UnknownModel, "demo/../outside", "no embedded model '../outside'; there are: none.")


@pytest.mark.parametrize("name", ["", "seresnet50", "demo", "demo/", "hub/seresnet50", "/timm/seresnet50", "timm"])
def test_no_source(name):
    assert repr(name) in refuse(UnknownModel, name, r"names begin with demo/, .*timm/, torchvision/ or file:")


# timm

def test_timm_unknown():
    assert "seresnet50" in refuse(UnknownModel, "timm/seresnt50", "timm has no model 'seresnt50'; near to it are ")
    refuse(UnknownModel, "timm/seresnet50.nonsense", "timm has no pretrained weights 'seresnet50.nonsense'")
    refuse(UnknownModel, "timm/skresnet50", "architecture 'skresnet50' but no pretrained weights")
    refuse(UnknownModel, "timm/local-dir:/no/such/folder", "There is no folder /no/such/folder")
    refuse(UnknownModel, "timm/hf-hub:no repository", "'no repository' is no name of a repository")


def test_timm_without_weights():
    model = load("timm/skresnet18", device="cpu", pretrained=False)
    assert model.name == "timm/skresnet18"
    assert model.info == {"Architecture": "timm skresnet18", "Weights": "random"}
    assert (len(model.classes), model.classes[254]) == (1000, "pug, pug-dog")
    assert model.batch([PHOTO]).shape == (1, 3, 224, 224)
    assert not model.module.training


def save_local(folder: Path, module: torch.nn.Module, labels: list[str] | None = None) -> Path:
    """What timm's save_for_hf writes: config.json and the weights."""
    folder.mkdir(parents=True)
    timm.models.save_for_hf(module, folder, model_config={"label_names": labels} if labels else None,
                            safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def tuned():
    """A network fine-tuned to three classes."""
    torch.manual_seed(4)
    return timm.create_model("legacy_seresnet18", num_classes=3).eval()


def test_timm_local_folder(tmp_path, tuned):
    folder = save_local(tmp_path / "tuned", tuned, ["cat", "dog", "pug"])
    model = load(f"timm/local-dir:{folder}", device="cpu")
    assert model.classes == ["cat", "dog", "pug"]
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.module(x), tuned(x))


def test_timm_local_folder_without_names(tmp_path, tuned):
    folder = save_local(tmp_path / "tuned", tuned)
    assert load(f"timm/local-dir:{folder}", device="cpu").classes == ["class 0", "class 1", "class 2"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_timm_local_folder_damaged(tmp_path, tuned):
    folder = save_local(tmp_path / "tuned", tuned)
    name = f"timm/local-dir:{folder}"
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole = json.loads(config.read_text())
    for content in (b"", b"text", weights.read_bytes()[:1000]):
        weights.write_bytes(content)
        refuse(CheckpointError, name, "could not be made")
    safetensors.torch.save_file({"a": torch.ones(1)}, weights)
    refuse(CheckpointError, name, "could not be made")
    weights.unlink()
    mark = tmp_path / "it ran"
    for content in (b"", b"text", pickle.dumps(Code(mark))):
        (folder / "pytorch_model.bin").write_bytes(content)
        refuse(CheckpointError, name, "could not be made")
    assert not mark.exists()
    (folder / "pytorch_model.bin").unlink()
    refuse(CheckpointError, name, "could not be made")
    for content in ("", "{}", "[]", "{", json.dumps(whole | {"architecture": "nonsense"})):
        config.write_text(content)
        refuse(CheckpointError, name, "could not be made")
    config.unlink()
    refuse(CheckpointError, name, "could not be made")


def cache_hub(folder: Path, repository: str, state: dict) -> None:
    """What the hub's client leaves behind after a download."""
    commit = "0" * 40
    kept = folder / f"models--{repository.replace('/', '--')}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    (kept / "snapshots" / commit).mkdir(parents=True)
    safetensors.torch.save_file(state, kept / "snapshots" / commit / "model.safetensors")


def test_timm_from_the_hubs_cache(caches):
    theirs = timm.create_model("skresnet18").eval()
    cache_hub(caches[0], timm.get_pretrained_cfg("skresnet18.ra_in1k").hf_hub_id, theirs.state_dict())
    model = load("timm/skresnet18.ra_in1k", device="cpu")
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.module(x), theirs(x))
    assert model.info["Weights"] == "ra_in1k"
    assert model.info["Licence"] == "apache-2.0"
    assert model.info["Data"] == "ImageNet-1k"


def test_timm_by_the_hubs_name(caches, tuned):
    """A fine-tuned network of the hub, from its cache, without a network."""
    cache_hub(caches[0], "someone/tuned", tuned.state_dict())
    snapshot = next((caches[0] / "models--someone--tuned" / "snapshots").iterdir())
    folder = save_local(caches[0].parent / "saved", tuned, ["cat", "dog", "pug"])
    (snapshot / "config.json").write_text((folder / "config.json").read_text())
    model = load("timm/hf-hub:someone/tuned", device="cpu")
    assert model.classes == ["cat", "dog", "pug"]
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.module(x), tuned(x))


def test_timm_says_the_published_accuracy(caches):
    module = timm.create_model("mobilenetv3_small_050")
    cache_hub(caches[0], timm.get_pretrained_cfg("mobilenetv3_small_050.lamb_in1k").hf_hub_id, module.state_dict())
    model = load("timm/mobilenetv3_small_050.lamb_in1k", device="cpu")
    # timm's results-imagenet.csv
    assert model.info["Accuracy"] == "top-1 57.9 % at 224 px (as timm publishes)"
    assert load("timm/mobilenetv3_small_050", device="cpu").info["Accuracy"] == model.info["Accuracy"]


def test_timm_from_torchs_cache(caches):
    # some of timm's weights are no repository of the hub
    theirs = timm.create_model("legacy_seresnet18").eval()
    caches[1].mkdir(parents=True)
    torch.save(theirs.state_dict(), caches[1] / Path(timm.get_pretrained_cfg("legacy_seresnet18").url).name)
    model = load("timm/legacy_seresnet18.in1k", device="cpu")
    assert torch.equal(model.module.last_linear.weight, theirs.last_linear.weight)


# torchvision

NAME = "squeezenet1_1"
FILE = Path(torchvision.models.get_model_weights(NAME).DEFAULT.url).name


def test_torchvision_from_its_cache(caches):
    theirs = torchvision.models.squeezenet1_1().eval()
    caches[1].mkdir(parents=True)
    torch.save(theirs.state_dict(), caches[1] / FILE)
    model = load(f"torchvision/{NAME}", device="cpu")
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.module(x), theirs(x))
    assert (len(model.classes), model.classes[254]) == (1000, "pug")
    assert model.info["Weights"] == "IMAGENET1K_V1"
    assert model.info["Accuracy"].startswith("top-1 58.2 %")
    assert model.batch([PHOTO]).shape == (1, 3, 224, 224)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_torchvisions_cache_is_not_trusted(caches, tmp_path):
    caches[1].mkdir(parents=True)
    mark = tmp_path / "it ran"
    torch.save({"state_dict": Code(mark)}, caches[1] / FILE)
    refuse(CheckpointError, f"torchvision/{NAME}", "could not be made")
    assert not mark.exists()
    for content in (b"", b"text"):
        (caches[1] / FILE).write_bytes(content)
        refuse(CheckpointError, f"torchvision/{NAME}", "could not be made")
    torch.save(torchvision.models.squeezenet1_1(num_classes=5).state_dict(), caches[1] / FILE)
    refuse(CheckpointError, f"torchvision/{NAME}", "could not be made")


def test_torchvision_unknown_and_random():
    assert "resnet50" in refuse(UnknownModel, "torchvision/resnt50", "or detection model 'resnt50'; near to it")
    refuse(UnknownModel, "torchvision/raft_large", "no classification, segmentation or detection model")
    model = load(f"torchvision/{NAME}", device="cpu", pretrained=False)
    assert model.info == {"Architecture": "torchvision squeezenet1_1", "Weights": "random"}


@pytest.mark.parametrize(("name", "classes", "task"), [
    ("lraspp_mobilenet_v3_large", 21, "segmentation"), ("ssdlite320_mobilenet_v3_large", 91, "other")])
def test_torchvisions_other_tasks(name, classes, task, monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)  # nothing is fetched, no backbone's weights either
    model = load(f"torchvision/{name}", device="cpu", pretrained=False)
    assert len(model.classes) == classes
    assert model.answer.task == task
    assert len(model.blocks) in (8, 9)
    assert model.batch([sv.Model.noise()]).shape[:2] == (1, 3)


def test_a_segmentation_of_ones_own_file(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.get_model("lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=4).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    model = load(f"file:{tmp_path / 'w.pt'}", arch="torchvision/lraspp_mobilenet_v3_large", device="cpu")
    assert model.classes == [f"class {i}" for i in range(4)]
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(model.module(x)["out"], theirs(x)["out"])


# downloads that fail

def check_download_error(name: str) -> None:
    message = refuse(DownloadError, name, "could not be downloaded")
    assert f"The weights of {name} " in message
    assert all(str(folder) in message for folder in cache_folders())


def test_cache_folders(caches):
    assert cache_folders() == [*caches]


@pytest.mark.parametrize("name", [
    "timm/seresnet50.ra2_in1k", "timm/skresnet18", "timm/legacy_seresnet18.in1k", "timm/hf-hub:timm/skresnet18.ra_in1k",
    "torchvision/squeezenet1_1"])
def test_no_network(name, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    check_download_error(name)
    assert sum(slept) < 5  # no long row of retries before the answer


@pytest.mark.parametrize("error", [
    URLError("unreachable"), http.client.IncompleteRead(b""), ConnectionResetError("reset"), TimeoutError(),
    huggingface_hub.errors.LocalEntryNotFoundError("neither here\nnor there"),
    type("ReadTimeout", (Exception,), {"__module__": "httpx"})("slow")], ids=lambda error: type(error).__name__)
def test_network_lost_on_the_way(monkeypatch, error):
    def create(*_, **__):
        raise error

    monkeypatch.setattr(loading, "reachable_or_cached", lambda *_: None)
    monkeypatch.setattr(timm, "create_model", create)
    check_download_error("timm/skresnet18")


def test_embedded_models_need_no_network(assets):
    check_download_error("timm/skresnet18")
    assert load("demo/tiny", device="cpu").classes == ["red", "green", "blue"]


# files

def test_counters_that_a_file_lacks_are_zero(tmp_path, slim):
    state = {key: value for key, value in slim.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_checkpoint(tmp_path / "w.safetensors", state, METADATA)
    model = load(f"file:{tmp_path / 'w.safetensors'}", device="cpu")
    check_described(model, slim)
    found = model.module.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    assert not any(found[key].any() for key in found.keys() - state.keys())


def test_file_that_describes_itself(tmp_path, slim):
    save_checkpoint(tmp_path / "w.safetensors", slim.state_dict(), METADATA)
    model = load(f"file:{tmp_path / 'w.safetensors'}", device="cpu")
    check_described(model, slim)
    assert model.name == f"w.safetensors (slim_resnet50, {METADATA['architecture']['attention']})"


def test_file_in_half_precision(tmp_path, slim):
    save_checkpoint(tmp_path / "w.safetensors", {k: v.half() for k, v in slim.state_dict().items()}, METADATA)
    model = load(f"file:{tmp_path / 'w.safetensors'}", device="cpu")
    assert all(p.dtype == torch.float32 for p in model.module.parameters())
    assert torch.equal(model.module.fc.weight, slim.fc.weight.half().float())


@pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors"])
def test_file_with_arch(tmp_path, suffix):
    theirs = torchvision.models.squeezenet1_1().eval()
    path = tmp_path / f"w.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(theirs.state_dict(), path)
    else:
        torch.save({"state_dict": theirs.state_dict()}, path)
    model = load(f"file:{path}", arch="torchvision/squeezenet1_1", device="cpu")
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.module(x), theirs(x))
    assert model.name == f"{path.name} (torchvision squeezenet1_1)"
    assert model.info["Weights"] == path.name + (", under state_dict" if suffix != "safetensors" else "")


@pytest.mark.parametrize("arch", ["timm/legacy_seresnet18", "timm/mobilenetv3_small_050", "torchvision/squeezenet1_1",
                                  "torchvision/mobilenet_v3_small", "torchvision/regnet_y_400mf",
                                  "torchvision/mnasnet0_5"])
def test_file_with_another_number_of_classes(tmp_path, arch):
    """A Linear or a convolution, under any name, as the architecture has it; wrapped as training scripts do.

    RegNets work with tensors' values while they are built, and MNASNets load no weights without a version.
    """
    source, _, name = arch.partition("/")
    torch.manual_seed(5)
    make = timm.create_model if source == "timm" else torchvision.models.get_model
    theirs = make(name, num_classes=7).eval()
    wrapped = nn.DataParallel(theirs)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    torch.save({"epoch": 3, "arch": name, "state_dict": wrapped.state_dict(), "optimizer": optimizer.state_dict()},
               tmp_path / "w.pth")
    model = load(f"file:{tmp_path / 'w.pth'}", arch=arch, device="cpu")
    assert model.classes == [f"class {i}" for i in range(7)]
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.module(x), theirs(x))


@pytest.mark.parametrize("names", [{"classes": ["a", "b", "c"]}, {"class_names": ["a", "b", "c"]},
                                   {"class_to_idx": {"b": 1, "c": 2, "a": 0}}])
def test_class_names_beside_the_weights(tmp_path, tuned, names):
    torch.save({"state_dict": tuned.state_dict(), **names}, tmp_path / "w.pt")
    assert load(f"file:{tmp_path / 'w.pt'}", arch="timm/legacy_seresnet18", device="cpu").classes == ["a", "b", "c"]
    save_checkpoint(tmp_path / "w.safetensors", tuned.state_dict(), names)
    model = load(f"file:{tmp_path / 'w.safetensors'}", arch="timm/legacy_seresnet18", device="cpu")
    assert model.classes == ["a", "b", "c"]


def test_averaged_weights_are_taken_and_said(tmp_path, tuned):
    averaged = {key: value + 1 for key, value in tuned.state_dict().items()}
    swa = torch.optim.swa_utils.AveragedModel(tuned)
    for entry, content in (("state_dict_ema", averaged), ("model_ema", {f"module.{k}": v for k, v in averaged.items()}),
                           ("ema.module", averaged), ("ema.shadow", averaged), ("model_ema.module", averaged)):
        first, _, second = entry.partition(".")
        nested = {second: content, "decay": 0.999} if second else content
        torch.save({"state_dict": tuned.state_dict(), first: nested, "args": argparse.Namespace(lr=0.1)},
                   tmp_path / "w.pt")
        model = load(f"file:{tmp_path / 'w.pt'}", arch="timm/legacy_seresnet18", device="cpu")
        assert torch.equal(model.module.last_linear.bias, tuned.last_linear.bias + 1), entry
        assert model.info["Weights"] == f"w.pt, under {entry}{'.module' if entry == 'model_ema' else ''}"
    torch.save({"model": swa.state_dict()}, tmp_path / "w.pt")
    model = load(f"file:{tmp_path / 'w.pt'}", arch="timm/legacy_seresnet18", device="cpu")
    assert torch.equal(model.module.last_linear.bias, tuned.last_linear.bias)


@pytest.mark.parametrize("prefix", ["net.", "backbone.", "encoder.model."])
@pytest.mark.parametrize("entry", ["state_dict", "weights"])
def test_prefixes_and_entries_of_any_name(tmp_path, tuned, prefix, entry):
    """The number of classes is read from behind the prefix, too."""
    torch.save({entry: {prefix + key: value for key, value in tuned.state_dict().items()}, "best_acc": np.float64(0.7),
                "classes": ["a", "b", "c"]}, tmp_path / "w.pt")
    model = load(f"file:{tmp_path / 'w.pt'}", arch="timm/legacy_seresnet18", device="cpu")
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.module(x), tuned(x))
    assert model.classes == ["a", "b", "c"]
    assert model.info["Weights"] == f"w.pt, under {entry}.{prefix[:-1]}"


def test_other_heads_on_request(tmp_path, tuned):
    torch.save({f"backbone.{key}": value for key, value in tuned.state_dict().items()}
               | {"aux.weight": torch.ones(2), "backbone.last_linear2.bias": torch.ones(3)}, tmp_path / "w.pt")
    name, arch = f"file:{tmp_path / 'w.pt'}", "timm/legacy_seresnet18"
    refuse(CheckpointError, name, r"2 unexpected keys \(aux.weight, backbone.last_linear2.bias\), which ignore_unexpe",
           arch=arch)
    model = load(name, arch=arch, device="cpu", ignore_unexpected=True)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.module(x), tuned(x))
    assert model.info["Left out"] == "2 tensors (aux.weight, backbone.last_linear2.bias)"


def test_other_heads_of_a_pruned_network(tmp_path, tuned):
    removed = [{"name": "layer1.0.se_module", "by": "identity"}]
    state = {key: value for key, value in tuned.state_dict().items() if not key.startswith("layer1.0.se_module.")}
    save_checkpoint(tmp_path / "w.safetensors", state | {"aux": torch.ones(2)}, {"removed": removed})
    name, arch = f"file:{tmp_path / 'w.safetensors'}", "timm/legacy_seresnet18"
    refuse(CheckpointError, name, r"1 unexpected key \(aux\)", arch=arch)
    assert load(name, arch=arch, device="cpu", ignore_unexpected=True).info["Left out"] == "1 tensor (aux)"


def test_other_tensors_of_a_file_that_describes_itself(tmp_path, slim):
    save_checkpoint(tmp_path / "w.safetensors", slim.state_dict() | {"box_head": torch.ones(2)}, METADATA)
    name = f"file:{tmp_path / 'w.safetensors'}"
    refuse(CheckpointError, name, r"1 unexpected key \(box_head\), which ignore_unexpected=True")
    model = load(name, device="cpu", ignore_unexpected=True)
    assert model.info["Left out"] == "1 tensor (box_head)"
    assert torch.equal(model.module.fc.weight, slim.fc.weight)


def test_numbers_that_are_not_finite_are_named(tmp_path, tuned):
    """They are loaded all the same: gates before them can be looked at."""
    state = {key: value.clone() for key, value in tuned.state_dict().items()}
    state["layer4.1.conv2.weight"][0] = float("nan")
    state["layer3.0.bn1.running_var"][1] = float("inf")
    torch.save(state, tmp_path / "w.pt")
    what = r"2 tensors \(layer3.0.bn1.running_var, layer4.1.conv2.weight\)"
    with pytest.warns(UserWarning, match=rf"^w\.pt holds NaN or infinite numbers in {what}\.$") as caught:
        model = load(f"file:{tmp_path / 'w.pt'}", arch="timm/legacy_seresnet18", device="cpu")
    assert caught[0].filename == __file__
    assert model.info["NaN or infinite"] == what.replace("\\", "")
    gates = sv.inspect(model, model.batch([PHOTO])).gates
    assert gates["layer4.0.se_module"].isfinite().all() and gates["layer4.1.se_module"].isnan().all()


def test_nothing_of_a_file_is_ignored_silently(tmp_path, tuned):
    name, state = f"file:{tmp_path / 'w.pt'}", tuned.state_dict()

    def refused(message, state, **beside):
        torch.save({"state_dict": state, **beside}, tmp_path / "w.pt")
        refuse(CheckpointError, name, message, arch="timm/legacy_seresnet18")

    refused(r"does not fit SENet: 1 unexpected key \(criterion\.weight\)", state | {"criterion.weight": torch.ones(3)})
    refused(r"132 missing keys \(layer0\.bn1\.bias, .*, …\)", {"last_linear.weight": torch.ones(3, 512),
                                                            "last_linear.bias": torch.ones(3)})
    refused("last_linear.bias has shape|a classifier of 3 and 4 classes", state | {"last_linear.bias": torch.ones(4)})
    refused("a classifier of 0 classes", state | {"last_linear.weight": torch.ones(0, 512),
                                                  "last_linear.bias": torch.ones(0)})
    absurd = {"last_linear.weight": torch.ones(1).expand(10**9, 512), "last_linear.bias": torch.ones(1).expand(10**9)}
    refused("holds less than it claims", state | absurd)
    refused("has shape", state | {"last_linear.weight": torch.ones(3, 7)})
    refused("layer0.conv1.weight is of type torch.int8", state | {
        "layer0.conv1.weight": state["layer0.conv1.weight"].to(torch.int8)})
    refused("last_linear.bias is of type torch.complex64", state | {"last_linear.bias": torch.ones(3) * 1j})
    refused("no state_dict of dense tensors", state | {"last_linear.weight": torch.ones(3, 512).to_sparse()})
    refused("under state_dict.student and under state_dict.teacher, and nothing says which are meant", {
        "student": state, "teacher": state | {}})
    refused("names 2 classes, but its classifier has 3", state, classes=["cat", "dog"])


def test_file_in_the_home_folder(tmp_path, monkeypatch, slim):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_checkpoint(tmp_path / "w.safetensors", slim.state_dict(), METADATA)
    assert load("file:~/w.safetensors", device="cpu").name.startswith("w.safetensors (")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_file_refused(tmp_path, slim):
    path = tmp_path / "w.pt"
    refuse(CheckpointError, f"file:{path}", "There is no file")
    torch.save(slim.state_dict(), path)
    refuse(CheckpointError, f"file:{path}", "does not say which network")
    refuse(UnknownModel, f"file:{path}", "timm has no model 'nonsense'", arch="timm/nonsense")
    refuse(CheckpointError, f"file:{path}", "does not fit SqueezeNet", arch="torchvision/squeezenet1_1")
    mark = tmp_path / "it ran"
    torch.save(Code(mark), path)
    refuse(CheckpointError, f"file:{path}", "holds more than tensors", arch="torchvision/squeezenet1_1")
    assert not mark.exists()


@pytest.mark.parametrize("change", [
    {"architecture": {"name": "os.system"}}, {"architecture": {"name": "slim_resnet50", "command": "ls"}},
    {"architecture": {"name": "slim_resnet50_variant", "attention": "se", "options": {"squeeze": "median"}}},
    {"architecture": {"name": "slim_resnet50_variant", "attention": "sk", "options": {"branches": 10**9}}},
    {"architecture": {"name": "slim_resnet50_variant", "stages": [1]}},
    {"architecture": {}}, {"architecture": 3}, {"architecture": {"name": "slim_resnet50", "attention": "eca"}},
    {"transform": {"input_size": []}}, {"transform": None}, {"accuracy": {}}, {"made": None}, {"data": "x"},
    {"recipe": {"widths": 3, "epochs": 1}}])
def test_description_of_no_network(tmp_path, slim, change):
    save_checkpoint(tmp_path / "w.safetensors", slim.state_dict(), METADATA | change)
    refuse(CheckpointError, f"file:{tmp_path / 'w.safetensors'}", "w.safetensors describes no network")


@pytest.mark.parametrize("architecture", [
    {"name": "slim_resnet50", "attention": "é" * 5000}, {"name": "é" * 5000},
    {"name": "slim_resnet50", "widths": [2**70, 4, 8, 8]}])
def test_what_a_description_holds_is_not_told_at_length(tmp_path, slim, architecture):
    save_checkpoint(tmp_path / "w.safetensors", slim.state_dict(), METADATA | {"architecture": architecture})
    with pytest.raises(CheckpointError, match="describes no network") as refused:
        load(f"file:{tmp_path / 'w.safetensors'}", device="cpu")
    assert len(str(refused.value)) < 500 and "\n" not in str(refused.value)


@pytest.mark.parametrize(("change", "message"), [
    ({"transform": TRANSFORM | {"is_training": True}}, "asks for a transform with is_training; known are crop_mode"),
    ({"transform": TRANSFORM | {"auto_augment": "rand-m9"}}, "asks for a transform with auto_augment"),
    ({"transform": TRANSFORM | {"crop_pct": 1e-9}}, "describes no network"),
    ({"transform": TRANSFORM | {"mean": [0.5, 0.5]}}, "describes no network"),
    ({"classes": ["red", "green"]}, "describes no network"),
    ({"classes": ["red", "green", 3]}, "describes no network")])
def test_a_transform_or_classes_that_cannot_be(tmp_path, slim, change, message):
    """A transform that draws at random would give other numbers each time."""
    save_checkpoint(tmp_path / "w.safetensors", slim.state_dict(), METADATA | change)
    refuse(CheckpointError, f"file:{tmp_path / 'w.safetensors'}", message)


def test_description_larger_than_the_file(tmp_path, slim, monkeypatch):
    """Nothing is built, and no picture prepared, that the file's size does not vouch for."""
    path = tmp_path / "w.safetensors"
    large = METADATA["architecture"] | {"widths": [4, 4, 8, 2**20]}
    save_checkpoint(path, slim.state_dict(), METADATA | {"architecture": large})
    refuse(CheckpointError, f"file:{path}", "w.safetensors does not fit ResNet")  # 100 TB, had it been tried
    save_checkpoint(path, slim.state_dict(), METADATA | {"transform": TRANSFORM | {"input_size": [3, 10**5, 10**5]}})
    refuse(CheckpointError, f"file:{path}", "asks for pictures of more than 2048 pixels")


@pytest.mark.parametrize(("removed", "message"), [
    ([{"name": "layer1.0.se_module", "by": "scale", "channels": 3 * 10**8}], "1 missing key .layer1.0.se_module"),
    ([{"name": "layer1.0.se_module", "by": "scale", "channels": 10**30}], r"\(by a scale of 10+ channels\)"),
    ([{"name": "layer1.0.se_module", "by": "scale", "channels": 3e8}], r"\(by a scale of 300000000.0 channels\)"),
    ([{"name": "layer1.0.se_module", "by": "scale", "channels": -1}], r"\(by a scale of -1 channels\)"),
    ([{"name": "layer1.0", "by": "part", "path": "layer1"}], r"\('layer1' is none of its parts\)"),
    ([{"name": "layer1.0", "by": "part", "path": 5}], r"\(5 is none of its parts\)"),
    ([{"name": "layer1.0", "by": ["part"]}], "layer1.0 cannot be replaced in a SENet"),
    ([{"name": 5, "by": "identity"}], "{'name': 5, 'by': 'identity'} does not name a part"),
    (["layer1.0"], "'layer1.0' does not name a part"), (5, "does not fit timm/legacy_seresnet18: ")])
def test_parts_removed_that_are_not_in_the_file(tmp_path, tuned, monkeypatch, removed, message):
    path, built, create = tmp_path / "w.safetensors", [], nn.Parameter.__new__

    def count(cls, data=None, requires_grad=True):
        built.append(0 if data is None or data.is_meta else data.numel())
        return create(cls, data, requires_grad)

    monkeypatch.setattr(nn.Parameter, "__new__", count)
    save_checkpoint(path, tuned.state_dict(), {"removed": removed})
    refuse(CheckpointError, f"file:{path}", message, arch="timm/legacy_seresnet18")
    assert max(built) < 10**7


def test_weights_of_another_description(tmp_path, slim):
    save_checkpoint(tmp_path / "w.safetensors", slim_resnet50(**SLIM | {"num_classes": 4}).state_dict(), METADATA)
    refuse(CheckpointError, f"file:{tmp_path / 'w.safetensors'}", r"fc\.bias has shape \(4,\)")


# devices

def test_device(assets, monkeypatch):
    assert load("demo/tiny", device="cpu").device == torch.device("cpu")
    assert load("demo/tiny").device.type == sv.models.choose_device("auto").type
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="The device cuda:1 was asked for, but PyTorch finds no CUDA GPU"):
        load("demo/tiny", device="cuda:1")


# what is embedded

@pytest.mark.parametrize(("name", "kind"), [("se_resnet50_slim", "SE"), ("sknet50_slim", "SK")])
class TestEmbedded:
    @pytest.fixture
    def path(self, name):
        path = loading.ASSETS / "models" / f"{name}.safetensors"
        if not path.exists():
            pytest.skip(f"the embedded model {name} has not been trained yet")
        return path

    def test_card(self, path, name, kind):
        accuracy = read_metadata(path)["accuracy"]
        assert accuracy["top1"] >= 0.55
        text = path.with_suffix(".md").read_text()
        assert f"top-1 {accuracy['top1']:.1%}, top-5 {accuracy['top5']:.1%}" in text
        assert f"{accuracy['images']:,}" in text

    def test_blocks_of_the_papers(self, path, name, kind):
        model = load(f"demo/{name}", device="cpu")
        units = {2: 3, 3: 4, 4: 6, 5: 3}
        assert [block.label for block in model.blocks] == [
            f"{kind}_{stage}_{unit}" for stage in units for unit in range(1, units[stage] + 1)]
        assert {block.kind for block in model.blocks} == {kind}
        assert len(model.classes) == 100
        with torch.inference_mode():
            batch = model.batch([PHOTO])
            last = model.module.layer4(model.module.layer3(model.module.layer2(model.module.layer1(
                model.module.stem(batch)))))
        assert min(last.shape[-2:]) >= 4

    def test_accuracy(self, path, name, kind, data):
        accuracy = read_metadata(path)["accuracy"]
        model = load(f"demo/{name}", device="cpu")
        pictures = open_pictures(data / "data" / "tiny-imagenet-100", "val")
        assert model.classes == pictures.classes
        sample = np.random.default_rng(0).choice(len(pictures), 500, replace=False)
        hits = []
        for chunk in np.array_split(sample, 10):
            images, labels = zip(*(pictures[int(i)] for i in chunk))
            with torch.inference_mode():
                ranks = model.module(model.batch(images)).topk(5).indices
            hits.append(ranks == torch.tensor(labels)[:, None])
        hits = torch.cat(hits)
        for key, right in (("top1", hits[:, 0]), ("top5", hits.any(1))):
            p = accuracy[key]
            assert abs(right.float().mean() - p) <= 4 * math.sqrt(p * (1 - p) / len(right)), key


def test_size_of_the_embedded_models():
    files = [loading.ASSETS / "models" / f"{name}.safetensors" for name in ("se_resnet50_slim", "sknet50_slim")]
    if not all(file.exists() for file in files):
        pytest.skip("the embedded models have not been trained yet")
    assert sum(file.stat().st_size for file in files) <= 12e6
