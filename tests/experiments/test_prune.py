import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

import senet_viz as sv
from senet_viz.experiments.prune import latency, prune, save_pruned
from senet_viz.gates import EditError
from senet_viz.layers import SqueezeExcite
from senet_viz.models import CheckpointError, Model, slim_resnet50
from senet_viz.models.checkpoints import read_metadata, save_checkpoint
from senet_viz.models.pruned import Scale, without

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def source(tmp_path):
    """``source("se")``: the name of a checkpoint whose gates differ from picture to picture."""
    def make(attention: str) -> str:
        torch.manual_seed(0)
        options = {"attention": attention, "num_classes": 6, "widths": [4, 4, 8, 8], "min_width": 2}
        module = slim_resnet50(**options)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if "expand" in name or "select" in name:
                    parameter.mul_(6)
            module.train()(torch.randn(16, 3, 64, 64) + torch.randn(16, 3, 1, 1))
        save_checkpoint(tmp_path / f"{attention}.safetensors", module.state_dict(), {
            "architecture": {"name": "slim_resnet50", **options}, "classes": list("abcdef"),
            "transform": {"input_size": [3, 64, 64], "crop_pct": 1.0}, "recipe": {"widths": [4, 4, 8, 8], "epochs": 12},
            "made": {"date": "2024-02-29"}, "data": {"name": "colours", "training": 123, "note": ""},
            "accuracy": {"top1": 0.5, "top5": 1.0, "images": 45}})
        return f"file:{tmp_path / f'{attention}.safetensors'}"
    return make


def photos(count: int = 4) -> list[Image.Image]:
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(9, 0).repeat(9, 1)) for _ in range(count)]


@pytest.mark.parametrize(("attention", "blocks", "by", "kind"), [
    ("se", "SE_5_*", 1, "identity"), ("se", "stage 3, SE_4_2", 0.25, "scale"), ("se", "*", "1", "identity"),
    ("se", "SE_2_1", "mean", "scale"), ("sk", "SK_4_*", "5x5", "part"), ("sk", "*", "branch 0", "part")])
def test_answers_as_the_edited_network(source, tmp_path, attention, blocks, by, kind):
    name = source(attention)
    model = sv.load(name, device="cpu")
    if by == "mean":
        by = {block.name: np.linspace(0, 1, block.channels, dtype=np.float32)[None] for block in model.blocks}
    smaller, removed = prune(model, blocks, by)
    save_pruned(tmp_path / "out.safetensors", smaller, removed, name)
    again = sv.load(f"file:{tmp_path / 'out.safetensors'}", device="cpu")
    edit, batch = sv.Edit(blocks, by), model.batch(photos())
    with sv.edited(model, [edit]) as whole, torch.no_grad():
        wanted = whole(batch)
    with torch.no_grad():
        plain = model.module(batch)
        for module in (smaller.module, again.module):
            torch.testing.assert_close(module(batch), wanted, rtol=0, atol=1e-5)
    assert not torch.allclose(plain, wanted, atol=1e-4)
    gone = [block for block in model.blocks if edit.matches(block)]
    assert [(change["name"], change["by"]) for change in removed] == [(block.name, kind) for block in gone]
    assert [block.label for block in again.blocks] == [b.label for b in model.blocks if not edit.matches(b)]
    left = 0 if kind == "identity" else sum(b.channels for b in gone) if kind == "scale" else sum(
        p.numel() for b in gone for p in model.module.get_submodule(b.paths[0]).parameters())
    inside = sum(p.numel() for b in gone for p in model.module.get_submodule(b.name).parameters())
    assert again.parameters == smaller.parameters == model.parameters - inside + left
    assert again.classes == model.classes
    assert again.info["Removed"] == ", ".join(block.name for block in gone)
    assert again.info["Accuracy"].endswith(f", before {len(gone)} attention block{'s' * (len(gone) > 1)} were removed")
    assert "Removed" not in model.info


def test_pruned_again(source, tmp_path):
    name = source("se")
    for step, blocks in enumerate(["SE_5_1", "SE_2_*"]):
        model = sv.load(name, device="cpu")
        smaller, removed = prune(model, blocks)
        name = f"file:{tmp_path / f'{step}.safetensors'}"
        save_pruned(name[5:], smaller, removed, f"file:{tmp_path / (f'{step - 1}' if step else 'se')}.safetensors")
    again = sv.load(name, device="cpu")
    assert len(again.blocks) == 16 - 4
    assert len(read_metadata(name[5:])["removed"]) == 4


def test_numbers_keep_their_precision(tmp_path):
    model = sv.load("demo/se_resnet50_slim", device="cpu")
    smaller, removed = prune(model, "*")
    save_pruned(tmp_path / "out.safetensors", smaller, removed, "demo/se_resnet50_slim")
    again = sv.load(f"file:{tmp_path / 'out.safetensors'}", device="cpu")
    for key, value in again.module.state_dict().items():
        assert torch.equal(value, model.module.state_dict()[key])
    assert not again.blocks
    assert (tmp_path / "out.safetensors").stat().st_size < 3_200_000  # float16, as the whole network's file


def test_a_network_of_timm(tmp_path):
    torch.manual_seed(0)
    model = sv.load("timm/legacy_seresnet18", device="cpu", pretrained=False)
    name = "timm/legacy_seresnet18"
    smaller, removed = prune(model, "SE_5_*")
    save_pruned(tmp_path / "out.safetensors", smaller, removed, name)
    again = sv.load(f"file:{tmp_path / 'out.safetensors'}", arch=name, device="cpu")
    batch = model.batch(photos(1))
    with torch.no_grad():
        assert torch.equal(again.module(batch), smaller.module(batch))
    assert [b.label for b in again.blocks] == [b.label for b in model.blocks][:-2]
    with pytest.raises(CheckpointError, match="does not fit timm/resnet18"):
        sv.load(f"file:{tmp_path / 'out.safetensors'}", arch="timm/resnet18", device="cpu")


class Inline(nn.Module):
    """A gate that no module of its own multiplies with."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = self.conv(x)
        return self.head((x * torch.sigmoid(self.fc(x.mean((2, 3))))[:, :, None, None]).mean((2, 3)))


def test_what_cannot_be_removed(source):
    se, sk = (sv.load(source(attention), device="cpu") for attention in ("se", "sk"))
    inline = Model(Inline(), se.transform, ["a", "b"])
    split = Model(timm.create_model("skresnet18", num_classes=2), se.transform, ["a", "b"])
    for model, blocks, by, message in [
            (se, "SE_9_*", 1, "matches no block; the network's are: SE_2_1, "),
            (se, "SE_5_1", "*0.5", "does not hold the gate of SE_5_1: its value would still depend on the picture$"),
            (se, "SE_5_1", "3x3", "has no branches to choose between$"),
            (sk, "SK_5_1", 1, "^SK_5_1 cannot be removed: a unit that weighs branches gives way to one of them"),
            (sk, "SK_5_1", "uniform", "^SK_5_1 cannot be removed: "),
            (split, "SK_5_1", "branch 0", "^SK_5_1 cannot be removed: "),
            (inline, "*", 1, "cannot be removed: .* is no module that takes the map and gives the scaled one$")]:
        before = {key: value.clone() for key, value in model.module.state_dict().items()}
        with pytest.raises(EditError, match=message):
            prune(model, blocks, by)
        assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


def test_a_block_whose_output_is_used_otherwise(source):
    """It is a module that scales its input, and yet its place is not taken by what leaves the map as it is."""
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.se, self.head = nn.Conv2d(3, 8, 3), SqueezeExcite(8, 2), nn.Linear(8, 2)

        def forward(self, x):
            x = self.conv(x)
            out = self.se(x)
            return self.head(out.mean((2, 3))) * (2.0 if isinstance(self.se, nn.Identity) else 1.0)

    model = Model(Doubled(), sv.load(source("se"), device="cpu").transform, ["a", "b"])
    with pytest.raises(EditError, match=r"would not answer as with their gates held, so they are not removed$"):
        prune(model, "*")


@pytest.mark.parametrize("change", [
    {"name": "layer9.se", "by": "identity"}, {"name": "", "by": "identity"}, {"name": "fc", "by": "magic"},
    {"name": "fc", "by": "part", "path": "layer9"}, {"name": "layer1.0.se.weight", "by": "identity"}])
def test_descriptions_that_make_no_sense(source, tmp_path, change):
    with pytest.raises(ValueError, match="cannot be replaced in a ResNet"):
        without(slim_resnet50(num_classes=2, widths=(4, 4, 8, 8)), [change])
    name = source("se")
    state = sv.load(name, device="cpu").module.state_dict()
    save_checkpoint(tmp_path / "x.safetensors", state, read_metadata(name[5:]) | {"removed": [change]})
    with pytest.raises(CheckpointError, match="describes no network that this program can build"):
        sv.load(f"file:{tmp_path / 'x.safetensors'}")


def test_scale():
    scale = Scale(3)
    scale.weight.data = torch.tensor([1.0, 0.5, 0.0])
    assert scale(torch.ones(2, 3, 4, 5)).mean((0, 2, 3)).tolist() == [1.0, 0.5, 0.0]


def test_latency_takes_turns():
    turns = []

    class Slow(nn.Module):
        def __init__(self, name: str):
            super().__init__()
            self.name = name

        def forward(self, x):
            turns.append(self.name)

    found = latency([Slow("a"), Slow("b")], torch.zeros(1), repeats=4)
    assert turns == ["a", "b"] * 7
    assert len(found) == 2
