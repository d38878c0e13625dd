"""Each table against numpy on views written out by hand, and against forwards of small networks."""
import math

import numpy as np
import pandas as pd
import pytest
import torch

from senet_viz import tables
from senet_viz.gates import AttentionBlock, View, contribution_points, inspect
from senet_viz.models import slim_resnet50
from tests.gates import test_spaces as spaces


def block(name="a", kind="SE", channels=4, kernels=(), stage=2, index=1, known=True, shortcut=None) -> AttentionBlock:
    return AttentionBlock(
        name=name, label=f"{kind}_{stage}_{index}", kind=kind, channels=channels, branches=max(1, len(kernels)),
        kernels=tuple(kernels) if kernels and known else None, stage=stage, index=index, gate=f"{name}.gate",
        paths=tuple(f"{name}.{m}" for m in range(len(kernels))), shortcut=shortcut)


def view(gates: dict[AttentionBlock, list], logits=(0.0, 1.0), features=None, weights=None) -> View:
    """Of one picture; a gate is (C,) or (M, C)."""
    shaped = {b.name: torch.tensor(np.atleast_2d(g), dtype=torch.float32)[None] for b, g in gates.items()}
    return View(torch.tensor([logits], dtype=torch.float32), shaped, features or {}, {}, weights or {}, list(gates))


def network(attention: str):
    torch.manual_seed(3)
    module = slim_resnet50(attention, num_classes=7, widths=(8, 8, 12, 16)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 1:  # BN and biases: away from the zeros and ones they start with
                parameter.uniform_(0.5, 1.5)
    return module


@pytest.fixture(scope="module", params=["se", "sk"])
def real(request):
    """A network, and two pictures in it with all that tables need."""
    module = network(request.param)
    batches = torch.randn(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    points = contribution_points(inspect(module, batches[0]).blocks)
    outputs = [(b.name, "output") for b in inspect(module, batches[0]).blocks]
    return module, {name: inspect(module, batch, targets=[2], layers=outputs, features=[*points, *outputs])
                    for name, batch in zip(("first", "second"), batches)}


# predictions

def test_predictions_are_the_softmax_in_order():
    logits = [1.0, 3.0, -2.0, 0.5]
    table = tables.predictions({"x": view({block(): np.ones(4)}, logits)}, ["a", "b", "c", "d"], top=3)
    shares = np.exp(logits) / np.exp(logits).sum()
    assert table["class"].tolist() == ["b", "a", "d"] and table["index"].tolist() == [1, 0, 3]
    assert table["rank"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(table["probability"], shares[[1, 0, 3]], rtol=1e-6)


def test_predictions_of_fewer_classes_than_asked_for_list_them_all():
    table = tables.predictions({n: view({block(): np.ones(4)}, (0.0, 2.0)) for n in "xy"}, ["a", "b"])
    assert table["picture"].tolist() == ["x", "x", "y", "y"]
    assert table["class"].tolist() == ["b", "a"] * 2


# gates

def test_gates_list_every_channel_branch_and_picture():
    sk = block(kind="SK", channels=3, kernels=(3, 5))
    values = {"x": [[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]], "y": [[0.5, 0.5, 0.4], [0.5, 0.5, 0.6]]}
    table = tables.gates({n: view({sk: g}) for n, g in values.items()}, sk)
    assert list(table.columns) == ["picture", "branch", "kernel", "channel", "value"] and len(table) == 12
    for row in table.itertuples():
        assert row.value == pytest.approx(values[row.picture][row.branch][row.channel])
        assert row.kernel == ("3×3", "5×5")[row.branch]
    assert not table.duplicated(["picture", "branch", "channel"]).any()


@pytest.mark.parametrize(("made", "names"), [
    (block(), [""]),
    (block(kernels=(3, 5)), ["3×3", "5×5"]),
    (block(kernels=(1, 3), known=False), ["branch 0", "branch 1"]),
])
def test_kernel_name(made, names):
    assert [tables.kernel_name(made, m) for m in range(made.branches)] == names


def test_the_last_kernel_can_be_asked_for_from_the_end():
    assert tables.kernel_name(block(kernels=(3, 5, 7)), -1) == "7×7"
    assert tables.kernel_name(block(kernels=(3, 5, 7), known=False), -1) == "branch 2"


# summary

def test_quantities_of_a_gate_and_of_kernels():
    assert tables.quantities(block()) == ["gate"]
    assert tables.quantities(block(kernels=(3, 5))) == ["weight of 3×3", "weight of 5×5", "5×5 − 3×3"]
    assert tables.quantities(block(kernels=(1, 3, 5)))[-2:] == ["weight of 5×5", "5×5 − 1×1"]


def test_a_quantity_is_one_value_a_channel_and_picture():
    sk = block(kind="SK", channels=2, kernels=(3, 5))
    views = {"y": view({sk: [[0.25, 0.5], [0.75, 0.5]]}), "a": view({sk: [[1.0, 0.0], [0.0, 1.0]]})}
    for name, expected in (("weight of 3×3", [0.25, 0.5, 1, 0]), ("weight of 5×5", [0.75, 0.5, 0, 1]),
                           ("5×5 − 3×3", [0.5, 0, -1, 1])):
        table = tables.quantity(views, sk, name)
        assert table["value"].tolist() == expected and table["channel"].tolist() == [0, 1, 0, 1]
        assert table["picture"].tolist() == ["y", "y", "a", "a"]  # pictures in their own order
    assert list(tables.kernel_difference(views, sk).columns) == ["picture", "channel", "value"]
    with pytest.raises(ValueError, match=r"SK_2_1 has weight of 3×3, .* not 'gate'"):
        tables.quantity(views, sk, "gate")


def test_branches_of_equal_kernels_are_told_apart():
    twins = block(kind="SK", channels=1, kernels=(3, 3))
    views = {"x": view({twins: [[0.25], [0.75]]})}
    names = tables.quantities(twins)
    assert names == ["weight of 3×3 (branch 0)", "weight of 3×3 (branch 1)", "3×3 (branch 1) − 3×3 (branch 0)"]
    assert [tables.quantity(views, twins, name)["value"].tolist() for name in names] == [[0.25], [0.75], [0.5]]


@pytest.mark.parametrize("kernels", [(3, 5), (3, 5, 7), (5, 3), (3, 3), (3, 5, 3), None])
def test_a_kernel_is_called_larger_where_it_is(kernels):
    unit = block(kind="SK", channels=1, kernels=kernels or (3, 5), known=kernels is not None)
    last, first = tables.last_and_first([block(channels=1), unit])
    assert (last == "larger kernel") == (first == "smaller kernel") == bool(kernels and kernels[-1] > kernels[0])
    names = [tables.kernel_name(unit, m) for m in range(unit.branches)]
    assert len(set(names)) == unit.branches and tables.kernel_name(unit, -1) == names[-1]
    assert tables.last_and_first([unit, block(kind="SK", channels=1, kernels=(3, 5))]) == (last, first)


def test_summary_by_hand():
    values = np.array([0.0, 0.1, 0.2, 0.3, 1.0])
    row = tables.summary({"x": view({block(channels=5): values})}).iloc[0]
    assert row["mean"] == pytest.approx(0.32)
    assert row["std"] == pytest.approx(math.sqrt(((values - 0.32) ** 2).sum() / 5))  # of the population
    # linear interpolation between order statistics: position q · 4
    assert (row["min"], row["q25"], row["median"], row["q75"], row["max"]) == pytest.approx((0, 0.1, 0.2, 0.3, 1))
    assert row["q05"] == pytest.approx(0.2 * 0.1) and row["q95"] == pytest.approx(0.3 + 0.8 * 0.7)
    assert (row["below"], row["above"]) == (0.2, 0.2)


def test_saturation_begins_beyond_the_limits_not_at_them():
    low, high = np.float32(0.05), np.float32(0.95)
    values = [np.nextafter(low, np.float32(0)), np.nextafter(low, np.float32(1)), 0.5, 0.5,
              np.nextafter(high, np.float32(0)), np.nextafter(high, np.float32(1))]
    row = tables.summary({"x": view({block(channels=6): values})}).iloc[0]
    assert row["below"] == pytest.approx(1 / 6) and row["above"] == pytest.approx(1 / 6)


@pytest.mark.parametrize(("values", "below", "above"), [
    ([0.0, 1.0, 0.0, 1.0], 0.5, 0.5),       # a hard sigmoid's
    ([-1.0, -0.2, 0.3, 1.0], 0.5, 0.25),    # a tanh's
    ([0.5] * 4, 0.0, 0.0),
])
def test_saturated_shares(values, below, above):
    row = tables.summary({"x": view({block(): values})}).iloc[0]
    assert (row["below"], row["above"]) == (below, above)


def test_summary_has_a_row_a_picture_block_and_branch_in_order():
    se, sk = block("a", stage=2), block("b", kind="SK", kernels=(3, 5), stage=3)
    table = tables.summary({n: view({se: np.full(4, 0.25), sk: np.full((2, 4), 0.5)}) for n in ("y", "x")})
    assert table["picture"].tolist() == ["y"] * 3 + ["x"] * 3
    assert table["label"].tolist() == ["SE_2_1", "SK_3_1", "SK_3_1"] * 2
    assert table["branch"].tolist() == [0, 0, 1] * 2 and table["kernel"].tolist() == ["", "3×3", "5×5"] * 2
    assert table["stage"].tolist() == [2, 3, 3] * 2 and (table["channels"] == 4).all()
    assert (table["std"] == 0).all()


def test_summary_of_a_network(real):
    _, views = real
    table = tables.summary(views).set_index(["picture", "block", "branch"])
    assert len(table) == 2 * sum(b.branches for b in views["first"].blocks)
    for (picture, name, branch), row in table.iterrows():
        values = views[picture].gates[name][0, branch].numpy().astype(np.float64)
        expected = [values.mean(), values.std(), *np.percentile(values, [0, 5, 25, 50, 75, 95, 100])]
        np.testing.assert_allclose(
            row[["mean", "std", "min", "q05", "q25", "median", "q75", "q95", "max"]].astype(float), expected, rtol=1e-9)


# differences

def test_differences_are_ordered_by_magnitude_over_all_blocks():
    a, b = block("a", stage=2), block("b", stage=3)
    first = view({a: [0.1, 0.2, 0.3, 0.4], b: [0.5, 0.5, 0.5, 0.5]})
    second = view({a: [0.1, 0.9, 0.3, 0.3], b: [0.5, 0.0, 0.8, 0.5]})
    table = tables.differences(first, second, top=4)
    assert table["label"].tolist() == ["SE_2_1", "SE_3_1", "SE_3_1", "SE_2_1"]
    assert table["channel"].tolist() == [1, 1, 2, 3]
    np.testing.assert_allclose(table["difference"], [0.7, -0.5, 0.3, -0.1], rtol=1e-5)
    np.testing.assert_allclose(table["first"], [0.2, 0.5, 0.5, 0.4], rtol=1e-6)
    np.testing.assert_allclose(table["second"], [0.9, 0.0, 0.8, 0.3], rtol=1e-6)
    assert table.index.tolist() == [0, 1, 2, 3]


def test_two_branches_mirror_each_other_and_are_listed_once_with_the_larger_kernel():
    sk = block(kind="SK", channels=3, kernels=(3, 5))
    first, second = np.array([[0.2, 0.5, 0.6]]), np.array([[0.3, 0.1, 0.6]])
    table = tables.differences(view({sk: np.vstack([1 - first, first])}), view({sk: np.vstack([1 - second, second])}))
    assert len(table) == 3 and (table["kernel"] == "5×5").all() and (table["branch"] == 1).all()
    assert table["channel"].tolist() == [1, 0, 2]
    np.testing.assert_allclose(table["difference"], [-0.4, 0.1, 0.0], atol=1e-6)


def test_three_branches_are_all_listed():
    sk = block(kind="SK", channels=2, kernels=(3, 5, 7))
    table = tables.differences(view({sk: [[0.2, 0.3], [0.3, 0.3], [0.5, 0.4]]}),
                               view({sk: [[0.1, 0.3], [0.7, 0.3], [0.2, 0.4]]}))
    assert table["kernel"].tolist()[:3] == ["5×5", "7×7", "3×3"] and len(table) == 6
    assert table["branch"].tolist()[:3] == [1, 2, 0] and table["channel"].tolist()[:3] == [0, 0, 0]
    np.testing.assert_allclose(table["difference"], [0.4, -0.3, -0.1, 0, 0, 0], atol=1e-6)


def test_differences_of_equal_pictures_keep_the_networks_order():
    a = block(channels=5)
    same = view({a: np.linspace(0, 1, 5)})
    table = tables.differences(same, same, top=3)
    assert table["channel"].tolist() == [0, 1, 2] and (table["difference"] == 0).all()


def test_differences_of_a_network(real):
    _, views = real
    first, second = views["first"], views["second"]
    table = tables.differences(first, second, top=30)
    everything = []
    for b in first.blocks:
        for m in range(b.branches):
            if b.branches != 2 or m == 1:
                change = (second.gates[b.name][0, m] - first.gates[b.name][0, m]).tolist()
                everything += [(abs(d), b.label, m, c, d) for c, d in enumerate(change)]
    largest = sorted(everything, reverse=True)[:30]
    np.testing.assert_allclose(table["difference"].abs(), [row[0] for row in largest], rtol=1e-6)
    known = {row[1:4]: row[4] for row in everything}
    for row in table.itertuples():
        assert row.difference == pytest.approx(known[row.label, row.branch, row.channel])


# kernel_preference

def test_kernel_preference_is_the_largest_minus_the_smallest():
    two, three = block("a", "SK", 2, (3, 5)), block("b", "SK", 2, (3, 5, 7), stage=3)
    table = tables.kernel_preference({"x": view({
        two: [[0.2, 0.4], [0.8, 0.6]], block("c"): np.ones(4), three: [[0.5, 0.1], [0.2, 0.8], [0.3, 0.1]]})})
    assert table["label"].tolist() == ["SK_2_1", "SK_3_1"]  # the SE block weighs no branches
    np.testing.assert_allclose(table["difference"], [0.4, -0.1], atol=1e-7)
    assert table["smallest"].tolist() == ["3×3", "3×3"] and table["largest"].tolist() == ["5×5", "7×7"]


def test_kernel_preference_without_branches_is_an_empty_table():
    table = tables.kernel_preference({"x": view({block(): np.ones(4)})})
    assert table.empty and "difference" in table.columns


# contributions

def contribution_view(shortcut: bool):
    se = block(channels=2, shortcut="unit" if shortcut else None)
    u = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 2.0], [0.0, 0.0]]])[None]  # ‖U‖² = 25 + 4
    features = {("a", "input"): u}
    if shortcut:
        features["a", "shortcut"] = torch.tensor([[[[6.0, 8.0]]]])
    return view({se: [0.5, 1.0]}, features=features)


def test_contributions_by_hand():
    row = tables.contributions({"x": contribution_view(True)}).iloc[0]
    after = math.sqrt(0.25 * 25 + 4)
    assert row["before"] == pytest.approx(math.sqrt(29)) and row["after"] == pytest.approx(after)
    assert row["shortcut"] == pytest.approx(10) and row["share"] == pytest.approx(after / (after + 10))
    assert row["gate"] == pytest.approx(0.75) and row["kept"] == pytest.approx(after / math.sqrt(29))


def test_contributions_without_a_shortcut_have_no_share():
    row = tables.contributions({"x": contribution_view(False)}).iloc[0]
    assert math.isnan(row["shortcut"]) and math.isnan(row["share"])
    assert row["after"] == pytest.approx(math.sqrt(0.25 * 25 + 4))
    assert row["kept"] == pytest.approx(row["after"] / row["before"])


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_contributions_of_a_map_of_zeros(gate):
    se = block(channels=1, shortcut="unit")
    nothing = torch.zeros(1, 1, 2, 2)
    features = {("a", "input"): nothing, ("a", "shortcut"): nothing}
    row = tables.contributions({"x": view({se: [gate]}, features=features)}).iloc[0]
    assert row["after"] == 0 and math.isnan(row["share"]) and math.isnan(row["kept"])  # no ZeroDivisionError


def test_contributions_of_branches_by_hand():
    sk = block(kind="SK", channels=2, kernels=(3, 5, 7))
    maps = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])  # (M, C), of 1×1
    gate = np.array([[0.5, 0.25], [0.25, 0.5], [0.25, 0.25]])
    features = {("a", m): maps[m].view(1, 2, 1, 1) for m in range(3)}
    table = tables.contributions({"x": view({sk: gate}, features=features)})
    after = [math.hypot(1.5, 1.0), 1.0, 0.25]
    np.testing.assert_allclose(table["before"], [5, 2, 1])
    np.testing.assert_allclose(table["after"], after)
    np.testing.assert_allclose(table["share"], np.array(after) / sum(after))
    assert table["shortcut"].isna().all() and table["kernel"].tolist() == ["3×3", "5×5", "7×7"]


def test_contributions_of_a_network(real):
    module, views = real
    seen = {}
    handles = [part.register_forward_hook(lambda _, args, output, path=path: seen.__setitem__(path, (args[0], output)))
               for path, part in module.named_modules()]
    picture = torch.randn(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(5))[1]
    with torch.no_grad():
        module(picture)
    for handle in handles:
        handle.remove()
    table = tables.contributions(views)
    table = table[table["picture"] == "second"].set_index(["block", "branch"])
    for b in views["second"].blocks:
        unit = b.name.rpartition(".")[0]
        if b.branches == 1:
            row = table.loc[b.name, 0]
            norms = [np.linalg.norm(seen[path][side].numpy())
                     for path, side in ((b.name, 0), (b.name, 1), (f"{unit}.downsample", 1))]
            np.testing.assert_allclose(row[["before", "after", "shortcut"]].astype(float), norms, rtol=1e-4)
            assert row["share"] == pytest.approx(norms[1] / (norms[1] + norms[2]), rel=1e-4)
        else:
            rows = table.loc[b.name]
            maps = [seen[path][1].numpy()[0] for path in b.paths]
            gate = views["second"].gates[b.name][0].numpy()
            after = [np.linalg.norm(a[:, None, None] * u) for a, u in zip(gate, maps)]
            np.testing.assert_allclose(rows["before"], [np.linalg.norm(u) for u in maps], rtol=1e-4)
            np.testing.assert_allclose(rows["after"], after, rtol=1e-4)
            assert rows["share"].sum() == pytest.approx(1)


# gate_change

def test_gate_change_by_hand():
    se = block(channels=2)
    u = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]]])[None]  # (1, 2, 1, 2)
    alpha = torch.tensor([[[2.0, -1.0], [9.0, 9.0]]])  # of two classes; the first is taken
    given = view({se: [0.5, 0.0]}, features={("a", "input"): u}, weights={("a", "output"): alpha})
    before, after = tables.gate_change(given, se)
    np.testing.assert_allclose(before, [[2 - 3, 4 + 1]])  # signed: no ReLU
    np.testing.assert_allclose(after, [[1.0, 2.0]])
    other, _ = tables.gate_change(given, se, weights=torch.tensor([[[0.0, 1.0]]]))
    np.testing.assert_allclose(other, [[3, -1]])


def test_gate_change_of_branches_starts_from_a_uniform_mixture():
    sk = block(kind="SK", channels=1, kernels=(3, 5, 7))
    features = {("a", m): torch.full((1, 1, 1, 1), float(m)) for m in range(3)}
    given = view({sk: [[0.1], [0.2], [0.7]]}, features=features, weights={("a", "output"): torch.tensor([[[2.0]]])})
    before, after = tables.gate_change(given, sk)
    assert before.item() == pytest.approx(2 * (0 + 1 + 2) / 3) and after.item() == pytest.approx(2 * (0.2 + 1.4))


def test_gate_change_of_a_network(real):
    _, views = real
    for seen in views.values():
        for b in seen.blocks:
            alpha, gate = seen.weights[b.name, "output"][0, 0].numpy(), seen.gates[b.name][0].numpy()
            if b.branches == 1:
                u = seen.features[b.name, "input"][0].numpy()
                expected = np.einsum("c,chw->hw", alpha, u)
            else:
                u = np.stack([seen.features[b.name, m][0].numpy() for m in range(b.branches)])
                expected = np.einsum("c,mchw->hw", alpha, u) / b.branches
            before, after = tables.gate_change(seen, b)
            scale = max(np.abs(expected).max(), np.abs(after).max())
            np.testing.assert_allclose(before, expected, atol=1e-5 * scale)
            # with the gate it is the class's evidence in what the block really handed on
            np.testing.assert_allclose(
                after, np.tensordot(alpha, seen.features[b.name, "output"][0].numpy(), 1), atol=1e-5 * scale)
            assert gate.shape == (b.branches, b.channels)


@pytest.mark.parametrize(("before", "after", "expected"), [
    ([[1, 2], [3, 4]], [[2, 4], [6, 8]], (2, 1)),       # only scaled
    ([[1, 0], [0, 0]], [[0, 3], [0, 0]], (3, 0)),
    ([[1, 1]], [[-0.5, -0.5]], (0.5, -1)),
    ([[3, 4]], [[4, 3]], (1, 24 / 25)),
])
def test_change_of_form(before, after, expected):
    assert tables.change_of_form(np.array(before), np.array(after)) == pytest.approx(expected)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (0, 0)])
def test_change_of_form_of_an_empty_map_is_nan(before, after):
    assert all(math.isnan(v) for v in tables.change_of_form(np.full((2, 2), before), np.full((2, 2), after)))


# channel_maps

def test_channel_maps_by_hand():
    se, sk = block("a", channels=2), block("b", "SK", 2, (3, 5))
    u = torch.arange(8.0).view(1, 2, 2, 2)
    given = view({se: [0.5, 0.25], sk: [[0.1, 0.75], [0.9, 0.25]]},
                 features={("a", "input"): u, ("b", 0): u, ("b", 1): 10 * u})
    before, after = tables.channel_maps(given, se, 1)
    np.testing.assert_array_equal(before, [[4, 5], [6, 7]])
    np.testing.assert_array_equal(after, [[1, 1.25], [1.5, 1.75]])
    first, second, chosen = tables.channel_maps(given, sk, 1)
    np.testing.assert_array_equal(second, 10 * first)
    np.testing.assert_allclose(chosen, 0.75 * first + 0.25 * second)


@pytest.mark.parametrize("kernels", [(), (3, 5), (1, 3, 5)])
def test_every_channel_map_has_a_name(kernels):
    made = block(kernels=kernels)
    names = tables.channel_map_names(made)
    assert len(names) == len(set(names)) == (made.branches + 1 if kernels else 2)
    assert names[-1] == ("selected sum" if kernels else "after the gate")


def test_channel_maps_of_a_network_end_with_its_own_output(real):
    _, views = real
    for seen in views.values():
        for b in seen.blocks:
            *_, after = tables.channel_maps(seen, b, b.channels - 1)
            expected = seen.features[b.name, "output"][0, -1].numpy()
            np.testing.assert_allclose(after, expected, atol=1e-5 * max(np.abs(expected).max(), 1e-6))


# cells, channels

def test_cells():
    table = tables.cells({"x": {"one": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), "two": np.array([[7.0]])},
                          "y": {"one": np.array([[8.0]])}})
    assert table.to_numpy().tolist() == [
        ["x", "one", 0, 0, 1.0], ["x", "one", 0, 1, 2.0], ["x", "one", 0, 2, 3.0],
        ["x", "one", 1, 0, 4.0], ["x", "one", 1, 1, 5.0], ["x", "one", 1, 2, 6.0],
        ["x", "two", 0, 0, 7.0], ["y", "one", 0, 0, 8.0]]
    assert list(table.columns) == ["picture", "map", "row", "column", "value"]


def test_channel_ranks_count_the_higher_ones_so_that_ties_share_a_rank():
    sk = block(kind="SK", kernels=(3, 5))
    views = {"x": view({sk: [[0.4, 0.9, 0.4, 0.1], [0.6, 0.1, 0.6, 0.9]]}), "y": view({sk: [[0.5] * 4, [0.5] * 4]})}
    table = tables.channel_ranks(views, sk, channel=2)
    assert table["rank"].tolist() == [2, 1] and table["channels"].tolist() == [4, 4]
    np.testing.assert_allclose(table["value"], [0.4, 0.5], rtol=1e-6)
    assert tables.channel_ranks(views, sk, 3, branch=1)["rank"].tolist() == [1, 1]
    assert tables.channel_ranks(views, sk, 3, branch=0)["rank"].tolist() == [4, 1]


def test_ranks_in_words():
    se, sk = block(channels=3), block(name="b", kind="SK", channels=2, kernels=(3, 5))
    views = {n: view({se: [0.1, 0.5, value], sk: [[0.2, 0.9], [0.8, 0.1]]}) for n, value in (("y", 0.3), ("a", 0.7))}
    assert tables.describe_ranks(views, se, 2) == {"y": "0.300 (#2)", "a": "0.700 (#1)"}
    assert tables.describe_ranks(views, sk, 0)["y"] == "3×3 0.200 (#2), 5×5 0.800 (#1)"


@pytest.mark.parametrize(("channels", "step", "count"), [
    (256, 6, 43), (512, 11, 47), (1024, 21, 49), (2048, 41, 50), (50, 1, 50), (51, 2, 26), (8, 1, 8)])
def test_sampled_channels_are_the_papers(channels, step, count):
    sampled = tables.sampled_channels(channels)
    assert step == math.ceil(channels / 50)
    assert sampled.tolist() == list(range(0, channels, step)) and len(sampled) == count


def test_tables_survive_csv(real, tmp_path):
    """Names with commas, quotes and line breaks come back as they were, and numbers with all their digits."""
    _, views = real
    views = {'a, "b"\nc 😀.jpg': views["first"]}
    table = tables.summary(views)
    table.to_csv(tmp_path / "table.csv", index=False)
    back = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(back, table, rtol=1e-14, check_dtype=False)


@pytest.mark.parametrize(("effect", "controls", "left"), [
    (0.3, [0.1, 0.2], 0.1), (-0.3, [-0.1, -0.2], -0.1), (0.3, [-0.9, 0.0], 0), (-0.3, [0.2], -0.1),
    (0.03, [0.01, -0.16], 0),
    (0.1, [0.1], 0), (0.1, [0.5, 0.0], 0), (-0.1, [-0.5], 0), (0.3, [math.nan, 0.1], 0.2), (0.3, [math.nan], 0.3),
    (0.3, [], 0.3), (0, [0.1, -0.1], 0)])
def test_beyond(effect, controls, left):
    assert tables.beyond(effect, *controls) == pytest.approx(left)


def test_beyond_of_nothing_is_nothing():
    assert math.isnan(tables.beyond(math.nan, 0.1))


@pytest.mark.parametrize(("channels", "points", "edges"), [
    (8, 4, [0, 2, 4, 6, 8]), (8, 16, range(9)), (10, 4, [0, 2, 5, 8, 10]), (3, 1, [0, 3])])
def test_kernel_groups(channels, points, edges):
    unit = block(kind="SK", channels=channels, kernels=(3, 5))
    values = {n: np.random.default_rng(seed).random((2, channels)) for seed, n in enumerate("xy")}
    table = tables.kernel_groups({n: view({unit: g}) for n, g in values.items()}, unit, points)
    edges = list(edges)
    assert list(table.columns) == ["picture", "branch", "kernel", "point", "value", "first", "last"]
    assert len(table) == 2 * 2 * (len(edges) - 1)
    for row in table.itertuples():
        assert (row.first, row.last) == (edges[row.point], edges[row.point + 1] - 1)
        own = values[row.picture][row.branch][row.first:row.last + 1]
        assert row.value == pytest.approx(own.mean(), abs=1e-6) and row.kernel == ("3×3", "5×5")[row.branch]


def test_kernel_groups_of_the_papers_unit():
    unit = block(kind="SK", channels=256, kernels=(3, 5))
    table = tables.kernel_groups({"x": view({unit: np.tile(np.arange(256) / 256, (2, 1))})}, unit)
    assert len(table) == 32 and set(table["last"] - table["first"]) == {15}
    np.testing.assert_allclose(table[table["branch"] == 1]["value"], (np.arange(16) * 16 + 7.5) / 256)


def test_panels_are_the_papers():
    units = {2: 3, 3: 4, 4: 6, 5: 3}
    blocks = [block(f"{s}{i}", stage=s, index=i) for s, n in units.items() for i in range(1, n + 1)]
    assert [b.label for b in tables.panels(blocks)] == ["SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3"]
    assert [b.label for b in tables.panels(blocks[:5])] == ["SE_2_3", "SE_3_1", "SE_3_2"]
    assert tables.panels(blocks[:1]) == blocks[:1]


def test_mean_maps_let_every_picture_count_alike():
    maps = {"a": {"one": np.array([[0.0, 2.0]]), "two": np.array([[0.0, 0.0]])},
            "b": {"one": np.array([[100.0, 50.0]]), "two": np.array([[4.0, 8.0]])},
            "c": {"one": np.array([[3.0, 0.0]]), "two": np.array([[1.0, 1.0]])}}
    means = tables.mean_maps(maps, {"b": "cats", "c": "dogs", "a": "cats"})
    assert list(means) == ["cats", "dogs"] and list(means["cats"]) == ["one", "two"]
    np.testing.assert_allclose(means["cats"]["one"], [[0.5, 0.75]])
    np.testing.assert_allclose(means["cats"]["two"], [[0.25, 0.5]])  # a map of zeros stays one, and counts
    np.testing.assert_allclose(means["dogs"]["one"], [[1, 0]])
    assert maps["b"]["one"].max() == 100  # left as they were


# other outputs

def test_predictions_of_one_logit_are_for_and_against():
    seen = {"x": view({block(): np.ones(4)}, (2.0,)), "y": view({block(): np.ones(4)}, (-1.0,))}
    table = tables.predictions(seen, ["cat"])
    assert table["class"].tolist() == ["for cat", "against cat", "against cat", "for cat"]
    assert table["index"].tolist() == [1, 0, 0, 1]
    of = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))]
    np.testing.assert_allclose(table["probability"], [of[0], 1 - of[0], 1 - of[1], of[1]], rtol=1e-6)
    assert tables.predictions(seen, ["cat", "dog"])["class"].tolist() == ["dog", "cat", "cat", "dog"]
    assert tables.predictions(seen, [])["class"].tolist()[:2] == ["for", "against"]


@pytest.mark.parametrize("logits", [(), (1.0, 2.0, 3.0)])
def test_no_predictions_where_logits_are_no_classes(logits):
    seen = {"x": view({block(): np.ones(4)}, logits)}
    table = tables.predictions(seen, ["a", "b"])
    assert table.empty
    assert list(table) == ["picture", "rank", "index", "class", "probability"]


def test_class_shares_count_pixels():
    scores = torch.tensor([[[5, 0], [5, 0], [0, 0]], [[1, 9], [1, 1], [1, 1]], [[0, 0], [0, 8], [7, 7]]]).float()
    seen = {}
    for name, output in (("x", scores[None]), ("y", {"out": scores[None].flip(1)})):
        seen[name] = view({block(): np.ones(4)}, ())
        seen[name].output = output
    table = tables.class_shares(seen, ["a", "b", "c"])
    assert table["picture"].tolist() == ["x"] * 3 + ["y"] * 3
    assert table["rank"].tolist() == [1, 2, 3] * 2
    assert table["class"].tolist() == ["c", "a", "b", "a", "c", "b"]
    assert table["pixels"].tolist() == [3, 2, 1] * 2
    np.testing.assert_allclose(table["share"], table["pixels"] / 6)


def test_class_shares_of_one_map():
    seen = view({block(): np.ones(4)}, ())
    seen.output = torch.tensor([[[[1.0, -1.0, -2.0, 0.0]]]])
    table = tables.class_shares({"x": seen}, ["lung"])
    assert table["class"].tolist() == ["none", "lung"]
    assert table["index"].tolist() == [-1, 0]
    assert table["share"].tolist() == [0.75, 0.25]


@pytest.mark.parametrize("space", [1, 3])
@pytest.mark.parametrize("make", [spaces.SE, spaces.SK])
def test_signals_and_volumes(space, make):
    net, batch = spaces.Net(space, make), torch.rand(1, *spaces.INPUTS[space])
    blocks = inspect(net, batch).blocks
    seen = inspect(net, batch, [1], [(block.name, "output") for block in blocks], contribution_points(blocks))
    table = tables.contributions({"a": seen})
    for block, part in zip(blocks, (net.one, net.two)):
        u, gate = (value[0] for value in part.seen)
        u = u[None] if block.branches == 1 else u
        after = [float(torch.linalg.vector_norm(torch.stack([g * c for g, c in zip(gate[m], u[m])])))
                 for m in range(block.branches)]
        np.testing.assert_allclose(table[table.block == block.name].after, after, rtol=1e-5)
        alpha = seen.weights[block.name, "output"][0, 0]
        before, changed = tables.gate_change(seen, block)
        np.testing.assert_allclose(changed, sum(
            alpha[c] * gate[m, c] * u[m, c] for m in range(block.branches) for c in range(block.channels)), atol=1e-5)
        assert before.ndim == space
        assert [channel.ndim for channel in tables.channel_maps(seen, block, 3)] == [space] * (block.branches + 1)
