"""Grad-CAM's arithmetic on graphs whose gradients are known by hand."""
import pytest
import torch

import senet_viz as sv
from senet_viz.gates import cam
from senet_viz.gates.cam import channel_weights, weighted_sum

N, C, K, H, W = 3, 4, 5, 2, 6


@pytest.fixture(autouse=True, params=["in turn", "together"])
def way(request, monkeypatch):
    """How the backwards of several scores are run; of one picture, and on CUDA, it is the second."""
    monkeypatch.setattr(cam, "TOGETHER", {})
    if request.param == "together":
        monkeypatch.setattr(cam, "TOGETHER", {"cpu": 99})
        monkeypatch.setattr(cam, "_in_turn", lambda totals, maps, retain_graph, alone=cam._in_turn: (
            pytest.fail("fell back") if len(totals) > 1 else alone(totals, maps, retain_graph)))
    return request.param


def graph(seed: int = 0):
    """A map A, a map B = A², and logits W·mean(A) + V·mean(B) + bias, images apart."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(N, C, H, W, generator=generator).requires_grad_()
    w, v = torch.randn(K, C, generator=generator), torch.randn(K, C, generator=generator)
    b = a * a
    return a, b, w, v, a.mean((2, 3)) @ w.T + b.mean((2, 3)) @ v.T + 7


TARGETS = torch.tensor([[0, 4], [2, 2], [3, 1]])


def chosen(logits, targets=TARGETS):
    """For each of the T columns of targets the logits (N,) of these classes."""
    return [logits[torch.arange(len(logits)), column] for column in targets.T]


def test_channel_weights_by_hand():
    """∂/∂B of class k is V_k / HW everywhere, ∂/∂A is (W_k + 2 A V_k) / HW."""
    a, b, w, v, logits = graph()
    for_a, for_b = channel_weights(chosen(logits), [a, b])
    assert for_a.shape == for_b.shape == (N, 2, C)
    torch.testing.assert_close(for_b, v[TARGETS] / (H * W))
    torch.testing.assert_close(for_a, (w[TARGETS] + 2 * a.detach().mean((2, 3))[:, None] * v[TARGETS]) / (H * W))


def test_images_do_not_mix():
    a, b, _, _, logits = graph()
    _, together = channel_weights(chosen(logits), [a, b])
    other = TARGETS.clone()
    other[1:] = 0
    a, b, _, _, logits = graph()
    _, changed = channel_weights(chosen(logits, other), [a, b])
    assert torch.equal(together[0], changed[0])
    assert not torch.equal(together[1], changed[1])


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_in_every_mode_of_the_caller(mode):
    a, b, _, v, logits = graph()
    scores = chosen(logits)
    with mode():
        weights, = channel_weights(scores, [b])
    torch.testing.assert_close(weights.clone(), v[TARGETS] / (H * W))
    assert not weights.requires_grad
    assert a.grad is None


def test_the_graph_is_kept_where_asked_and_freed_elsewhere(way):
    _, b, _, v, logits = graph()
    for _ in range(2):
        channel_weights(chosen(logits), [b], retain_graph=True)
    weights, = channel_weights(chosen(logits), [b])
    torch.testing.assert_close(weights, v[TARGETS] / (H * W))
    a, _, _, _, logits = graph()
    channel_weights(chosen(logits), [a])
    if way == "in turn":  # together it goes with the last who holds it
        with pytest.raises(RuntimeError, match="second time"):
            channel_weights(chosen(logits), [a])


def test_half_gradients_are_averaged_in_single_precision():
    """The mean of 1 and the next float16 lies between the two."""
    a = torch.ones(1, 2, 1, 2, dtype=torch.float16, requires_grad=True)
    logits = (a.flatten(2) * torch.tensor([1, 1 + 2 ** -10], dtype=torch.float16)).sum(2)
    weights, = channel_weights([logits[:, 1]], [a])
    assert weights.dtype == torch.float32
    assert weights.tolist() == [[[0, 1 + 2 ** -11]]]


def test_a_map_that_the_logits_do_not_depend_on():
    a, _, _, _, logits = graph()
    with pytest.raises(RuntimeError, match="no gradient leads from what is explained to map 1: "):
        channel_weights(chosen(logits), [a, torch.ones(N, C, H, W, requires_grad=True)])


def test_a_score_of_one_number_and_one_without_a_graph():
    """The sum of a score over images explains each image as its own score does."""
    a, _, _, _, logits = graph()
    apart, = channel_weights([logits[:, 2]], [a], retain_graph=True)
    together, = channel_weights([logits[:, 2].sum()], [a])
    assert torch.equal(apart, together)
    with pytest.raises(RuntimeError, match="does not depend on any"):
        channel_weights([torch.zeros(N)], [a])


@pytest.mark.parametrize("space", [(5,), (2, 3), (2, 3, 4)])
def test_any_dimensions_of_space(space):
    a = torch.randn(N, C, *space, requires_grad=True)
    w = torch.randn(C)
    weights, = channel_weights([a.flatten(2).sum(2) @ w], [a])
    torch.testing.assert_close(weights, w.expand(N, 1, C))
    torch.testing.assert_close(weighted_sum(weights, a), (w.view(C, *[1] * len(space)) * a).sum(1, keepdim=True))


def test_weighted_sum():
    """Signed, one map per image and class: Σ_c α_c A_c written as a loop."""
    maps, weights = torch.randn(N, C, H, W), torch.randn(N, 2, C)
    expected = torch.zeros(N, 2, H, W)
    for n in range(N):
        for t in range(2):
            for c in range(C):
                expected[n, t] += weights[n, t, c] * maps[n, c]
    found = weighted_sum(weights, maps)
    torch.testing.assert_close(found, expected)
    assert (found < 0).any()


def test_what_cannot_be_run_together_is_run_in_turn(monkeypatch):
    """A function whose backward leaves torch."""
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, gradient):
            x, = ctx.saved_tensors
            return torch.from_numpy((gradient * 2 * x).numpy())

    monkeypatch.undo()
    a = torch.randn(N, C, H, W).requires_grad_()
    scores = [Square.apply(a)[:, k].sum((1, 2)) for k in range(2)]
    expected, = channel_weights(scores, [a], retain_graph=True)
    monkeypatch.setattr(cam, "TOGETHER", {"cpu": 99})
    found, = channel_weights(scores, [a])
    assert torch.equal(found, expected)
    assert found[:, 0, 1:].eq(0).all() and found[:, 0, 0].ne(0).any()


def test_one_picture_is_run_together_and_several_in_turn(monkeypatch):
    monkeypatch.undo()
    ways = []

    def told(way):
        run = getattr(cam, way)
        monkeypatch.setattr(cam, way, lambda *args: ways.append(way) or run(*args))

    told("_together")
    told("_in_turn")
    a, _, _, _, logits = graph()
    channel_weights(chosen(logits), [a], retain_graph=True)
    assert ways == ["_in_turn"]
    one = a[:1].detach().requires_grad_()
    channel_weights([(one * k).sum() for k in (1, 2)], [one])
    assert ways == ["_in_turn", "_together"]


@pytest.mark.parametrize("name", ["se", "sk"])
def test_a_network_together_and_in_turn(name, monkeypatch):
    monkeypatch.undo()
    model, batch = sv.load(f"demo/{dict(se='se_resnet50_slim', sk='sknet50_slim')[name]}"), torch.rand(2, 3, 64, 64)
    expected = sv.grad_cam(model, batch, [3, 1, 4], ["layer1", "layer4"])
    monkeypatch.setattr(cam, "TOGETHER", {"cpu": 99})
    monkeypatch.setattr(cam, "_in_turn", None)
    for layer, found in sv.grad_cam(model, batch, [3, 1, 4], ["layer1", "layer4"]).items():
        torch.testing.assert_close(found, expected[layer], rtol=1e-4, atol=1e-4 * float(expected[layer].max()))
