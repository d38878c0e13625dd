import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

from senet_viz.models import UnknownModel, embedded_models, fetch, fetching, remote
from tests import hub

ROOT = Path(__file__).resolve().parents[2]


def test_a_download_that_was_ended_leaves_nothing_that_passes_for_weights(tmp_path, monkeypatch):
    with hub.running(tmp_path) as running:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", running.environment["HF_HUB_CACHE"])
        process = subprocess.Popen([sys.executable, "-m", "senet_viz", "fetch", hub.NAME], cwd=ROOT, text=True,
                                   env=os.environ | running.environment, stderr=subprocess.PIPE)
        assert running.sent.wait(100)
        process.terminate()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130 and said.splitlines()[-1] == "senet_viz fetch: interrupted"
        assert running.ranges and remote(hub.NAME).cached is None


@pytest.mark.parametrize(("name", "repository", "url"), [
    ("demo/sknet50_slim", None, None), ("paper/se_vgg16_bn", None, None),
    ("timm/seresnet50.ra2_in1k", "timm/seresnet50.ra2_in1k", ""),
    ("timm/hf-hub:someone/tuned", "someone/tuned", ""),
    ("timm/legacy_senet154", "", "legacy_senet154-e9eb9fe6.pth"),
    ("paper/senet154", "", "legacy_senet154-e9eb9fe6.pth"),
    ("torchvision/efficientnet_b0", "", "efficientnet_b0_rwightman-7f5810bc.pth")])
def test_where_weights_come_from(name, repository, url):
    place = remote(name)
    assert place is None if repository is None else (place.repository, Path(place.url).name) == (repository, url)


@pytest.mark.parametrize(("name", "message"), [
    *((name, "names no model whose weights are fetched: names begin with demo/, paper/, timm/, torchvision/.$")
      for name in ("foo/bar", "seresnet50", "timm/", "torchvision/", "demo/", "paper/", "file:x.pt", "")),
    *((f"timm/hf-hub:{name}", r" is no name of a repository of the Hugging Face hub\.$") for name in ("a b", "a/b/c")),
    ("demo/nope", "^There is no embedded model 'nope'; there are: demo/"),
    ("paper/se_resnet18", "^paper/se_resnet18 has no public weights; "), ("paper/nope", "has no public weights; ")])
def test_what_is_not_fetched(name, message):
    with pytest.raises(UnknownModel, match=message):
        fetch(name)


def test_a_name_that_is_told_as_unknown_when_it_is_fetched(monkeypatch):
    def unknown(*_):
        raise UnknownModel("There is none.")

    monkeypatch.setattr(fetching, "reachable_or_cached", unknown)
    with pytest.raises(UnknownModel, match=r"^There is none\.$"):
        fetch("timm/hf-hub:someone/tuned")


def test_what_is_here_without(tmp_path):
    for name in (*embedded_models(), f"timm/local-dir:{tmp_path}"):
        assert fetch(name) is None
