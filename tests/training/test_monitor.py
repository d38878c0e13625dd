import copy
import io
import math
import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch import nn

import senet_viz as sv
from senet_viz.gates.hidden import hidden_layers
from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.training import CollapseWarning, Monitor
from tests.gates.test_search import FORMS, Net, seen_in
from tests.gates.test_spaces import INPUTS
from tests.gates.test_spaces import SE as SpaceSE
from tests.gates.test_spaces import Net as SpaceNet
from tests.runs import make_batch, make_module

pytestmark = pytest.mark.usefixtures("one_thread")
PICTURES = 40


@pytest.fixture
def network() -> nn.Module:
    return make_module("se+sk")


def step(network: nn.Module, seed: int = 0, pictures: int = PICTURES) -> torch.Tensor:
    network.train()
    batch = make_batch(pictures, seed)
    network.zero_grad()
    network(batch).square().mean().backward()
    return batch


def by_hand(network: nn.Module, batch: torch.Tensor) -> dict[str, np.ndarray]:
    """Gates in training mode, with hooks of our own; batch normalisation's averages put back."""
    kept, handles = {}, []
    state = copy.deepcopy(network.state_dict())
    for name, part in network.named_modules():
        if isinstance(part, (SqueezeExcite, SelectiveKernel)):
            def keep(_, __, output, name=name, part=part):
                gate = output.detach().flatten(2)[:, -1] if isinstance(part, SelectiveKernel) else output.detach()
                kept[name] = gate.flatten(1).numpy()
            handles.append(part.gate.register_forward_hook(keep))
    with torch.no_grad():
        network.train()(batch)
    for handle in handles:
        handle.remove()
    network.load_state_dict(state)
    return kept


def hooks_on(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_numbers_are_those_of_hooks_of_ones_own(network):
    expected = by_hand(network, make_batch(PICTURES, 7))
    with Monitor(network, make_batch(1)) as monitor:
        step(network, 7)
    table = monitor.table().set_index("block")
    assert list(table.index) == [block.name for block in sv.find_blocks(network, make_batch(1))] and len(table) == 8
    assert set(table.index) == set(expected)
    for name, gate in expected.items():
        row = table.loc[name]
        assert (row["step"], row["pictures"]) == (0, PICTURES)
        assert row["mean"] == pytest.approx(gate.mean(), abs=1e-6)
        assert row["std"] == pytest.approx(gate.std(0).mean(), abs=1e-6)
        assert row["below"] == pytest.approx((gate < 0.05).mean())
        assert row["above"] == pytest.approx((gate > 0.95).mean())
        one, two = np.cov(gate[::2].T), np.cov(gate[1::2].T)
        ratio = np.trace(one) * np.trace(two) / np.sum(one * two)
        assert row["dimension"] == pytest.approx(ratio, rel=1e-4)
        assert 0 <= row["first"] <= 1


def test_living_hidden_units(network):
    part = network.get_submodule("layer3.0.se")
    with torch.no_grad():  # one unit never, one always above zero
        part.reduce.bias[0], part.reduce.bias[1] = -1e3, 1e3
    hidden = []
    handle = part.expand.register_forward_pre_hook(lambda _, args: hidden.append(args[0].detach().clone()))
    with Monitor(network, make_batch(1)) as monitor:
        step(network)
    handle.remove()
    share = (hidden[-1] > 0).double().mean(0)
    row = monitor.table().set_index("block").loc["layer3.0.se"]
    assert row["alive"] == pytest.approx(float(((share >= 0.01) & (share <= 0.99)).double().mean()))
    assert row["alive"] <= 1 - 2 / len(share)


def test_every_nth_training_forward_and_no_other(network):
    monitor = Monitor(network, make_batch(1), every=3)
    for seed in range(7):
        step(network, seed)
        with torch.no_grad():
            network.eval()(make_batch(4))
    assert monitor.table()["step"].unique().tolist() == [0, 3, 6]
    assert hooks_on(network) == 1
    monitor.close()
    monitor.close()  # nothing more to do
    assert hooks_on(network) == 0
    rows = len(monitor.table())
    step(network)
    assert len(monitor.table()) == rows == 24


def test_training_is_the_same_with_and_without(network):
    other = copy.deepcopy(network)
    with Monitor(network, make_batch(1), every=1):
        step(network)
    step(other)
    for (name, one), (_, two) in zip(network.named_parameters(), other.named_parameters()):
        assert torch.equal(one, two) and torch.equal(one.grad, two.grad), name
    for (name, one), (_, two) in zip(network.named_buffers(), other.named_buffers()):
        assert torch.equal(one, two), name


def test_a_failing_forward_leaves_no_hook_and_the_next_is_measured(network):
    with Monitor(network, make_batch(1)) as monitor:
        monitor.every = 1
        with pytest.raises(RuntimeError):
            network.train()(torch.rand(2, 5, 24, 24))
        assert hooks_on(network) == 1
        step(network)
        assert 1 in monitor.table()["step"].tolist()


class Shared(nn.Module):
    """One gate at two places of the forward."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.se, self.head = nn.Conv2d(3, 16, 3, 2), SqueezeExcite(16, 4), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.se(self.se(self.conv(x)).relu()).mean((2, 3)))


class Inline(nn.Module):
    """Gates in the network's own forward, one after the other, and what it fails with behind them."""

    def __init__(self, space, gates=1, layers=1):
        super().__init__()
        torch.manual_seed(0)
        self.fails = None
        self.conv = (nn.Conv1d, nn.Conv2d)[space - 1](space, 16, 5, 2)
        self.gates, self.head = nn.ModuleList(map(self.gate, [layers] * gates)), nn.Linear(16, 16)

    @staticmethod
    def gate(layers):
        return nn.Linear(16, 16) if layers == 1 else nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16))

    def forward(self, x):
        x, ones = self.conv(x * 1.0), (1,) * (x.dim() - 2)
        for gate in self.gates:
            x = x * torch.sigmoid(gate(x.flatten(2).mean(2))).unflatten(1, (-1, *ones))
        if self.fails is not None:
            raise self.fails
        return self.head(x.flatten(2).mean(2))


def same_as_recorded(network, batch, blocks):
    """A monitored forward against what ``record`` sees of the same batch; nothing here is different in training."""
    with Monitor(network, batch, every=1) as monitor:
        network.train()(batch)
    table, view = monitor.table(), sv.record(network, batch)
    assert table["block"].tolist() == blocks == list(view.gates)
    for row, gate in zip(table.itertuples(), view.gates.values()):
        assert row.pictures == len(batch) and row.mean == pytest.approx(float(gate.mean()), abs=1e-6)
        assert row.std == pytest.approx(float(gate.std(0, correction=0).mean()), abs=1e-6)
    assert table["mean"].nunique() == len(blocks)
    return table


def test_a_gate_used_at_several_places_is_measured_at_each():
    same_as_recorded(Shared(), torch.rand(8, 3, 24, 24), ["se@0", "se@1"])


def test_a_gate_used_at_several_places_that_is_replaced_is_left_out():
    network, batch = Shared().train(), torch.rand(8, 3, 24, 24)
    with Monitor(network, batch, every=1) as monitor:
        network(batch)
        network.se = nn.Identity()
        with pytest.warns(UserWarning) as said:
            network(batch)
    assert len(monitor.table()) == 2 and not monitor.blocks
    assert [str(each.message).partition(",")[0] for each in said] == [
        f"{label} was replaced while it was watched" for label in ("SE_1_1", "SE_1_2")]


@pytest.mark.parametrize(("space", "gates"), [(1, 1), (2, 1), (2, 2)])
def test_gates_in_the_networks_own_forward(space, gates, recwarn):
    network = Inline(space, gates)
    same_as_recorded(network, torch.rand(8, space, *[48] * space), [f"#{i}" for i in range(gates)])
    assert not recwarn and hooks_on(network) == 0


def test_the_hidden_layer_of_a_gate_is_before_it():
    """The head behind the gate is a layer of as many outputs, and of the same module."""
    network, batch = Inline(2, layers=2), torch.rand(8, 2, 48, 48)
    units = []
    handle = network.gates[0][2].register_forward_pre_hook(lambda _, args: units.append(args[0].detach().clone()))
    table = same_as_recorded(network, batch, ["#0"])
    handle.remove()
    share = (next(each for each in units if len(each) == len(batch)) > 0).double().mean(0)  # others found the block
    assert 0 < share.mean() < 1
    assert table["alive"].tolist() == [float(((share >= 0.01) & (share <= 0.99)).double().mean())]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("make", [lambda: Inline(2), lambda: nn.Sequential(Inline(2))])
def test_a_forward_that_fails_behind_the_gate_is_not_measured(make, error):
    """Ctrl-C as well, after which no hook is called."""
    network, batch = make().train(), torch.rand(8, 2, 48, 48)
    inner = next(part for part in network.modules() if isinstance(part, Inline))
    modes = torch.overrides._get_current_function_mode_stack()
    with Monitor(network, batch, every=2) as monitor:
        inner.fails = error
        with pytest.raises(type(error)):
            network(batch)
        inner.fails = None
        network(batch[:4])  # between two measurements
        assert torch.overrides._get_current_function_mode_stack() == modes
        network(batch)
        assert hooks_on(network) == 1
    assert (monitor.table()["step"].tolist(), monitor.table()["pictures"].tolist()) == ([2], [8])
    assert hooks_on(network) == 0


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_multiplications_are_not_watched_when_the_forward_has_failed(error):
    network, batch = Inline(2).train(), torch.rand(8, 2, 48, 48)
    network.gates[0].register_forward_pre_hook(lambda *_: raises(network.fails))
    modes = torch.overrides._get_current_function_mode_stack()
    with Monitor(network, batch, every=1) as monitor:
        network.fails = error
        with pytest.raises(type(error)):
            network(batch)
    assert torch.overrides._get_current_function_mode_stack() == modes and monitor.table().empty


def raises(error):
    if error is not None:
        raise error


def test_a_collapse_is_said_once(network):
    part = network.get_submodule("layer3.0.se")
    with torch.no_grad():  # all channels by one hidden unit
        part.expand.weight[:, 1:] = 0
    with Monitor(network, make_batch(1), every=1) as monitor, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(6):
            step(network, seed, 64)
    said = [str(warning.message) for warning in caught if warning.category is CollapseWarning]
    table = monitor.table().query("block == 'layer3.0.se'")
    assert (table["dimension"] < 1.2).all() and (table["first"] > 0.9).all()
    label = table["label"].iloc[0]
    assert len([text for text in said if text.startswith(f"{label} moves along one direction")]) == 1
    assert f"its {part.expand.out_features} channels are one number" in "".join(said)
    living = monitor.table().query("dimension >= 1.2")["label"].unique()
    assert not [text for text in said for label in living if text.startswith(f"{label} ")]


def test_a_constant_gate_has_no_dimension(network):
    with torch.no_grad():
        for parameter in network.get_submodule("layer2.0.se").parameters():
            parameter.zero_()
    with Monitor(network, make_batch(1)) as monitor:
        step(network)
    row = monitor.table().set_index("block").loc["layer2.0.se"]
    assert row["std"] == 0 and row["mean"] == 0.5 and math.isnan(row["dimension"]) and math.isnan(row["first"])
    assert row["alive"] == 0


def test_a_batch_too_small_to_tell_says_so(network):
    with Monitor(network, make_batch(1)) as monitor:
        step(network, pictures=2)
    assert monitor.table()["dimension"].isna().all() and monitor.table()["mean"].notna().all()


def test_a_block_that_is_replaced_is_left_out(network):
    with Monitor(network, make_batch(1), every=1) as monitor:
        step(network)
        network.layer2[0].se = nn.Identity()
        with pytest.warns(UserWarning, match="SE_3_1 was replaced while it was watched"):
            step(network, 1)
        step(network, 2)
    counts = monitor.table()["label"].value_counts()
    assert counts["SE_3_1"] == 1 and set(counts.drop("SE_3_1")) == {3} and len(monitor.blocks) == 7


@pytest.mark.parametrize("form", ["inline", "in place", "torch.mul with keywords", "tanh"])
def test_gates_of_other_forms(form):
    network = Net(FORMS[form][0])
    with Monitor(network, torch.rand(1, 3, 64, 64)) as monitor:
        network.train()(torch.rand(6, 3, 64, 64))
    expected = [gate.detach().flatten(1) for gate in seen_in(network)]
    assert len(monitor.table()) == len(expected) == 2
    assert monitor.table()["mean"].tolist() == pytest.approx([float(gate.mean()) for gate in expected], abs=1e-6)
    assert monitor.table()["std"].tolist() == pytest.approx(
        [float(gate.std(0, correction=0).mean()) for gate in expected], abs=1e-6)


def test_under_autocast(network):
    with Monitor(network, make_batch(1)) as monitor, torch.autocast("cpu", torch.bfloat16):
        network.train()(make_batch(PICTURES))
    expected = by_hand(network, make_batch(PICTURES))
    for row in monitor.table().itertuples():
        assert row.mean == pytest.approx(expected[row.block].mean(), abs=0.02)


def test_in_a_wrapper_of_several_devices(network):
    wrapped = nn.DataParallel(network)  # without a GPU it calls the network itself
    with Monitor(wrapped.module, make_batch(1)) as monitor:
        wrapped.train()(make_batch(PICTURES))
    assert len(monitor.table()) == 8


def test_only_the_process_of_rank_0_measures(network, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(network)
        with Monitor(network, make_batch(1), every=1) as monitor:
            wrapped.train()(make_batch(8))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(torch.distributed, "get_rank", lambda: 1)
                wrapped(make_batch(8))
        assert monitor.table()["step"].unique().tolist() == [0]
    finally:
        torch.distributed.destroy_process_group()


class Graphs:
    """A backend that counts what it is given to compile."""

    def __init__(self):
        self.count = 0
        torch.compiler.reset()

    def __call__(self, graph, inputs):
        self.count += 1
        return graph


def trained(calls, network: nn.Module, monitored: nn.Module, at: int | None) -> pd.DataFrame:
    """Seven steps, from the one ``at`` on with a monitor that measures every third."""
    network.train()
    monitor = None
    for seed in range(7):
        if seed == at:
            monitor = Monitor(monitored, make_batch(1), every=3)
        calls(make_batch(8, seed)).square().mean().backward()
    if monitor is None:
        return pd.DataFrame({"step": []})
    monitor.close()
    return monitor.table()


@pytest.mark.parametrize("fullgraph", [True, False])
@pytest.mark.parametrize("at", [0, 2])
def test_calls_of_a_compiled_wrapper_are_measured_and_the_others_compiled_as_they_were(network, fullgraph, at):
    graphs, other = Graphs(), copy.deepcopy(network)
    compiled = torch.compile(network, backend=graphs, fullgraph=fullgraph)
    table = trained(compiled, network, compiled, at)
    assert table["step"].unique().tolist() == list(range(0, 7 - at, 3)) and table["label"].nunique() == 8
    pd.testing.assert_frame_equal(table, trained(other, other, other, at))
    assert graphs.count == 1 and hooks_on(compiled) == 0
    for (name, one), two in zip(network.named_parameters(), other.parameters()):
        torch.testing.assert_close(one.grad, two.grad, msg=name)


@pytest.mark.parametrize("fullgraph", [True, False])
@pytest.mark.parametrize("at", [None, 0, 2])
@pytest.mark.parametrize("first", ["monitor", "compiled", "compiled in place"])
def test_a_network_inside_compiled_code_is_not_seen_and_costs_nothing(network, fullgraph, at, first):
    graphs = Graphs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if first == "monitor":
            monitor = Monitor(network, make_batch(1), every=3)
        if first == "compiled in place":
            network.compile(backend=graphs, fullgraph=fullgraph)
            compiled = network
        else:
            compiled = torch.compile(network, backend=graphs, fullgraph=fullgraph)
        assert trained(compiled, network, network, at).empty and graphs.count == 1
    if first == "monitor":
        network(make_batch(8))
        assert monitor.table()["step"].unique().tolist() == [0]


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("at", [0, 2])
def test_compiled_parts_are_measured(network, in_place, at):
    graphs, other = Graphs(), copy.deepcopy(network)
    for name in ("layer1", "layer2"):
        if in_place:
            getattr(network, name).compile(backend=graphs, fullgraph=True)
        else:
            setattr(network, name, torch.compile(getattr(network, name), backend=graphs, fullgraph=True))
    table = trained(network, network, network, at)
    pd.testing.assert_frame_equal(table.drop(columns="block"), trained(other, other, other, at).drop(columns="block"))
    without, graphs.count = graphs.count, 0
    torch.compiler.reset()
    trained(network, network, network, None)
    assert graphs.count == without


def test_parts_that_are_compiled_while_they_are_watched_are_measured_on(network):
    with Monitor(network, make_batch(1), every=1) as monitor:
        step(network)
        network.layer1 = torch.compile(network.layer1, backend=Graphs())
        step(network)
    assert monitor.table()["label"].value_counts().tolist() == [2] * 8


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_compiled_code_runs_again_after_a_measured_forward_that_fails(error):
    network, graphs, batch = Inline(2).train(), Graphs(), torch.rand(8, 2, 48, 48)
    compiled = torch.compile(network, backend=graphs)
    with Monitor(compiled, batch, every=2) as monitor:
        network.fails = error
        with pytest.raises(type(error)):
            compiled(batch)
        network.fails = None
        compiled(batch)
        assert graphs.count == 1
        compiled(batch)
    assert monitor.table()["step"].tolist() == [2]


def test_numbers_go_to_a_writer_and_to_parquet(network, tmp_path):
    class Writer:
        def __init__(self):
            self.scalars = {}

        def add_scalar(self, name, value, step):
            self.scalars[name, step] = value

    writer = Writer()
    with Monitor(network, make_batch(1), writer=writer) as monitor:
        step(network)
    monitor.save(tmp_path / "log.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "log.parquet"), monitor.table())
    table = monitor.table().set_index("label")
    for label in table.index:
        for measure in ("mean", "std", "below", "above", "dimension", "first", "alive"):
            if pd.notna(table.loc[label, measure]):
                assert writer.scalars[f"{label}/{measure}", 0] == table.loc[label, measure]


class Locked:
    """A writer that, as TensorBoard's, cannot be copied."""

    def __init__(self):
        self.lock = threading.Lock()

    def add_scalar(self, *_):
        pass


def saved_and_loaded(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [
    copy.deepcopy, saved_and_loaded, lambda net: timm.utils.ModelEmaV3(net).module,
    lambda net: torch.optim.swa_utils.AveragedModel(net).module])
@pytest.mark.parametrize("writer", [None, Locked()])
def test_copies_have_no_monitor(network, copied, writer):
    with Monitor(network, make_batch(1), every=1, writer=writer) as monitor:
        other = copied(network)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            batch = step(other)
            torch.optim.swa_utils.update_bn([batch], other)
        hooks = [hook for part in other.modules() for hook in part._forward_pre_hooks.values()]
        assert not any(hasattr(hook, "_enter") for hook in hooks) and monitor.table().empty
        step(network)
        assert len(monitor.table()) == 8
        assert torch.equal(copy.deepcopy(other).eval()(batch), other.eval()(batch))


def test_a_pickle_needs_nothing_of_the_monitor():
    network = Net(FORMS["inline"][0])
    Monitor(network, torch.rand(1, 3, 64, 64), writer=Locked())
    assert b"senet_viz" not in pickle.dumps(network)


def test_goes_on_where_a_state_was(network):
    with Monitor(network, make_batch(1), every=2) as first:
        for seed in range(3):
            step(network, seed)
    with Monitor(network, make_batch(1), every=2) as second:
        second.restore(first.state())
        for seed in range(2):
            step(network, seed)
    assert second.table()["step"].unique().tolist() == [0, 2, 4]


def test_refuses():
    with pytest.raises(ValueError, match="has no channel attention, so there is nothing to watch"):
        Monitor(nn.Conv2d(3, 4, 3), torch.rand(1, 3, 16, 16))
    with pytest.raises(ValueError, match="every is a number of forwards, 1 or more, not 0"):
        Monitor(make_module("se"), make_batch(1), every=0)


@pytest.mark.parametrize(("of", "said"), [
    (lambda net: net.state_dict(), r"A state_dict \(OrderedDict\) holds weights and no network"),
    (lambda net: torch.jit.trace(net.eval(), make_batch(1)), "A TorchScript network runs without Python"),
    (lambda net: "seresnet50", "A network is an nn.Module or a senet_viz.Model, not str")])
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_refuses_what_is_no_network(network, of, said):
    with pytest.raises(ValueError, match=said):
        Monitor(of(network), make_batch(1))


def test_takes_arrays_and_models_and_refuses_what_is_no_batch(network):
    model = sv.Model(network, None, [])
    with Monitor(model, make_batch(2).double().numpy(), every=1) as monitor:
        step(network)
    assert len(monitor.table()) == 8
    with pytest.raises(ValueError, match=r"an example is a tensor \(N, channels, height, width\), not str"):
        Monitor(network, "photo.jpg")


@pytest.mark.parametrize(("name", "layer"), [
    ("seresnet18", "layer1.0.se.fc2"), ("ecaresnet26t", None), ("skresnet18", "layer1.0.conv1.attn.fc_select")])
def test_hidden_layers_of_timms_networks(name, layer):
    network, example = timm.create_model(name), torch.rand(1, 3, 64, 64)
    found = hidden_layers(network, sv.find_blocks(network, example), example)
    assert next(iter(found.values())) == layer
    assert {path is None for path in found.values()} == {layer is None}


@pytest.mark.parametrize("space", [1, 3])
def test_networks_of_signals_and_volumes(space):
    torch.manual_seed(0)
    net, batch = SpaceNet(space, SpaceSE).train(), torch.rand(8, *INPUTS[space])
    with Monitor(net, batch, every=1) as monitor:
        net(batch)
    gates = [part.seen[1][:, 0] for part in (net.one, net.two)]
    table = monitor.table()
    assert table.label.tolist() == ["SE_1_1", "SE_2_1"]
    assert table["mean"].tolist() == pytest.approx([float(gate.mean()) for gate in gates])
    assert table["std"].tolist() == pytest.approx([float(gate.std(0, correction=0).mean()) for gate in gates], rel=1e-3)
