from collections import OrderedDict

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2

import senet_viz as sv
from senet_viz.layers import SqueezeExcite
from senet_viz.models import slim_resnet50

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
TO_TENSOR = transforms.Compose([transforms.Resize((24, 32)), transforms.ToTensor()])


class Net(nn.Module):
    """A gate without stages named layer1 … layer4."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 4, 1)
        self.units = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), SqueezeExcite(8, 2)) for _ in range(3)))
        self.fc = nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(self.units(self.stem(x)).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return sv.Model(Net(), TO_TENSOR, ("cat", "dog"), name="mine", info={"data": "pets"})


def test_what_it_holds(model):
    assert not model.module.training
    assert (model.classes, model.name, model.info) == (["cat", "dog"], "mine", {"data": "pets"})
    assert sv.Model(Net(), TO_TENSOR, ["cat", "dog"]).name == "Net"
    assert model.parameters == (3 * 8 * 9 + 8) + 3 * ((8 * 8 * 9 + 8) + (8 * 4 + 4) + (4 * 8 + 8)) + (8 * 2 + 2)
    assert model.input_size == (24, 32)
    assert model.device == torch.device("cpu")


@pytest.mark.parametrize(("of", "said"), [
    (lambda net: net.state_dict(), r"A state_dict \(OrderedDict\) holds weights and no network"),
    (lambda net: "net.pth", "A network is an nn.Module or a senet_viz.Model, not str"),
    (lambda net: torch.export.export(net, (torch.rand(1, 3, 64, 64),)), "An exported program is one list of")])
def test_refuses_what_is_no_network(of, said):
    with pytest.raises(ValueError, match=said):
        sv.Model(of(Net()), TO_TENSOR, ["cat", "dog"])


def test_the_network_of_another_model(model):
    assert sv.Model(model, TO_TENSOR, ["cat", "dog"]).module is model.module


def test_a_network_whose_train_gives_nothing():
    class Silent(Net):
        def train(self, mode=True):  # mmpretrain's backbones
            super().train(mode)

    model = sv.Model(Silent(), TO_TENSOR, ["cat", "dog"])
    assert type(model.module) is Silent and not model.module.training


def test_batch(model):
    batch = model.batch([PHOTO, PHOTO.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    assert batch.shape == (2, 3, 24, 32)
    assert torch.equal(batch[0], TO_TENSOR(PHOTO))
    assert not torch.equal(batch[0], batch[1])


def test_batch_goes_where_the_network_is():
    model = sv.Model(Net().to("meta"), TO_TENSOR, ["cat", "dog"])
    assert model.device.type == model.batch([PHOTO]).device.type == "meta"
    assert sv.Model(nn.Flatten(), TO_TENSOR, []).device == torch.device("cpu")


def test_blocks_are_found_once(model, monkeypatch):
    assert [block.name for block in model.blocks] == ["units.0.1", "units.1.1", "units.2.1"]
    monkeypatch.setattr(model.module, "forward", None)
    assert len(model.blocks) == 3


def test_stages_of_a_resnet():
    model = sv.Model(slim_resnet50(widths=(4, 4, 8, 8), num_classes=2), TO_TENSOR, ["cat", "dog"])
    assert model.stages == {"Stage 2": "layer1", "Stage 3": "layer2", "Stage 4": "layer3", "Stage 5": "layer4"}


def test_stages_of_a_network_that_counts_its_units_as_layers():
    class Units(nn.Sequential):  # mmpretrain's MobileNetV3
        def __init__(self):
            super().__init__()
            for number, (inputs, stride) in enumerate([(3, 2), (8, 1), (8, 2), (8, 1), (8, 2)], 1):
                unit = {"conv": nn.Conv2d(inputs, 8, 3, stride, 1), "se": SqueezeExcite(8, 2)}
                self.add_module(f"layer{number}", nn.Sequential(OrderedDict(unit)))

    model = sv.Model(Units(), TO_TENSOR, ["cat", "dog"])
    assert model.stages == {"Stage 1": "layer2", "Stage 2": "layer4", "Stage 3": "layer5"}


def test_stages_of_another_network(model):
    assert model.stages == {f"Stage {block.stage}": f"units.{i}" for i, block in enumerate(model.blocks)}
    assert len(model.stages) == 3
    for path in model.stages.values():
        model.module.get_submodule(path)


def test_a_stage_where_the_gate_is_written_inline():
    class Unit(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(inputs, outputs, 3, 2, 1), nn.Linear(outputs, outputs)

        def forward(self, x):
            u = self.conv(x)
            return u * torch.sigmoid(self.fc(u.mean((2, 3))))[..., None, None]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.head = nn.Sequential(Unit(3, 8), Unit(8, 8)), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.features(x).mean((2, 3)))

    class Flat(Net):
        """All in one forward."""

        def forward(self, x):
            u = self.features[0].conv(x)
            return self.head((u * torch.sigmoid(self.features[0].fc(u.mean((2, 3))))[..., None, None]).mean((2, 3)))

    def transform(image):
        return torch.tensor(np.asarray(image.resize((64, 64)))).permute(2, 0, 1).float() / 255

    assert sv.Model(Net(), transform, list("abcd")).stages == {"Stage 1": "features.0", "Stage 2": "features.1"}
    assert sv.Model(Net().double(), transform, list("abcd")).stages == {
        "Stage 1": "features.0", "Stage 2": "features.1"}
    flat = sv.Model(Flat(), transform, list("abcd"))
    assert [block.name for block in flat.blocks] == ["#0"]
    assert flat.stages == {"Stage 1": "features.0.conv"}

    class Resized(Flat):
        """As detectors resize what they are given."""

        def forward(self, x):
            return super().forward(nn.functional.interpolate(x, size=(16, 16)))

    assert sv.Model(Resized(), transform, list("abcd")).stages == flat.stages


class Repeated(nn.Module):
    """One convolution for all stages: no module gives the map of one of them."""

    def __init__(self, last: nn.Module):
        super().__init__()
        self.stem, self.conv, self.last = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=1), last
        self.fcs, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(2)), nn.Linear(8, 2)

    def forward(self, x):
        x = self.stem(x)
        for fc in self.fcs:
            u = self.conv(nn.functional.max_pool2d(x, 2))
            x = u * torch.sigmoid(fc(u.mean((2, 3))))[..., None, None]
        return self.head(self.last(x).mean((2, 3)))


@pytest.mark.parametrize(("last", "stages"), [
    (nn.Upsample(scale_factor=8), {}), (nn.Conv2d(8, 8, 1), {"Stage 3": "last"})])
def test_a_stage_without_a_layer_of_its_own_is_left_out(last, stages):
    torch.manual_seed(0)
    model = sv.Model(Repeated(last), transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()]),
                     ["cat", "dog"])
    assert [block.stage for block in model.blocks] == [2, 3]
    assert model.stages == stages


def stages_inside(model: sv.Model, path: str) -> set[int]:
    return {block.stage for block in model.blocks if block.name.startswith(f"{path}.")}


def test_a_stage_is_the_largest_module_without_another_stages_blocks():
    network = timm.create_model("mobilenetv3_small_050", num_classes=2)
    transform = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
    model = sv.Model(network, transform, ["cat", "dog"])
    last = {block.stage: block.name for block in model.blocks}
    assert len(model.stages) == len(last) > 1
    for stage, name in last.items():
        path = model.stages[f"Stage {stage}"]
        assert name.startswith(f"{path}.")
        assert stages_inside(model, path) == {stage}
        assert len(stages_inside(model, path.rpartition(".")[0])) > 1


MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]


class Preset:
    """As torchvision's: the normalisation is the transform's own."""

    mean, std = MEAN, STD

    def __call__(self, image):
        return transforms.functional.normalize(transforms.functional.to_tensor(image), MEAN, STD)


@pytest.mark.parametrize("transform", [
    transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)]),
    transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.25])]),
    v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]),
    timm.data.create_transform((3, 40, 60), crop_pct=1.0, mean=MEAN, std=STD),
    Preset(),
], ids=["v1", "one value", "v2", "timm", "preset"])
def test_seen_undoes_the_normalisation(transform):
    model = sv.Model(nn.Flatten(), transform, [])
    assert np.array_equal(model.seen(transform(PHOTO)), np.asarray(PHOTO))


def test_seen_of_an_unknown_normalisation(model):
    model = sv.Model(nn.Flatten(), lambda image: transforms.functional.to_tensor(image) * 7 - 3, [])
    seen = model.seen(model.batch([PHOTO])[0])
    assert (seen.dtype, seen.shape, seen.min(), seen.max()) == (np.uint8, (40, 60, 3), 0, 255)
    assert np.corrcoef(seen.ravel(), np.asarray(PHOTO).ravel())[0, 1] > 0.999
    assert np.array_equal(model.seen(torch.ones(3, 4, 4)), np.zeros((4, 4, 3)))  # nothing to stretch


def test_a_stage_has_an_output(model):
    """Lists of modules are never called; whoever asks for a stage's map needs one that is."""
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 8, 1)
            self.units = nn.ModuleList(SqueezeExcite(8, 2) for _ in range(2))

        def forward(self, x):
            x = self.stem(x)
            for unit in self.units:
                x = unit(x)
            return x.mean((2, 3))

    listed = sv.Model(Listed(), TO_TENSOR, ["a"] * 8)
    assert list(listed.stages.values()) == ["units.1"]  # the last of both, which share a stage
    for each in (model, listed):
        view = sv.inspect(each, each.batch([PHOTO]), features=tuple(each.stages.values()))
        assert all(view.features[path].dim() == 4 for path in each.stages.values())


CLASSES = ["goldfish, Carassius auratus", "crane", "pug, pug-dog", "plane", "crane", "airplane", "biplane", "dog sled"]


@pytest.fixture
def named():
    return sv.Model(nn.Flatten(), TO_TENSOR, CLASSES, name="mine")


def test_class_labels_are_unique(named):
    assert named.class_labels == ["goldfish", "crane [1]", "pug", "plane", "crane [4]", *CLASSES[5:]]


@pytest.mark.parametrize(("name", "index"), [
    ("plane", 3), ("goldfish, Carassius auratus", 0), ("Goldfish", 0), ("carassius auratus", 0), (" pug ", 2),
    ("gold", 0), ("air", 5), ("crane [4]", 4), ("sled", 7), ("DOG", 7)])
def test_class_index(named, name, index):
    assert named.class_index(name) == index


@pytest.mark.parametrize(("name", "message"), [
    ("crane", r"could be any of 2 classes: crane \[1\]; crane \[4\]"), ("ne", "could be any of 5 classes"),
    ("bi-plane", "mine has no class 'bi-plane'; near to it: .*biplane"), ("xyzzy", r"has no class 'xyzzy'\."),
    ("", "has no class ''"), ("  ", "has no class"),
])
def test_class_index_refuses(named, name, message):
    with pytest.raises(ValueError, match=message) as caught:
        named.class_index(name)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(("transform", "said"), [
    (None, "its transform fails: TypeError"),
    (lambda image: torch.as_tensor(image), "its transform fails"),
    (lambda image: transforms.ToTensor()(image).flatten(1), r"makes of one a tensor \(3, 65536\), not \(ch"),
    (lambda image: transforms.ToTensor()(image)[:, None], r"makes of one a tensor \(3, 1, 256, 256\)"),
    (lambda image: np.asarray(image), "makes of one no tensor but ndarray")])
def test_a_model_that_takes_no_pictures_says_so(transform, said):
    with pytest.raises(ValueError, match=f"^mine takes no pictures .*{said}.*sv.inspect.*too.$"):
        sv.Model(Net(), transform, ["cat", "dog"], name="mine").check_pictures()


def test_a_model_with_a_reader_of_its_own_takes_no_pictures(model):
    model.check_pictures()
    own = sv.Model(Net(), TO_TENSOR, ["cat", "dog"], reader=lambda data: data, example=torch.zeros(3, 24, 32))
    with pytest.raises(ValueError, match="a reader of other files"):
        own.check_pictures()


def test_what_a_network_of_grey_pictures_saw():
    grey = sv.Model(nn.Conv2d(1, 2, 1), transforms.Compose([transforms.Grayscale(), transforms.ToTensor()]), ["a", "b"])
    seen = grey.seen(torch.tensor([[[0.0, 0.5], [1.0, 0.25]]]))
    assert seen.shape == (2, 2, 3)
    assert (seen == seen[..., :1]).all()
    assert seen[..., 0].tolist() == [[0, 128], [255, 64]]


def test_no_pictures_make_no_batch(model):
    with pytest.raises(ValueError, match=r"^a batch takes one picture or more$"):
        model.batch([])


def test_pictures_of_several_proportions_make_no_batch():
    kept = sv.Model(Net(), transforms.Compose([transforms.Resize(32), transforms.ToTensor()]), ["a", "b"], name="mine")
    assert kept.batch([PHOTO, PHOTO]).shape == (2, 3, 32, 48)
    with pytest.raises(ValueError, match=r"^mine takes each picture in its own proportions"):
        kept.batch([PHOTO, PHOTO.rotate(90, expand=True)])
