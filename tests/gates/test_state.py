"""A network is afterwards as it was: buffers, checkpoints, compiled parts, also for a backward that comes later."""
import threading

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from senet_viz.gates import find_blocks, inspect, record
from senet_viz.gates.hooks import hooked
from senet_viz.gates.state import first_parameter, inspected, part_at, parts_of, uncompiled
from senet_viz.layers import SqueezeExcite


class Net(nn.Module):
    """Stem, a gate, a part, a head; ``run`` says how the part is run."""

    def __init__(self, run=None):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.se, self.head = nn.Conv2d(3, 16, 3, 2, 1), SqueezeExcite(16), nn.Linear(16, 5)
        self.part = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.run = run or (lambda part, x: part(x))

    def forward(self, x):
        return self.head(self.run(self.part, self.se(self.stem(x))).mean((2, 3)))


CHECKPOINTS = {
    "without reentry": lambda part, x: checkpoint(part, x, use_reentrant=False),
    "with reentry": lambda part, x: checkpoint(part, x, use_reentrant=True),
    "piece by piece": lambda part, x: checkpoint_sequential(part, 2, x, use_reentrant=False),
}


@pytest.mark.parametrize("layer", ["stem", "se", "part", "part.0"])
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_gradient_checkpoints_change_nothing(pictures, unchanged, kind, layer):
    plain, net, batch = Net().train(), Net(CHECKPOINTS[kind]).train(), pictures(2)
    expected = inspect(plain, batch, [1], [layer], retain_graph=True)  # maps of two at once may round otherwise
    with unchanged(net):
        view = inspect(net, batch, [1], [layer], retain_graph=True)
        assert torch.equal(view.cams[layer], expected.cams[layer])
        assert torch.equal(view.grad_cam([2])[0][layer], expected.grad_cam([2])[0][layer])  # in training mode again
    assert view.cams[layer].max() > 0


def test_checkpoints_of_other_threads_go_on(pictures):
    """Another network trains meanwhile, and saves the memory that it is meant to save."""
    runs, other = [], Net(CHECKPOINTS["without reentry"]).train()
    other.part.register_forward_pre_hook(lambda *_: runs.append(threading.get_ident()))

    def train():
        other(pictures(2)).sum().backward()

    with inspected(Net()):
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert len(runs) == 2  # the part ran again in the backward
    train()
    assert len(runs) == 4


def test_buffers_that_change_in_evaluation_mode_too(pictures, unchanged):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            for name in ("seen", "replaced", "mean"):
                self.register_buffer(name, torch.zeros(1))

        def forward(self, x):
            self.seen += len(x)
            self.replaced = self.replaced + 1
            self.mean.lerp_(x.mean()[None], 0.1)
            return x

    net = Net()
    net.part.append(Counting())
    buffers = [net.part[3].seen, net.part[3].replaced, net.part[3].mean]
    with unchanged(net):
        find_blocks(net, pictures(1))
        inspect(net, pictures(2), layers=["part"])
    assert [net.part[3].seen, net.part[3].replaced, net.part[3].mean] == [0, 0, 0]
    assert all(now is before for now, before in zip(
        (net.part[3].seen, net.part[3].replaced, net.part[3].mean), buffers))


class Sums(nn.Module):
    """Counts the pictures that it sees: all, those of larger batches, or those of forwards with gradients."""

    def __init__(self, when):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.when = when

    def forward(self, x):
        if self.when(x):
            self.seen += len(x)
        return x


WHEN = {"always": lambda x: True, "of several pictures": lambda x: len(x) > 1,
        "with gradients": lambda x: torch.is_grad_enabled()}
LOOKS = {"record": record, "inspect": lambda net, batch: inspect(net, batch, [1], ["part"]), "find_blocks": find_blocks}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("look", LOOKS)
def test_buffers_at_the_first_look_and_at_later_ones(pictures, unchanged, look, when):
    net = Net()
    net.part.append(Sums(WHEN[when]))
    with torch.no_grad():
        net(pictures(2))
    before = net.part[3].seen.clone()
    with unchanged(net):
        for count in (1, 2):
            LOOKS[look](net, pictures(count))
    assert net.part[3].seen == before


class Adapting(nn.BatchNorm2d):
    """Moves its mean with each batch of several pictures, in evaluation mode too."""

    def __init__(self, channels, in_place):
        super().__init__(channels)
        self.in_place = in_place

    def forward(self, x):
        if len(x) > 1:
            moved = self.running_mean.lerp(x.detach().mean((0, 2, 3)), 0.1)
            if self.in_place:
                self.running_mean.copy_(moved)
            else:
                self.running_mean = moved
        return super().forward(x)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_norm_that_is_quiet_at_the_first_look(pictures, in_place):
    """Without a copy what it writes in place stays once, and is known from then on; what it replaces comes back."""
    net = Net()
    net.part.append(Adapting(16, in_place))
    record(net, pictures(1))
    if in_place:
        record(net, pictures(2))
    mean = net.part[3].running_mean
    before = mean.clone()
    for _ in range(2):
        record(net, pictures(2))
    assert net.part[3].running_mean is mean and torch.equal(mean, before)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_norm_that_another_part_moves(pictures, in_place):
    class Moving(Net):
        def forward(self, x):
            norm = self.part[1]
            if in_place:
                norm.running_mean.add_(1)
            else:
                norm.running_mean = norm.running_mean + 1
            return super().forward(x)

    net = Moving()
    mean = net.part[1].running_mean
    for _ in range(3):
        record(net, pictures(1))
        assert net.part[1].running_mean is mean and mean.eq(0).all()


def test_a_buffer_that_grows_in_place_keeps_its_size(pictures):
    """As those of observers, which begin empty; the others come back all the same."""
    class Observing(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("least", torch.zeros(0))

        def forward(self, x):
            self.least.resize_(x.shape[1]).copy_(x.detach().amin((0, 2, 3)))
            return x

    net = Net()
    net.part.extend([Observing(), Sums(WHEN["always"])])
    record(net, pictures(2))
    assert net.part[3].least.shape == (16,) and net.part[4].seen == 0


@pytest.mark.parametrize("made", [torch.jit.script, lambda part: torch.jit.trace(part, torch.rand(1, 16, 8, 8))])
def test_a_scripted_part_with_buffers(pictures, made):
    plain, net, batch = Net().eval(), Net().eval(), pictures(2)
    net.part = made(net.part)
    for view in record(net, batch), record(net, batch):
        assert torch.equal(view.gates["se"], record(plain, batch).gates["se"])
        assert torch.equal(view.logits, record(plain, batch).logits)


def compiled(where: str, backend) -> nn.Module:
    """The network with a part, or a ``forward``, that ``torch.compile`` made of it."""
    class Own(Net):
        forward = torch.compile(Net.forward, backend=backend) if where == "forward of the class" else Net.forward

    net = Own().eval()
    if where in ("se", "part"):
        setattr(net, where, torch.compile(getattr(net, where), backend=backend))
    elif where != "forward of the class":
        owner = net if where == "forward of the network" else net.part
        owner.forward = torch.compile(owner.forward, backend=backend)
    return net


@pytest.mark.parametrize("where", [
    "se", "part", "forward of the network", "forward of a part", "forward of the class"])
def test_what_is_compiled_in_place(pictures, unchanged, where):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    plain, net, batch = Net().eval(), compiled(where, backend), pictures(2)
    net(batch)
    before = len(graphs)
    with unchanged(net):
        view, expected = inspect(net, batch, [1], ["part"]), inspect(plain, batch, [1], ["part"])
    assert [block.name for block in view.blocks] == ["se"]
    assert torch.equal(view.gates["se"], expected.gates["se"])
    assert torch.equal(view.cams["part"], expected.cams["part"])
    assert len(graphs) == before > 0
    net(batch)
    assert len(graphs) == before  # the compiled code is there still


@pytest.mark.parametrize("where", [
    "se", "part", "forward of the network", "forward of a part", "forward of the class", "all", "all in place",
    "nothing"])
def test_nothing_that_is_compiled_runs_while_it_is_uncompiled(pictures, where):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    net = Net().eval() if where in ("all", "all in place", "nothing") else compiled(where, backend)
    if where == "all":
        net = torch.compile(net, backend=backend)
    elif where == "all in place":
        net.compile(backend=backend)
    with uncompiled(net):
        net(pictures(2))
    assert not graphs
    net(pictures(2))
    assert bool(graphs) == (where != "nothing")


def test_everything_comes_back_after_an_exception(pictures, unchanged):
    net = Net().train()
    with unchanged(net), pytest.raises(RuntimeError, match="on purpose"), hooked(net):
        net(pictures(1))
        raise RuntimeError("on purpose")


def test_recording_in_training_mode_leaves_the_statistics(pictures, unchanged):
    net = Net().train()
    with unchanged(net):
        record(net, pictures(4))


def test_a_table_that_grows_with_the_input_stays():
    """The network keeps its length in a plain number, and would fail with the shorter table."""
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.se, self.length = nn.Conv1d(1, 16, 3, 1, 1), SqueezeExcite(16), 4
            self.register_buffer("places", torch.arange(4))

        def forward(self, x):
            if x.shape[-1] > self.length:
                self.length = x.shape[-1]
                self.places = torch.arange(self.length)
            u = self.stem(x) * (self.places[:x.shape[-1]] < 30)
            return (u * torch.sigmoid(u.mean(2, keepdim=True))).mean(2)

    net, signal = Masked().eval(), torch.rand(2, 1, 32)
    view = record(net, signal)
    with torch.no_grad():
        assert torch.equal(view.logits, net(signal))
    assert len(view.gates) == 1 and len(net.places) == 32


SHARED = nn.Sequential(nn.Linear(2, 2), nn.ReLU())


@pytest.mark.parametrize("network", [
    Net(), nn.Sequential(SHARED, SHARED, nn.Identity()),
    torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), nn.ReLU()],
    ids=["a network", "one part twice", "a script", "a single part"])
def test_parts_are_those_of_torch_in_its_order(network):
    assert parts_of(network) == list(network.modules())
    assert first_parameter(network) is next(network.parameters(), None)


def test_a_part_is_that_of_torch():
    net = Net()
    compiled = nn.Sequential(torch.compile(net), nn.ReLU())
    script = nn.Sequential(torch.jit.script(nn.Sequential(nn.ReLU())))
    for network, paths in ((net, ["", "se", "part.1"]), (compiled, ["", "0", "0.part.1", "0._orig_mod.part.1"]),
                           (script, ["0", "0.0"])):
        for path in paths:
            assert part_at(network, path) is network.get_submodule(path)
    for path in ("nowhere", "part.7", "part..1", "run"):
        with pytest.raises(AttributeError):
            part_at(net, path)


@pytest.mark.parametrize("record_", [record, lambda net, batch: inspect(net, batch, layers=["part"])])
def test_every_look_sees_the_parts_that_are_there_now(pictures, record_):
    """Nothing of a network's parts is taken from the look before: parts, gates and flags are as they are."""
    net, batch = Net(), pictures(2)
    record_(net, batch)
    net._modules["se"] = SqueezeExcite(16)  # past the functions of torch that would tell
    net.part[1] = nn.BatchNorm2d(16).train()
    net.part[1].weight.data.fill_(3)
    view = record_(net, batch)
    assert net.part[1].training and not net.part[1].running_mean.any()
    net.eval()
    with torch.no_grad():
        assert torch.equal(view.logits, net(batch))
        squeezed = net.stem(batch).mean((2, 3))
        torch.testing.assert_close(view.gates["se"][:, 0],
                                   torch.sigmoid(net.se.expand(net.se.reduce(squeezed).relu())))
