import hashlib

import torch
import torchvision

from senet_viz.cli import main
from tests.cli.checks import refused, usage


def test_fetch(capsys, tmp_path, monkeypatch):
    source = tmp_path / "0.pth"
    torch.save({"a": torch.ones(1000)}, source)
    name = f"net-{hashlib.sha256(source.read_bytes()).hexdigest()[:8]}.pth"
    source.rename(tmp_path / name)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    monkeypatch.setattr(torchvision.models.MobileNet_V3_Small_Weights.IMAGENET1K_V1._value_, "url",
                        (tmp_path / name).as_uri(), raising=False)
    here = tmp_path / "torch" / "checkpoints" / name
    for _ in range(2):  # the second time it is there
        assert main(["fetch", "torchvision/mobilenet_v3_small", "demo/sknet50_slim"]) == 0
        assert capsys.readouterr().out.splitlines() == [str(here), "demo/sknet50_slim needs no download"]
    assert here.read_bytes() == (tmp_path / name).read_bytes()
    here.unlink()
    (tmp_path / name).write_bytes(b"something else")
    assert main(["fetch", "torchvision/mobilenet_v3_small"]) == 2
    assert "could not be downloaded" in capsys.readouterr().err.splitlines()[-1]  # below the progress bar
    assert list(here.parent.iterdir()) == []
    refused(capsys, ["fetch", "torchvision/no_such_net"], "torchvision has no classification, segmentation or")


def test_fetch_usage(capsys):
    usage(capsys, ["fetch"])
