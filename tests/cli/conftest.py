import pytest
import torch

from senet_viz.models import slim_resnet50
from senet_viz.models.checkpoints import save_checkpoint
from tests.cli.checks import picture


@pytest.fixture(autouse=True)
def no_limit(monkeypatch, one_thread):
    """Of the width of tables, wherever the tests run."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def folder(tmp_path):
    for i, (split, name) in enumerate([(s, n) for s in ("train", "val") for n in ("cat", "dog")] * 3):
        path = tmp_path / "pictures" / split / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return tmp_path / "pictures"


@pytest.fixture
def file(tmp_path):
    """A checkpoint of three classes, described as `train` does."""
    torch.manual_seed(0)
    options = {"attention": "se", "num_classes": 3, "widths": [4, 4, 8, 8], "min_width": 2}
    metadata = {
        "architecture": {"name": "slim_resnet50", **options}, "classes": ["red", "green", "blue"],
        "transform": {"input_size": [3, 64, 64], "crop_pct": 1.0},
        "recipe": {"widths": [4, 4, 8, 8], "epochs": 12}, "made": {"date": "2024-02-29"},
        "data": {"name": "colours", "training": 123, "validation": 45, "note": ""},
        "accuracy": {"top1": 0.5, "top5": 1.0, "images": 45}}
    save_checkpoint(tmp_path / "tiny.safetensors", slim_resnet50(**options).state_dict(), metadata)
    return f"file:{tmp_path / 'tiny.safetensors'}"


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b, with a comma.png"]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed, 90))
    return paths


@pytest.fixture
def named(folder):
    """Validation pictures of classes that the network of ``file`` knows."""
    for name, new in (("cat", "red"), ("dog", "blue")):
        (folder / "val" / name).rename(folder / "val" / new)
    return folder / "val"


@pytest.fixture
def selective(tmp_path):
    """A checkpoint that chooses between kernels."""
    torch.manual_seed(0)
    options = {"attention": "sk", "num_classes": 3, "widths": [4, 4, 8, 8], "min_width": 2}
    metadata = {
        "architecture": {"name": "slim_resnet50", **options}, "classes": ["red", "green", "blue"],
        "transform": {"input_size": [3, 32, 32], "crop_pct": 1.0},
        "recipe": {"widths": [4, 4, 8, 8], "epochs": 1}, "made": {"date": ""},
        "data": {"name": "colours", "training": 1, "note": ""}, "accuracy": {"top1": 0.5, "top5": 1.0, "images": 45}}
    save_checkpoint(tmp_path / "selective.safetensors", slim_resnet50(**options).state_dict(), metadata)
    return f"file:{tmp_path / 'selective.safetensors'}"
