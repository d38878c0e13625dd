import tomllib
from pathlib import Path

import pytest
import torch

from senet_viz.models import load
from senet_viz.models.checkpoints import save_checkpoint
from senet_viz.training.ablation_plan import PlanError, Variant, parse_plan, read_plan
from senet_viz.training.loop import transform_of

EMBEDDED = Path(__file__).resolve().parents[2] / "assets" / "ablations" / "plan.toml"
SMALL = """
[recipe]
widths = [4, 4, 8, 8]
reduction = 4
min_width = 2
image_size = 16
start_size = 16
"""


@pytest.fixture(scope="module")
def embedded():
    return read_plan(EMBEDDED)


def test_embedded_plan(embedded):
    """Its variants are what the issue asks for, and each but the wrong ones and SK is one thing changed."""
    reference = embedded.variants["se"]
    assert embedded.reference == "se" and embedded.seeds == (0, 1, 2)
    assert reference.options == {"reduction": 16, "min_width": 4}
    changes = {name: variant.differences(reference) for name, variant in embedded.variants.items()}
    assert all(len(changed) == 1 for name, changed in changes.items() if name != "se") and changes["se"] == {}
    assert {"place": "pre"} in changes.values() and {"excitation": "relu"} in changes.values()
    order = list(embedded.trainings)
    assert [seed for _, seed in order] == sorted(seed for _, seed in order) and order[0] == ("se", 0)


def test_every_network_can_be_described_in_a_file_of_its_weights(embedded, tmp_path):
    """And is built by that alone, as the same modules with the same weights."""
    said = {"transform": transform_of(embedded.recipe), "classes": ["a", "b", "c"],
            "recipe": {"widths": [8, 16, 32, 64], "epochs": 1}, "data": {"name": "x", "training": 1, "validation": 1},
            "accuracy": {"top1": 0.5, "top5": 1.0, "images": 1}, "made": {"date": "2024-02-29"}}
    for name, variant in embedded.variants.items():
        network = variant.build(embedded.recipe, 3).eval()
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(path, network.state_dict(), {
            "architecture": variant.architecture(embedded.recipe, 3), **said})
        model = load(f"file:{path}", device="cpu")
        assert str(model.module) == str(network)
        with torch.inference_mode():
            assert torch.equal(model.module(model.example_batch), network(model.example_batch)), name


def hidden(channels: int, reduction: int) -> int:
    return max(channels // reduction, 4)


def by_hand(name: str) -> int:
    """Parameters of attention by the papers' formulae, over units of 3/4/6/3 with C = 32, 64, 128, 256."""
    units = [(c, n) for c, n in zip((32, 64, 128, 256), (3, 4, 6, 3))]
    entering = [16, *[32] * 2, 32, *[64] * 3, 64, *[128] * 5, 128, *[256] * 2]
    leaving = [c for c, n in units for _ in range(n)]
    if name in ("se", "max", "tanh", "relu", "post", "identity", "unsqueezed", "convolution"):
        return sum(2 * c * hidden(c, 16) + hidden(c, 16) + c for c in leaving)
    if name in ("r4", "r2"):
        return sum(2 * c * hidden(c, int(name[1])) + hidden(c, int(name[1])) + c for c in leaving)
    if name == "no_bias":
        return sum(2 * c * hidden(c, 16) for c in leaving)
    if name == "pre":
        return sum(2 * c * hidden(c, 16) + hidden(c, 16) + c for c in entering)
    if name == "3x3":
        return sum(2 * c * hidden(c, 16) + hidden(c, 16) + c for c in (c // 4 for c in leaving))
    if name == "parallel":
        return sum((i + c) * hidden(c, 16) + hidden(c, 16) + c for i, c in zip(entering, leaving))
    if name == "eca":  # a kernel of 3, and 5 from 128 channels on: |log2(C) + 1| / 2, to the next odd number
        return sum({32: 3, 64: 3, 128: 5, 256: 5}[c] for c in leaving)
    if name == "sk":  # a second branch with its BN, and the fuse step and its BN; two vectors of C
        middle = [c // 4 for c in leaving]
        return sum(9 * c * c + 2 * c + c * hidden(c, 16) + 2 * hidden(c, 16) + 2 * c * hidden(c, 16) for c in middle)
    return 0  # none, pooled


def test_every_variant_of_the_embedded_plan_builds_with_the_parameters_of_its_formula(embedded):
    counts = {name: sum(p.numel() for p in variant.build(embedded.recipe, 100).parameters())
              for name, variant in embedded.variants.items()}
    assert {name: count - counts["none"] for name, count in counts.items()} == {
        name: by_hand(name) for name in embedded.variants}
    assert by_hand("se") > 0


def test_variants_begin_alike():
    """With a seed all have the same weights outside of attention; with another one others."""
    plan = parse_plan(SMALL + "[variants.se]\n[variants.none]\nattention = \"none\"\n[variants.pre]\nplace = \"pre\"\n")
    plain, gated, before = (plan.variants[name].build(plan.recipe, 3) for name in ("none", "se", "pre"))
    shared = {name: value for name, value in plain.state_dict().items() if value.dtype.is_floating_point}
    for name, value in shared.items():
        assert torch.equal(value, gated.state_dict()[name])
        moved = before.state_dict()[name.replace(".conv1.", ".conv1.1.") if name.startswith("layer") else name]
        assert torch.equal(value, moved)


def test_stages():
    plan = parse_plan(SMALL + "[variants.se]\n[variants.late]\nstages = [5, 4]\n")
    state = plan.variants["late"].build(plan.recipe, 3).state_dict()
    assert {name.partition(".")[0] for name in state if ".se." in name} == {"layer3", "layer4"}
    assert plan.label("late") == "stages 4, 5 only"


def test_sk_axes():
    plan = parse_plan(SMALL + "[variants.sk]\nattention = \"sk\"\nbranches = 3\ngroups = 2\nreduction = 2\n"
                              "min_width = 5\n")
    unit = plan.variants["sk"].build(plan.recipe, 3).layer4[0].conv2
    assert [branch[0].kernel_size for branch in unit.branches] == [(3, 3)] * 3
    assert [branch[0].groups for branch in unit.branches] == [2] * 3
    assert unit.fuse[1].out_channels == 5  # max(8 // 2, 5)


def test_what_the_recipe_says_of_the_hidden_layer_holds_where_a_variant_does_not_say_otherwise():
    plan = parse_plan(SMALL + "[variants.se]\n[variants.r2]\nreduction = 2\n")
    assert plan.variants["se"].options == {"reduction": 4, "min_width": 2}
    assert plan.variants["r2"].options == {"reduction": 2, "min_width": 2}
    assert plan.variants["r2"].differences(plan.variants["se"]) == {"reduction": 2}


def test_two_files_that_mean_the_same():
    one = parse_plan(SMALL + "[variants.se]\n[variants.max]\nsqueeze = \"max\"\n")
    other = parse_plan("seeds = [0]\nreference = \"se\"\n# nothing\n" + SMALL
                       + "[variants.se]\nattention = \"se\"\n[variants.max]\nattention = 'se'\nsqueeze = \"max\"\n")
    assert one.meaning() == other.meaning()


@pytest.mark.parametrize(("attention", "axis", "default", "other"), [
    *((kind, "squeeze", "'avg'", "'max'") for kind in ("se", "pooled", "parallel")),
    *((kind, "excitation", "'sigmoid'", "'tanh'") for kind in ("se", "pooled", "unsqueezed", "parallel")),
    *((kind, "bias", "true", "false") for kind in ("se", "unsqueezed", "convolution", "parallel")),
    ("sk", "branches", "2", "3"), ("sk", "groups", "1", "2")])
def test_a_default_that_is_given_is_the_same_variant(attention, axis, default, other):
    """Its network is that of a plan without it, it means the same, and beside one without it it is a second."""
    plain = f"{SMALL}[variants.a]\nattention = '{attention}'\n"
    plan, given = parse_plan(plain), parse_plan(f"{plain}{axis} = {default}\n")
    assert given.meaning() == plan.meaning()
    assert given.meaning() != parse_plan(f"{plain}{axis} = {other}\n").meaning()
    with pytest.raises(PlanError, match="the variants a and b are the same"):
        parse_plan(f"{plain}[variants.b]\nattention = '{attention}'\n{axis} = {default}\n")
    networks = [Variant(attention, options=variant.options | more).build(plan.recipe, 2)
                for variant in plan.variants.values() for more in ({}, tomllib.loads(f"{axis} = {default}"))]
    assert [str(network) for network in networks] == [str(networks[0])] * 2


def test_a_mark_before_the_text(tmp_path):
    (tmp_path / "plan.toml").write_bytes(b"\xef\xbb\xbf" + SMALL.encode() + b"[variants.se]\n")
    assert read_plan(tmp_path / "plan.toml") == parse_plan(SMALL + "[variants.se]\n")


@pytest.mark.parametrize(("text", "sentence"), [
    ("a = ", "this is no TOML: "),
    ("seed = [1]\n[variants.se]", "a plan has no seed; there are reference, seeds, pictures, recipe, variants"),
    ("[recipe]\nlr = 0.1", r"a plan has variants, each a table \[variants.NAME\]"),
    ("variants = 3", "a plan has variants"),
    ("variants = {se = 3}", "a plan has variants"),
    ("reference = 'x'\n[variants.se]", "the reference 'x' is none of the variants se"),
    ("reference = ['se']\n[variants.se]", "the reference .* is none of"),
    ("seeds = []\n[variants.se]", "seeds is a list of whole numbers"),
    ("seeds = [0, 0]\n[variants.se]", "each seed once"),
    ("seeds = [true]\n[variants.se]", "seeds is a list of whole numbers"),
    ("seeds = 1\n[variants.se]", "seeds is a list"),
    ("pictures = 0\n[variants.se]", "pictures is a number of them, 1 or more, not 0"),
    ("recipe = 1\n[variants.se]", r"recipe is a table, \[recipe\]"),
    ("[recipe]\nseed = 1\n[variants.se]", "a plan's recipe has no seed"),
    ("[recipe]\nattention = 'sk'\n[variants.se]", "a plan's recipe has no attention"),
    ("[recipe]\nlr = 'fast'\n[variants.se]", "lr of the recipe cannot be 'fast'"),
    ("[recipe]\nepochs = 1.5\n[variants.se]", "epochs of the recipe cannot be 1.5"),
    ("[recipe]\nwidths = [1.5, 2, 3, 4]\n[variants.se]", "widths of the recipe cannot be"),
    ("[recipe]\nwidths = [1, 2]\n[variants.se]", "the recipe: widths and strides need one number for each"),
    ("[recipe]\nimage_size = 20\n[variants.se]", "the recipe: image sizes must be multiples of 8"),
    *((f"[recipe]\n{name} = 1{'0' * 400}\n[variants.se]", f"{name} of the recipe cannot be 10+ …$")
      for name in ("lr", "epochs", "batch_size", "reduction", "momentum")),
    (f"[recipe]\nstrides = [1, 1, 1, 1{'0' * 30}]\n[variants.se]", "strides of the recipe cannot be"),
    ("[recipe]\nstrides = [1, 1, 1, 1000]\n[variants.se]", "the recipe: strides cannot be more than 64"),
    ("[recipe]\nepochs = 1000000\n[variants.se]", "the recipe: epochs cannot be more than 100,000"),
    ("[recipe]\nmomentum = 0.0\n[variants.se]", "the recipe: momentum is Nesterov's, above 0"),
    ("[recipe]\nweight_decay = nan\n[variants.se]", "the recipe: weight_decay is 0 .* or more, not nan"),
    ("[recipe]\nlr = inf\n[variants.se]", "the recipe: .* must be positive and finite"),
    (f"seeds = [0x{'f' * 5000}]\n[variants.se]", "not a number of thousands of digits"),
    (f"pictures = 1{'0' * 40}\n[variants.se]", "pictures is a number of them, 1 or more, not 10"),
    (f"pictures = 1{'0' * 5000}\n[variants.se]", "a number in it has thousands of digits"),
    (f"seeds = {'[' * 5000}{']' * 5000}\n[variants.se]", "lie too deep in each other"),
    ("[recipe]\ndecay_gates = 1\n[variants.se]", "decay_gates of the recipe cannot be 1"),
    ("[variants.'../out']", "a variant's name is a folder's"),
    ("[variants.'.']", "a variant's name is a folder's"),
    ("[variants.'a.']", "a variant's name is a folder's"),
    ("[variants.'ä']", "a variant's name is a folder's, up to 60 of a–z, A–Z, 0–9 and _ . [+] -, not 'ä'"),
    *((f"[variants.'{name}']", "a variant's name is a folder's, beside files, and does not end as theirs do")
      for name in ("plan.toml", "ablation.csv", "Ablation.JSON", "a.part", "ablation.parquet")),
    ("[variants.SE]\n[variants.se]\nreduction = 2", "the variants SE and se differ only in case"),
    ("[variants.a]\nattention = 'cbam'", "variant a: attention is one of none, se, eca, .*, not 'cbam'"),
    ("[variants.a]\nattention = ['se']", "variant a: attention is one of"),
    ("[variants.a]\nplace = 'front'", "variant a: place is one of standard, pre, post, identity, 3x3, not 'front'"),
    ("[variants.a]\nplace = [1]", "variant a: place is one of"),
    ("[variants.a]\nstages = [1]", r"variant a: stages is a list of some of 2, 3, 4, 5, not \[1\]"),
    ("[variants.a]\nstages = [[2]]", "variant a: stages is a list"),
    ("[variants.a]\nstages = [5.0]", "variant a: stages is a list"),
    ("[variants.a]\nstages = []", "variant a: stages is a list"),
    ("[variants.a]\nratio = 4", "variant a has no ratio; there are attention, place, stages, squeeze"),
    ("[variants.a]\nreduction = 0", "variant a: .*reduction.* must be at least 1"),
    ("[variants.a]\nattention = 'sk'\nbranches = 100000", "variant a: branches cannot be more than 32"),
    ("[recipe]\nwidths = [1024, 1024, 1024, 1024]\n[variants.a]\nattention = 'sk'\nbranches = 4",
     r"variant a has [\d,]{11,} parameters, and cannot have more than 500,000,000"),
    ("[variants.a]\nmin_width = 100000", "variant a: min_width cannot be more than 4,096"),
    ("[variants.a]\nreduction = true", "variant a: reduction cannot be True"),
    ("[variants.a]\nbias = 1", "variant a: bias cannot be 1"),
    ("[variants.a]\nsqueeze = 'median'", "variant a: squeeze must be one of avg, max, not 'median'"),
    ("[variants.a]\nattention = 'eca'\nreduction = 4", "variant a: attention 'eca' has no reduction"),
    ("[variants.a]\nattention = 'none'\nplace = 'pre'", "variant a has no attention, and so no place"),
    ("[variants.a]\nattention = 'sk'\nplace = 'pre'", "variant a: .* so place cannot be 'pre'"),
    ("[variants.a]\nattention = 'sk'\ngroups = 7", r"variant a: groups \(7\) must divide"),
    ("[variants.a]\nattention = 'parallel'\nplace = 'post'", "variant a: .* so place cannot be 'post'"),
    ("[variants.a]\n[variants.b]\nattention = 'se'", "the variants a and b are the same"),
])
def test_plans_that_make_no_sense(text, sentence, tmp_path):
    with pytest.raises(PlanError, match=sentence) as caught:
        parse_plan(text)
    assert "\n" not in str(caught.value)
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError, match=r"plan\.toml: "):
        read_plan(path)
    assert len(str(caught.value)) < 250


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_plan(tmp_path / "plan.toml")
    (tmp_path / "plan.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError):
        read_plan(tmp_path / "plan.toml")


def test_what_is_said_in_the_embedded_plan_of_hidden_layers(embedded):
    assert tomllib.loads(EMBEDDED.read_text())["recipe"]["min_width"] == 4
    assert [hidden(c, 16) for c in (32, 64, 128, 256)] == [4, 4, 8, 16]
    network = embedded.variants["se"].build(embedded.recipe, 2)
    assert [network.get_submodule(f"layer{i}.0.se.reduce").out_features for i in (1, 2, 3, 4)] == [4, 4, 8, 16]
