"""Hooks come off whatever happens, belong to one thread, and nothing else of the network changes."""
import threading
import time

import pytest
import torch
from torch import nn

from senet_viz.gates import ModelBusy
from senet_viz.gates import hooks as hooks_module
from senet_viz.gates.hooks import Hooks, hooked, product_of


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))


X = torch.randn(2, 3, 4, 4)


def test_before_and_after_see_and_replace():
    net, seen = small(), {}
    with hooked(net) as hooks:
        hooks.before("1", lambda x: seen.update(before=x.clone()))
        hooks.after("1", lambda x, y: seen.update(entered=x.clone(), after=y.clone()))
        hooks.after("3", lambda x, y: y + 100)
        output = net(X)
    convolved = nn.functional.conv2d(X, net[0].weight, net[0].bias)
    torch.testing.assert_close(seen["before"], convolved)
    torch.testing.assert_close(seen["entered"], convolved)
    torch.testing.assert_close(seen["after"], convolved / (1 + net[1].eps) ** 0.5)  # fresh statistics: 0 and 1
    torch.testing.assert_close(output, seen["after"].relu() + 100)

    with hooked(net) as hooks:
        hooks.before("0", lambda x: torch.zeros_like(x))
        torch.testing.assert_close(net(X), net(torch.zeros_like(X)))
    assert not torch.equal(net.eval()(X), net(torch.zeros_like(X)))


def test_what_is_kept_is_what_the_part_gave_then():
    """The next part writes into the same memory; another thread's forward is not kept."""
    net, kept = small().eval(), []
    with hooked(net) as hooks:
        hooks.after("1", lambda x, y: y + 1)
        hooks.keep("1", kept)
        other = threading.Thread(target=net, args=(X,))
        other.start()
        other.join()
        assert kept == [] and hooks.elsewhere
        net(X)
    assert len(kept) == 1
    torch.testing.assert_close(kept[0], net[1](net[0](X)) + 1)
    assert (kept[0] < 0).any()  # which the ReLU, in place, made 0
    assert kept[0].requires_grad
    net(X)
    assert len(kept) == 1


def test_of_a_part_that_runs_several_times_one_call_is_kept():
    net, kept = nn.Sequential(nn.Linear(2, 2), nn.Tanh()), {0: [], 1: []}
    twice, x = nn.Sequential(net, net), torch.randn(1, 2)
    with hooked(twice) as hooks:
        for call, outputs in kept.items():
            hooks.keep(f"0@{call}", outputs)
        twice(x)
        twice(x)
    for call, expected in enumerate((net(x), net(net(x)))):
        assert len(kept[call]) == 2 and all(torch.equal(output, expected) for output in kept[call])


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_as_before(unchanged, mode, fails):
    net = small().train()
    net[1].eval()  # flags differ from module to module
    net[0].weight.requires_grad_(False)
    mine = net[2].register_forward_hook(lambda *_: None)
    with mode(), unchanged(net):
        try:
            with hooked(net) as hooks:
                assert not any(part.training for part in net.modules())
                assert not torch.is_inference_mode_enabled()
                assert torch.is_grad_enabled() == (mode is torch.enable_grad)
                for path in ("0", "1", "2", "3", ""):
                    hooks.before(path, lambda x: None)
                    hooks.after(path, lambda x, y: None)
                torch.set_grad_enabled(mode is torch.no_grad)
                net(X)
                if fails:
                    raise KeyboardInterrupt  # not even an Exception
        except KeyboardInterrupt:
            assert fails
    assert list(net[2]._forward_hooks.values()) and mine.id in net[2]._forward_hooks


def test_an_interrupted_multiplication_is_watched_no_longer():
    class Interrupted(nn.Module):
        def forward(self, x):
            product = x * 2
            raise KeyboardInterrupt(product)

    seen, modes = [], torch.overrides._get_current_function_mode_stack()
    with pytest.raises(KeyboardInterrupt), hooked(net := nn.Sequential(nn.Sequential(Interrupted()))) as hooks:
        for place in ("0", "0.0"):
            hooks.multiplied(place, 0, lambda multiply, *operands: seen.append(operands) or multiply(*operands))
        net(X)
    assert len(seen) == 2
    X * 2
    assert len(seen) == 2 and torch.overrides._get_current_function_mode_stack() == modes


def test_hooks_that_are_taken_off_within_a_call_do_nothing_in_it():
    net, seen = nn.Sequential(nn.ReLU()), []
    modes = torch.overrides._get_current_function_mode_stack()
    hooks = Hooks(net)
    net.register_forward_pre_hook(lambda *_: hooks.remove())
    hooks.before("", lambda x: seen.append("before"))
    hooks.multiplied("", 0, lambda multiply, *operands: seen.append("multiplied") or multiply(*operands))
    net(X)
    X * 2
    assert seen == [] and torch.overrides._get_current_function_mode_stack() == modes


def test_an_unknown_path_leaves_nothing_behind(unchanged):
    net = small()
    with unchanged(net), pytest.raises(AttributeError), hooked(net) as hooks:
        hooks.after("0", lambda x, y: None)
        hooks.after("nowhere", lambda x, y: None)


def test_only_the_thread_that_hooked_is_seen():
    net, seen, outputs = small().eval(), [], []
    expected = net(X)
    with hooked(net) as hooks:
        hooks.before("0", lambda x: seen.append("before"))
        hooks.after("3", lambda x, y: seen.append("after") or y * 0)
        other = threading.Thread(target=lambda: outputs.append(net(X)))
        other.start()
        other.join()
        assert seen == []
        torch.testing.assert_close(outputs[0], expected)
        assert not net(X).any()
        assert seen == ["before", "after"]


def hold(net) -> tuple[threading.Thread, threading.Event]:
    """A thread that uses the network until the event is set."""
    held, release = threading.Event(), threading.Event()

    def use():
        with hooked(net):
            held.set()
            release.wait(20)

    thread = threading.Thread(target=use)
    thread.start()
    assert held.wait(20)
    return thread, release


def test_waiting_is_bounded(unchanged):
    net = small()
    thread, release = hold(net)
    try:
        start = time.monotonic()
        with pytest.raises(ModelBusy, match=r"busy with other work for 0\.1 seconds"), hooked(net, wait=0.1):
            pass
        assert 0.1 <= time.monotonic() - start < 5
        with hooked(small(), wait=0.1):  # another network is free
            pass
    finally:
        release.set()
        thread.join()
    with unchanged(net), hooked(net, wait=0.1):
        pass


def test_the_default_wait(monkeypatch):
    monkeypatch.setattr(hooks_module, "WAIT", 0.05)
    net = small()
    thread, release = hold(net)
    try:
        with pytest.raises(ModelBusy, match=r"0\.05 seconds"), hooked(net):
            pass
    finally:
        release.set()
        thread.join()


def test_whoever_waits_gets_its_turn():
    net, order = small(), []
    thread, release = hold(net)

    def wait_and_use():
        with hooked(net):
            order.append("second")

    second = threading.Thread(target=wait_and_use)
    second.start()
    time.sleep(0.1)
    order.append("first")
    release.set()
    second.join(20)
    thread.join()
    assert order == ["first", "second"]


def test_use_within_use(unchanged):
    net, seen = small(), []
    with unchanged(net), hooked(net) as outer:
        outer.after("0", lambda x, y: seen.append("outer"))
        with hooked(net, wait=0.1) as inner:
            inner.after("0", lambda x, y: seen.append("inner"))
        net(X)  # the inner use took only its own hooks off
    assert seen == ["outer"]


def test_a_network_compiled_in_place_runs_eagerly(unchanged):
    """Hooks set after compiling are not part of the compiled code."""
    net, compiled = small(), []

    def backend(graph, _):
        compiled.append(graph)
        return graph.forward

    net.compile(backend=backend)
    net[2].compile(backend=backend)
    seen = []
    with unchanged(net), hooked(net) as hooks, torch.no_grad():
        hooks.after("2", lambda x, y: seen.append(y.shape))
        net(X)
    assert seen == [(2, 4, 4, 4)]
    assert compiled == []
    assert net._compiled_call_impl is not None


@pytest.mark.parametrize(("written", "shapes"), [
    ("bct,bc->bct", ((2, 3, 4), (2, 3))), ("bc...,bc->bc...", ((2, 3, 4, 5), (2, 3))),
    ("bc..., bc -> bc...", ((2, 3), (2, 3))),
    ("bc...,bc...->bc...", ((2, 3, 4, 5), (2, 3, 1, 1))), ("...c,c->...c", ((2, 4, 5, 3), (3,))),
    ("...,b->...b", ((4, 5), (2,))), ("...a,...->a...", ((4, 5, 3), (5,)))])
def test_an_einsum_that_sums_nothing_is_a_product(written, shapes):
    one, two = (torch.rand(shape) for shape in shapes)
    product = product_of(torch.einsum, (written, one, two))
    assert torch.equal(product(), torch.einsum(written, one, two))


@pytest.mark.parametrize(("written", "shapes"), [
    ("bc...,bc->b...", ((2, 3, 4), (2, 3))), ("bct,bct->bc", ((2, 3, 4), (2, 3, 4))), ("bb,b->b", ((2, 2), (2,))),
    ("bc...,bc", ((2, 3, 4), (2, 3)))])
def test_another_einsum_is_no_product(written, shapes):
    assert product_of(torch.einsum, (written, *(torch.rand(shape) for shape in shapes))) is None
