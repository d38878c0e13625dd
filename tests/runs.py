"""Tiny networks with SE and SK blocks, and data sets of tens of pictures."""
import copy
import io
from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from senet_viz.collecting import Settings, collect
from senet_viz.data.datasets import Pictures
from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.models import Model
from senet_viz.models.resnet import ResNet
from senet_viz.statistics import Statistics

SIDE, CLASSES = 24, 5


@pytest.fixture(autouse=True, scope="module")
def small_maps(one_thread):
    """All pictures here are small."""


def make_batch(count: int, seed: int = 3) -> torch.Tensor:
    """Noise whose mean over space differs between pictures, as that of photos does: gates see nothing else."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, SIDE, SIDE, generator=generator) + torch.randn(count, 3, 1, 1, generator=generator)


@pytest.fixture
def batch() -> torch.Tensor:
    return make_batch(6, seed=4)


def make_module(attention: str) -> nn.Module:
    """A new network of four units with SE blocks, SK blocks (M = 2) or both; always the same weights."""
    return copy.deepcopy(_made(attention))  # a test that trains its network changes nobody else's


@cache
def _made(attention: str) -> nn.Module:
    """Random weights under which gates differ."""
    options = {}
    if "se" in attention:
        options["se"] = lambda channels: SqueezeExcite(channels, 4)
    if "sk" in attention:
        options["sk"] = lambda i, o, stride: SelectiveKernel(i, o, reduction=4, min_width=4, stride=stride)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        module = ResNet(stem, 8, (1, 1, 1, 1), (4, 4, 8, 8), strides=(1, 2, 2, 1), num_classes=CLASSES, **options)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5, generator=generator)
                part.momentum = 1.0
        module.train()(make_batch(32))
        for name, parameter in module.named_parameters():  # gates all over 0..1
            if "expand" in name or "select" in name:
                parameter.mul_(2 if "expand" in name else 1.5)
    return module.eval()


def small_module() -> nn.Module:
    """A stem, one SE block, one SK unit, a head: for tests of what is written, and when, whatever the network."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(OrderedDict(
            stem=nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            se=SqueezeExcite(4, 2), sk=SelectiveKernel(4, min_width=4, stride=2),
            pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(4, CLASSES))).eval()


def make_model(attention: str = "se+sk", module: nn.Module | None = None) -> Model:
    transform = transforms.Compose([transforms.Resize((SIDE, SIDE)), transforms.ToTensor(),
                                    transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))])
    return Model(module or make_module(attention), transform, [f"class {k}" for k in range(CLASSES)], name=attention)


@pytest.fixture(scope="session")
def network():
    """``network("se")``: a new ``Model`` of its own, always with the same weights."""
    return make_model


def picture(seed: int, label: int = 0) -> bytes:
    """Noise on a ground that depends on the label."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3)).astype(float) + (label * 37 % 90)
    pixels = np.kron(coarse, np.ones((5, 5, 1))) + rng.normal(0, 20, (30, 30, 3))
    return png(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def noise(labels: list[int], side: int = 30, classes: int | None = None) -> Pictures:
    """Pictures in memory."""
    rng = np.random.default_rng(7)
    content = [png(Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((side, side))) for _ in labels]
    names = [f"class {k}" for k in range(max(labels, default=-1) + 1 if classes is None else classes)]
    return Pictures(content.__getitem__, labels, names)


def class_folders(root: Path, count: int) -> Path:
    """Pictures of three classes by turns, a folder a class."""
    for i in range(count):
        path = root / f"class {i % 3}" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(i, i % 3))
    return root


LABELS = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, -1, 2, 2, 2, 2, -1, 4, 1, 0, 2, 4, -1, 2]  # none is of class 3


@pytest.fixture(scope="session")
def data_set(tmp_path_factory) -> Path:
    """Parquet: 23 pictures of four of five classes in unequal numbers, three without a label, boxes for most."""
    folder = tmp_path_factory.mktemp("data set")
    rng = np.random.default_rng(5)
    low = rng.integers(0, 14, (len(LABELS), 2)).astype(float)
    high = low + rng.integers(4, 15, low.shape)
    boxes = np.concatenate([low, high], 1)
    boxes[[3, 12]] = np.nan
    pq.write_table(pa.table({
        "image": [picture(i, label) for i, label in enumerate(LABELS)],
        "label": pa.array([None if label < 0 else label for label in LABELS], pa.int64()),
        "file": [f"picture {i}" for i in range(len(LABELS))],
        **{name: pa.array(column, from_pandas=True) for name, column in zip(("x0", "y0", "x1", "y1"), boxes.T)},
    }), folder / "val.parquet", row_group_size=6)
    names = "label,name\n" + "".join(f"{k},\"kind {k}, or so\"\n" for k in range(CLASSES))
    (folder / "classes.csv").write_text(names)
    return folder


@pytest.fixture(scope="session")
def settings():
    """``settings(zooms=(1, 2))``: small batches and shards, of which neither divides the other."""
    def make(**options) -> Settings:
        return Settings(**{"batch_size": 3, "shard_size": 7, **options})
    return make


@pytest.fixture(scope="session")
def run(data_set, settings):
    """``run(out, model, …)``: ``collect`` of the data set with the small settings, in this process."""
    def run_it(out: Path, model: Model | None = None, data=None, *, options: dict | None = None, **keywords
               ) -> Statistics:
        keywords = {"workers": 0, "progress": False, **keywords}
        return collect(model or make_model(), data_set if data is None else data, out, settings(**(options or {})),
                       **keywords)
    return run_it


def with_small_network(run):
    """``run`` with the network of ``small_module`` where none is given."""
    def run_it(out: Path, model: Model | None = None, data=None, **keywords) -> Statistics:
        return run(out, model or make_model("se+sk", small_module()), data, **keywords)
    return run_it


@pytest.fixture(scope="session")
def content():
    """``content(folder)``: path → bytes of everything below."""
    def read(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
                if path.is_file()}
    return read


@pytest.fixture(scope="session")
def full(run, tmp_path_factory) -> Statistics:
    """A whole run with every source and two zooms, that nobody interrupted."""
    return run(tmp_path_factory.mktemp("full") / "out", options={"zooms": (1, 1.5), "random_weights": 2})


@pytest.fixture(scope="session")
def compact(run, tmp_path_factory) -> Statistics:
    """The same run, compact."""
    return run(tmp_path_factory.mktemp("compact") / "out", compact=True,
               options={"zooms": (1, 1.5), "random_weights": 2})
