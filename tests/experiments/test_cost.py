"""Costs against the papers' numbers and the formula, by hand."""
import numpy as np
import pandas as pd
import pytest
from torch import nn

from senet_viz import models
from senet_viz.experiments import cost
from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.reports import papers

BLOCKS = ((3, 256), (4, 512), (6, 1024), (3, 2048))  # of SE-ResNet-50: units and channels


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("reduction", [2, 16, 64])
@pytest.mark.parametrize("bias", [False, True])
def test_squeeze_and_excitation_is_the_papers_formula(reduction, bias):
    found = cost.se_cost(reduction, bias=bias)
    by_formula = sum(2 * n * c * c // reduction + bias * n * (c + c // reduction) for n, c in BLOCKS)
    assert found.attention == by_formula == sum(
        n * count(SqueezeExcite(c, reduction, bias=bias)) for n, c in BLOCKS)
    assert found.parameters - found.attention == 25_557_032  # ResNet-50
    assert found.share == pytest.approx(by_formula / (25_557_032 + by_formula))
    assert found.macs - found.macs_without == sum(2 * n * c * c // reduction for n, c in BLOCKS)


def test_the_papers_networks():
    assert cost.se_cost(bias=True).parameters == 28_088_024 == count(models.se_resnet50())
    assert cost.se_cost(bias=True).macs / 1e9 == pytest.approx(3.86, abs=5e-3)
    assert cost.sk_cost().parameters == 27_479_784 and cost.sk_cost().macs / 1e9 == pytest.approx(4.463, abs=5e-4)
    table = cost.networks().set_index("name")
    assert dict(table["top1"]) == papers.NETWORKS
    assert table.loc["SKNet-101", "parameters"] == 48_736_040 and table.loc["SENet-101", "parameters"] == 48_955_416
    assert table.loc["SENet-50", "parameters"] == 27_559_896
    assert table.loc["SKNet-50, three kernels", "parameters"] / 1e6 == pytest.approx(29.3, abs=0.06)
    plain = table[table.index.str.startswith("ResNeXt")]
    assert not plain["attention"].any() and plain["parameters"].tolist() == [25_028_904, 44_177_704]


@pytest.mark.parametrize("options", [(3, 32, 16, 32, 128), (2, 1, 2, 8, 64), (5, 64, 64, 128, 64)])
def test_selective_kernels_are_their_layers(options):
    branches, groups, reduction, least, width = options
    found, expected = cost.sk_cost(*options), 0
    for stage, units in enumerate((3, 4, 6, 3)):
        c = width << stage
        layer = SelectiveKernel(c, groups=groups, branches=branches, reduction=reduction, min_width=least)
        plain = nn.Sequential(nn.Conv2d(c, c, 3, groups=groups, bias=False), nn.BatchNorm2d(c))
        expected += units * (count(layer) - count(plain))
        row = found.table.iloc[1 + stage]
        assert (row["units"], row["channels"], row["hidden"]) == (units, c, max(c // reduction, least))
    assert found.attention == expected and found.macs > found.macs_without


def test_other_widths_and_impossible_ones():
    assert cost.se_cost(width=32).attention == cost.se_cost().attention // 4
    assert cost.se_cost(width=32).table["channels"].tolist() == [0, 128, 256, 512, 1024, 0]
    with pytest.raises(ValueError, match="must divide"):
        cost.sk_cost(groups=48)


def test_the_table_of_reductions():
    table = cost.reductions()
    assert (table["parameters"] / 1e6).tolist() == pytest.approx(table["published"].tolist(), abs=0.12)
    assert table[["name", "reduction", "top1", "top5", "published"]].equals(papers.REDUCTIONS)
    assert (table["attention"] == table["parameters"] - 25_557_032).all()


def test_sixteen_is_not_the_most_accurate_but_the_best_balance():
    text = cost.balance(cost.reductions())
    assert "r = 2, 4, 8 and 16 lie within 0.04 points" in text
    assert "22.25 %, is that of **r = 4**, not of r = 16 (22.28 %)" in text
    assert "What sets **r = 16** apart" in text and "28.1 M parameters, where r = 2 takes 45.7 M" in text
    assert "r = 32 saves another 1.26 M and costs +0.44 points." in text
    other = pd.DataFrame({"name": ["no SE", "r = 2", "r = 4"], "reduction": [0, 2, 4], "top1": [30.0, 20.5, 20.45],
                          "parameters": [1e6, 3e6, 2e6], "attention": [0, 2e6, 1e6]})
    text = cost.balance(other)  # were it otherwise, it would say so
    assert "is that of **r = 4**. What sets **r = 4** apart" in text and "saves another" not in text


def test_squeeze_and_scaling_are_what_the_papers_count_leaves_out():
    found = cost.se_cost()
    by_hand = sum(n * c * side * side for (n, c), side in zip(BLOCKS, (56, 28, 14, 7)))
    assert found.pointwise == 2 * by_hand  # each value is added to a mean and multiplied by a gate
    assert (found.macs + found.pointwise) / found.macs_without - 1 == pytest.approx(0.0035, abs=5e-5)
    assert "+0.07% to its 3.858 G" in cost.describe(found) and "a value of a map, +0.35%." in cost.describe(found)
    text = cost.published_se(16, 64)
    assert "The paper's +0.26% of operations is the ratio of two rounded numbers, 3.87 and 3.86 GFLOPs" in text
    assert "from none to +0.52%; with squeeze and scaling counted SE adds +0.35%." in text
    assert (3.87 / 3.86 - 1, 3.875 / 3.855 - 1) == pytest.approx((0.0026, 0.0052), abs=2e-5)
    assert all("rounded" not in cost.published_se(*choice) for choice in ((4, 64), (16, 32)))
    sides = [128 * 56**2, 256 * 28**2, 512 * 14**2, 1024 * 7**2]
    for branches in (2, 3):  # a squeeze, M products, M - 1 maps added before it and as many products after it
        assert cost.sk_cost(branches=branches).pointwise == sum(
            n * values * 2 * branches for (n, _), values in zip(BLOCKS, sides))


@pytest.mark.parametrize(("name", "without", "attention"), [  # of the papers' own definitions
    ("ResNet-50", 25_557_032, 2_530_992), ("ResNet-152", 60_192_808, 6_629_040), ("BN-Inception", 11_285_224, 646_398),
    ("MobileNet", 4_231_976, 486_068), ("VGG-16 with BN", 138_365_992, 230_792), ("SENet-154", 108_459_944, 6_629_040)])
def test_published_networks_stand_beside_their_counts(name, without, attention):
    table = cost.se_networks()
    assert table[list(papers.SE_NETWORKS)].equals(papers.SE_NETWORKS) and len(table) == 11
    row = table.set_index("name").loc[name]
    assert (row["parameters"] - row["attention"], row["attention"]) == (without, attention)
    if name == "ResNet-50":
        assert row["attention_macs"] == sum(2 * n * c * c // 16 for n, c in BLOCKS)
        assert row["macs"] == cost.se_cost(bias=True).macs
        assert (row["top1"], row["se_top1"], row["gain"]) == pytest.approx((24.80, 23.29, 1.51))
    text = cost.describe_se_networks(table)
    assert "lower in 10 of 10 networks; the gain runs from 0.48 (ResNeXt-101) to 3.10 points (MobileNet)" in text


def test_stages_and_places_are_counted_by_hand():
    table = cost.ablations().set_index(["question", "choice"])
    added = table["attention"]
    for stage, (units, channels) in enumerate(BLOCKS[:3], 2):
        assert added["stages with SE", f"stage {stage}"] == 2 * units * channels**2 // 16
    assert added["stages with SE", "no SE"] == 0 and added["stages with SE", "all stages"] == 2_514_944
    # before a unit stand its input's channels, and behind its 3×3 a quarter of the output's
    entering = [64, 256, 256, *[256], *[512] * 3, 512, *[1024] * 5, 1024, 2048, 2048]
    assert added["placement", "PRE"] == sum(2 * c * c // 16 for c in entering)
    assert added["placement", "3×3"] == sum(2 * n * (c // 4)**2 // 16 for n, c in BLOCKS)
    assert {added["placement", place] for place in ("standard", "POST", "Identity")} == {2_514_944}
    known = table.dropna(subset="published")
    assert (known["parameters"] / 1e6).tolist() == pytest.approx(known["published"].tolist(), abs=0.12)
    none = table[table["note"] == cost.NOT_BUILT]
    assert len(none) == 1 and none[["parameters", "attention", "macs"]].isna().all(axis=None)
    text = cost.describe_choices(cost.ablations())
    assert "Placement: lowest with Identity (22.20 %); within 0.1 points of it standard (22.28 %), PRE" in text


def test_kernels_and_competitors_beside_their_counts():
    table = cost.kernels().set_index(["question", "choice"])
    parameters = table["parameters"]
    assert {parameters["kernels", f"{k}×{k} alone"] for k in (3, 5, 7)} == {25_028_904}  # dilated: no more weights
    more = sum(n * (9 * c * c // 32 + 2 * c) for n, c in zip((3, 4, 6, 3), (128, 256, 512, 1024)))
    assert parameters["kernels", "3×3 + 5×5, summed"] == 25_028_904 + more
    assert parameters["kernels", "3×3 + 5×5, SK"] == parameters["second branch", "dilation 3, 32 groups (as 7×7)"] == (
        27_479_784)
    assert parameters["kernels", "3×3 + 5×5 + 7×7, SK"] / 1e6 == pytest.approx(29.3, abs=0.06)
    wider = sum(n * c * c * (25 / 64 - 9 / 32) for n, c in zip((3, 4, 6, 3), (128, 256, 512, 1024)))
    assert parameters["second branch", "true 5×5, 64 groups"] == 27_479_784 + wider
    assert "Kernels: lowest with 3×3 + 5×5 + 7×7, SK (20.76 %); within 0.1 points of it 3×3 + 5×5, SK (20.79 %)." in (
        cost.describe_choices(cost.kernels()))
    table = cost.competitors().set_index("name")
    assert table.loc["SKNet-50", ["top1", "top1_320", "parameters"]].tolist() == [20.79, 19.32, 27_479_784]
    built = table[table["note"] == ""]
    assert set(built.index) == {"Inception-v3", "Inception-ResNet-v2", *(
        f"{net}-{depth}" for net in ("ResNeXt", "SENet", "SKNet") for depth in (50, 101))}
    rest = table.drop(built.index)
    assert (rest["note"] == cost.NOT_BUILT).all() and rest[["parameters", "macs"]].isna().all(axis=None)
    papers_own = built.drop(["Inception-v3", "Inception-ResNet-v2"])  # of those two there are several versions
    np.testing.assert_allclose(papers_own["parameters"] / 1e6, papers_own["published"], rtol=0.006)
    np.testing.assert_allclose(papers_own["macs"] / 1e9, papers_own["published_macs"], rtol=0.006)
    assert {name: table.loc[name, "top1"] for name in papers.NETWORKS if name in table.index} == {
        name: top1 for name, top1 in papers.NETWORKS.items() if "three" not in name}


def test_published_errors_are_of_the_very_choice():
    assert "r = 4 the SE paper publishes a top-1 error of 22.25 %, and of 23.30 %" in cost.published_se(4, 64)
    assert "no error" in cost.published_se(4, 32) and "no error" in cost.published_se(64, 64)
    assert "20.79 %" in cost.published_sk(2, 32, 16, 32, 128) and "20.76 %" in cost.published_sk(3, 32, 16, 32, 128)
    assert all("no error" in cost.published_sk(*choice) for choice in (
        (4, 32, 16, 32, 128), (2, 16, 16, 32, 128), (2, 32, 16, 32, 64)))


def test_sentences_and_the_formula_are_the_table():
    found = cost.se_cost(bias=True)
    assert cost.formula(found, 16) == (
        r"\begin{gathered}\frac{2}{r} \sum_s N_s C_s^2 \\ {\small = \frac{2}{16} \left(3 \cdot 256^2 + 4 \cdot 512^2 "
        r"+ 6 \cdot 1024^2 + 3 \cdot 2048^2\right)} \\ = 2{,}514{,}944,\quad "
        r"\text{and } 16{,}048 \text{ biases}\end{gathered}")
    assert "biases" not in cost.formula(cost.se_cost(), 16)
    text = cost.describe(cost.se_cost())
    assert "adds 2,514,944 parameters to a network of 25,557,032, +9.8%" in text
    assert "in the 3 units of the last stage, whose hidden layers have 128 units for 2,048 channels" in text
