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
from senet_viz.models import CheckpointError, Model, macs, slim_resnet50
from senet_viz.models.checkpoints import read_checkpoint, read_metadata, save_checkpoint
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
    ("se", "SE_5_*", 1, "identity"), ("se", "stage 3, SE_4_2", 0.25, "identity"), ("se", "*", "1", "identity"),
    ("se", "SE_2_1", "mean", "identity"), ("se", "*", "mean", "identity"), ("sk", "SK_4_*", "5x5", "part"),
    ("sk", "*", "branch 0", "part")])
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
    assert all("into" in change for change in removed) == (by not in (1, "1", "5x5", "branch 0"))
    assert [block.label for block in again.blocks] == [b.label for b in model.blocks if not edit.matches(b)]
    left = 0 if kind == "identity" else sum(
        p.numel() for b in gone for p in model.module.get_submodule(b.paths[0]).parameters())
    inside = sum(p.numel() for b in gone for p in model.module.get_submodule(b.name).parameters())
    assert again.parameters == smaller.parameters == model.parameters - inside + left
    assert again.classes == model.classes
    assert again.info["Removed"] == ", ".join(block.name for block in gone)
    assert again.info["Accuracy"].endswith(f", before {len(gone)} attention block{'s' * (len(gone) > 1)} were removed")
    assert "Removed" not in model.info


# gates folded into weights

def held(model: Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Gates that are the same for every picture, channel by channel all over 0..1."""
    rng = np.random.default_rng(seed)
    return {block.name: rng.random((1, block.channels)).astype(np.float32) for block in model.blocks}


def fixed(module: nn.Module, gates: dict[str, np.ndarray], inputs: torch.Tensor) -> torch.Tensor:
    """Logits of a network whose blocks multiply by these gates, in a loop of one's own."""
    handles = [module.get_submodule(name).register_forward_hook(
        lambda _, given, __, gate=gate: given[0] * torch.from_numpy(gate).view(1, -1, *[1] * (given[0].dim() - 2)))
        for name, gate in gates.items()]
    try:
        with torch.no_grad():
            return module(inputs)
    finally:
        for handle in handles:
            handle.remove()


def draws(model: Model) -> torch.Tensor:
    return torch.randn(3, 3, *model.input_size, generator=torch.Generator().manual_seed(7))


def close(module: nn.Module, wanted: torch.Tensor, inputs: torch.Tensor) -> None:
    with torch.no_grad():
        found = module(inputs)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("name", ["demo/se_resnet50_slim", "timm/seresnet18"])
def test_mean_gates_leave_no_multiplication(tmp_path, name):
    """Logits, parameters and MACs; from the file, too, where weights that were in float16 are so no more."""
    torch.manual_seed(0)
    model = sv.load(name, device="cpu", pretrained=name.startswith("demo"))
    with torch.no_grad():
        for part in model.module.modules():
            if isinstance(part, nn.BatchNorm2d) and not part.weight.any():  # timm begins with units that do nothing
                part.weight.uniform_(0.5, 1.5)
    gates, inputs = held(model), draws(model)
    smaller, removed = prune(model, "*", gates)
    plain, _ = prune(model, "*")
    assert [(change["name"], change["into"].rpartition(".")[0]) for change in removed] == [
        (block.name, block.name.rpartition(".")[0]) for block in model.blocks]
    save_pruned(tmp_path / "out.safetensors", smaller, removed, name)
    arch = None if name.startswith("demo") else name
    again = sv.load(f"file:{tmp_path / 'out.safetensors'}", device="cpu", arch=arch)
    wanted = fixed(model.module, gates, inputs)
    for folded in (smaller, again):
        close(folded.module, wanted, inputs)
        assert (folded.parameters, macs(folded.module)) == (plain.parameters, macs(plain.module))
        assert not folded.blocks and not any(isinstance(part, Scale) for part in folded.module.modules())
    if name.startswith("demo"):
        state, kinds = read_checkpoint(tmp_path / "out.safetensors").state, {torch.float16, torch.float32}
        assert {value.dtype for key, value in state.items() if "num_batches" not in key} == kinds
        assert state["layer1.0.bn3.weight"].dtype == torch.float32 and state["fc.weight"].dtype == torch.float16


class Bare(nn.Module):
    """Gates behind convolutions without batch normalisation; where each may go is another matter.

    Of the first the map is used elsewhere, and what follows is a ReLU and a grouped convolution. The second's goes
    through SiLU before and behind. The third's goes to the classifier, behind a mean over space.
    """

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2, padding=1), nn.Conv2d(8, 8, 3)
        self.se1, self.se2, self.se3 = (SqueezeExcite(8, 2) for _ in range(3))
        self.relu, self.silu, self.head = nn.ReLU(), nn.SiLU(), nn.Linear(8, 5)
        self.d = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        u = self.a(x)
        v = self.b(self.relu(self.se1(u))) + u
        v = self.silu(self.se2(self.silu(v)))
        v = self.relu(self.c(v))
        return self.head(self.se3(self.silu(self.d(v))).mean((2, 3)))


def bare(module: nn.Module, source) -> Model:
    return Model(module.eval(), sv.load(source("se"), device="cpu").transform, list("abcde"))


def test_convolutions_without_normalisation(source):
    torch.manual_seed(0)
    model = bare(Bare(), source)
    gates = held(model)
    smaller, removed = prune(model, "*", gates)
    assert [(change["by"], change.get("into")) for change in removed] == [
        ("identity", "b"), ("scale", None), ("identity", "head")]
    inputs = draws(model)
    close(smaller.module, fixed(model.module, gates, inputs), inputs)
    weight = model.module.b.weight.detach().numpy() * gates["se1"].reshape(2, 1, 4).repeat(4, 1).reshape(8, 4, 1, 1)
    np.testing.assert_allclose(smaller.module.b.weight.detach(), weight, rtol=1e-6)
    np.testing.assert_array_equal(smaller.module.a.weight.detach(), model.module.a.weight.detach())
    np.testing.assert_array_equal(smaller.module.se2.weight.detach(), gates["se2"][0])


class Before(nn.Module):
    """A convolution with a bias whose output goes to the gate alone; with ``also`` elsewhere, too."""

    def __init__(self, also: bool):
        super().__init__()
        self.conv, self.se, self.also = nn.Conv2d(3, 8, 3), SqueezeExcite(8, 2), also
        self.silu, self.head = nn.SiLU(), nn.Linear(8, 5)

    def forward(self, x):
        u = self.conv(x)
        v = self.silu(self.se(u))
        return self.head((v + u if self.also else v).mean((2, 3)))


@pytest.mark.parametrize("also", [False, True])
def test_a_map_that_goes_elsewhere_too_is_not_scaled(source, also):
    torch.manual_seed(0)
    model = bare(Before(also), source)
    gates = held(model)
    smaller, removed = prune(model, "*", gates)
    assert [(change["by"], change.get("into")) for change in removed] == [
        ("scale", None) if also else ("identity", "conv")]
    inputs = draws(model)
    close(smaller.module, fixed(model.module, gates, inputs), inputs)
    if not also:
        wanted = model.module.conv.bias.detach().numpy() * gates["se"][0]
        np.testing.assert_allclose(smaller.module.conv.bias.detach(), wanted, rtol=1e-6)


class Bent(nn.Module):
    """A nonlinearity between a normalisation and the gate, of which small inputs see no more than one side."""

    def __init__(self, nonlinearity: nn.Module, offset: float = 0.0):
        super().__init__()
        self.conv, self.bn, self.nonlinearity = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nonlinearity
        self.se, self.behind, self.head = SqueezeExcite(8, 2), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)
        nn.init.constant_(self.bn.weight, 0.1)
        nn.init.constant_(self.bn.bias, offset)

    def forward(self, x):
        return self.head(torch.relu(self.behind(self.se(self.nonlinearity(self.bn(self.conv(x)))))).mean((2, 3)))


class Times(nn.Module):
    """A weight that is one number."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.weight


@pytest.mark.parametrize(("nonlinearity", "offset", "into"), [
    (nn.ReLU6(), 0, "behind"), (nn.Hardtanh(), 0, "behind"), (nn.Hardtanh(-500, 500), 0, "behind"),
    (nn.ELU(), 3, "behind"), (nn.Hardswish(), 9, "behind"), (nn.Softshrink(1e-3), 3, "behind"),
    (nn.ReLU(), 0, "bn"), (nn.LeakyReLU(), 0, "bn"), (nn.MaxPool2d(2), 0, "bn"), (Times(), 0, "bn")])
def test_a_nonlinearity_that_noise_does_not_reach(source, nonlinearity, offset, into):
    torch.manual_seed(0)
    model = bare(Bent(nonlinearity, offset), source)
    gates = held(model)
    smaller, removed = prune(model, "*", gates)
    assert [change.get("into") for change in removed] == [into]
    for size in (1, 1000):
        inputs = size * draws(model)
        close(smaller.module, fixed(model.module, gates, inputs), inputs)


def stays_a_factor(network: nn.Module, source) -> None:
    """No layer takes the gate in, as inputs far larger than noise tell; the pruned network is right for these."""
    model = bare(network, source)
    gates = held(model)
    smaller, removed = prune(model, "*", gates)
    assert [change["by"] for change in removed] == ["scale"]
    inputs = 1000 * draws(model)
    close(smaller.module, fixed(model.module, gates, inputs), inputs)


def test_a_gate_before_a_nonlinearity_that_noise_does_not_reach(source):
    class Behind(Bent):
        def forward(self, x):
            return self.head(self.behind(self.nonlinearity(self.se(nn.functional.silu(self.bn(self.conv(x)))))).mean(
                (2, 3)))

    torch.manual_seed(0)
    stays_a_factor(Behind(nn.ReLU6()), source)


def test_a_map_that_rarely_goes_elsewhere_is_not_scaled(source):
    class Rarely(Before):
        def forward(self, x):
            u = self.conv(x)
            return self.head((self.silu(self.se(u)) + torch.relu(u - 100)).mean((2, 3)))

    torch.manual_seed(0)
    stays_a_factor(Rarely(True), source)


def test_weights_that_two_layers_share_are_left_alone(source):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.b.weight = self.a.weight
            self.stem, self.se, self.silu = nn.Conv2d(3, 8, 3), SqueezeExcite(8, 2), nn.SiLU()
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            return self.head(self.silu(self.se(self.b(self.silu(self.a(self.stem(x)))))).mean((2, 3)))

    torch.manual_seed(0)
    model = bare(Tied(), source)
    gates, inputs = held(model), draws(model)
    smaller, removed = prune(model, "*", gates)
    assert removed == [{"name": "se", "by": "scale", "channels": 8}]
    close(smaller.module, fixed(model.module, gates, inputs), inputs)


class AnyGate(nn.Module):
    """A gate of maps over a space of any number of dimensions."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        gate = torch.sigmoid(self.fc(x.flatten(2).mean(2)))
        return x * gate.view(*gate.shape, *[1] * (x.dim() - 2))


@pytest.mark.parametrize(("conv", "shape"), [
    (nn.Conv1d(3, 8, 3), (3, 64)), (nn.Conv2d(1, 8, 3), (1, 24, 20)), (nn.Conv2d(5, 8, 3), (5, 16, 16)),
    (nn.Conv3d(2, 8, 3), (2, 12, 8, 10))], ids=["signal", "grey", "five channels", "volume"])
def test_what_is_no_picture(conv, shape):
    """One gate that can be folded, and one between two nonlinearities that cannot."""
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.first, self.second, self.head = conv, AnyGate(), AnyGate(), nn.Linear(8, 5)

        def forward(self, x):
            x = nn.functional.silu(self.first(self.conv(x)))
            return self.head(nn.functional.silu(self.second(x)).flatten(2).mean(2))

    torch.manual_seed(0)
    model = Model(Net(), torch.as_tensor, list("abcde"), reader=np.frombuffer, example=torch.randn(shape))
    gates, inputs = held(model), torch.randn(3, *shape)
    assert list(gates) == ["first", "second"]
    smaller, removed = prune(model, "*", gates)
    assert [(change["by"], change.get("into")) for change in removed] == [("identity", "conv"), ("scale", None)]
    close(smaller.module, fixed(model.module, gates, inputs), inputs)
    assert torch.equal(smaller.example, model.example) and smaller.reader is model.reader


# networks that do not return logits alone

class Returning(nn.Module):
    """``form`` makes of the logits (N, 5) and the maps (N, 5, h, w) what it returns.

    The map before the gate goes elsewhere, too, which only what is returned tells.
    """

    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.se, self.head = nn.Conv2d(3, 8, 3), SqueezeExcite(8, 2), nn.Conv2d(8, 5, 1)
        self.form = form

    def forward(self, x):
        u = self.conv(x)
        maps = self.head(self.se(u)) + u[:, :5]
        return self.form(maps.mean((2, 3)), maps)


@pytest.mark.parametrize(("form", "output"), [
    (lambda logits, maps: {"a": {"b": logits}}, lambda returned: returned["a"]["b"]),
    (lambda logits, maps: {"a": {"b": logits}}, None), (lambda logits, maps: maps, None),
    (lambda logits, maps: [maps], None), (lambda logits, maps: {"out": maps, "class": maps.argmax(1)}, None)],
    ids=["output says where", "nested", "maps", "list of maps", "maps by name"])
def test_answers_of_other_forms(source, form, output):
    transform = sv.load(source("se"), device="cpu").transform
    model = Model(Returning(form), transform, list("abcde"), output=output)
    gates, inputs = held(model), draws(model)
    smaller, removed = prune(model, "*", gates)
    assert removed == [{"name": "se", "by": "identity", "into": "head"}]
    plain, _ = prune(model, "*")
    for pruned, values in ((smaller, gates), (plain, {"se": np.ones((1, 8), np.float32)})):
        whole = Returning(lambda logits, maps: maps).eval()  # of the same weights
        pruned.module.form = whole.form
        close(pruned.module, fixed(whole, values, inputs), inputs)


def test_a_network_that_returns_no_numbers_is_left_whole(source):
    model = bare(Returning(lambda logits, maps: maps.argmax(1)), source)
    with pytest.raises(EditError, match="returns no numbers by which it could be compared with a network without"):
        prune(model, "*")


def test_segmentations_are_compared(source):
    """By their maps: the block is none of those that scale what they are given."""
    class Shifted(Returning):
        def forward(self, x):
            return super().forward(x) + isinstance(self.se, nn.Identity)

    model = bare(Shifted(lambda logits, maps: maps), source)
    with pytest.raises(EditError, match="would not answer as with their gates held"):
        prune(model, "*")


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
    for space in ((3,), (4, 5), (3, 4, 3)):
        assert scale(torch.ones(2, 3, *space)).transpose(0, 1).flatten(1).mean(1).tolist() == [1.0, 0.5, 0.0]


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
