import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME")
SAY = """
import sys
from senet_viz.models.cache import Remote, cache_folders
print(*cache_folders(), Remote(url="https://example.org/net-01234567.pth").cached, "torch" in sys.modules, sep="\\n")
"""


@pytest.mark.parametrize(("environment", "hub", "checkpoints"), [
    ({}, "{home}/.cache/huggingface/hub", "{home}/.cache/torch/hub/checkpoints"),
    ({"HF_HOME": "{home}/a", "TORCH_HOME": "{home}/b"}, "{home}/a/hub", "{home}/b/hub/checkpoints"),
    ({"HF_HUB_CACHE": "{home}/c", "XDG_CACHE_HOME": "{home}/d"}, "{home}/c", "{home}/d/torch/hub/checkpoints"),
    ({"TORCH_HOME": "~/e"}, "{home}/.cache/huggingface/hub", "{home}/e/hub/checkpoints")])
def test_folders_before_torch_is_loaded_are_those_that_it_takes(tmp_path, monkeypatch, environment, hub, checkpoints):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    weights = Path(torch.hub.get_dir(), "checkpoints", "net-01234567.pth")
    assert str(weights.parent) == checkpoints.format(home=tmp_path)
    weights.parent.mkdir(parents=True)
    weights.touch()
    said = subprocess.run([sys.executable, "-c", SAY], cwd=ROOT, check=True, capture_output=True, text=True,
                          timeout=300, env=os.environ)
    assert said.stdout.split() == [hub.format(home=tmp_path), str(weights.parent), str(weights), "False"]
