"""Occlusion and integrated gradients: against Captum called directly, and where the answer is known by hand."""
import threading

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Occlusion
from torch import nn

from senet_viz import inspect
from senet_viz.experiments.attribution import CHUNK, METHODS, STEPS, attribute
from senet_viz.models import Model, slim_resnet50


class Linear(nn.Module):
    """Logit k is the sum of weight[k] · x."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return torch.einsum("kchw,nchw->nk", self.weight, x)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return slim_resnet50("se", num_classes=5, widths=(4, 4, 8, 8)).eval()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1))


def linear(height=16, width=16) -> tuple[Linear, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (Linear(torch.randn(2, 3, height, width, generator=generator)),
            torch.randn(3, height, width, generator=generator))


def test_integrated_gradients_of_a_linear_network_are_its_terms():
    module, x = linear()
    values = attribute(module, x, 1, "integrated gradients")
    terms = (module.weight[1] * x).sum(0).detach()
    assert values.shape == (16, 16) and values.dtype == torch.float32
    torch.testing.assert_close(values, terms, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 16), (8, 8), (17, 9)])
def test_occlusion_of_a_linear_network_is_the_mean_fall_over_the_squares_that_cover_a_pixel(height, width):
    module, x = linear(height, width)
    terms = (module.weight[0] * x).sum(0).detach().numpy()
    h, w = max(1, height // 8), max(1, width // 8)
    falls, counts = np.zeros((2, height, width))
    # squares begin at multiples of half their side; the last one ends with the picture, cut off where it must be
    for top in range(0, height, max(1, h // 2)):
        for left in range(0, width, max(1, w // 2)):
            square = np.s_[top:top + h, left:left + w]
            falls[square] += terms[square].sum()
            counts[square] += 1
            if left + w >= width:
                break
        if top + h >= height:
            break
    np.testing.assert_allclose(attribute(module, x, 0), falls / counts, rtol=1e-4, atol=1e-4)


def test_occlusion_is_captums(network, image):
    with torch.no_grad():
        expected = Occlusion(network).attribute(
            image[None], sliding_window_shapes=(3, 4, 4), strides=(3, 2, 2), target=3, perturbations_per_eval=16)[0]
    torch.testing.assert_close(expected[0], expected[1])  # a square covers all colours: they share its fall
    torch.testing.assert_close(attribute(network, image, 3), expected[0], rtol=1e-4, atol=1e-5)


def test_integrated_gradients_are_captums(network, image):
    expected = IntegratedGradients(network).attribute(image[None], target=3, n_steps=STEPS)[0].sum(0)
    values = attribute(network, image, 3, "integrated gradients")
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
    assert not values.requires_grad


def test_integrated_gradients_add_up_to_the_difference_of_logits():
    """Completeness, on a network of sigmoids where 32 steps suffice."""
    module, x = linear(8, 8)
    squashed = nn.Sequential(module, nn.Sigmoid())
    whole = attribute(squashed, 0.2 * x, 0, "integrated gradients").sum()
    with torch.no_grad():
        difference = squashed(0.2 * x[None])[0, 0] - squashed(torch.zeros_like(x)[None])[0, 0]
    assert whole.item() == pytest.approx(difference.item(), abs=2e-3) and abs(difference) > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_another_class_is_another_map(network, image, method):
    assert not torch.allclose(attribute(network, image, 0, method), attribute(network, image, 1, method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", [8, 17, 32])
def test_progress_rises_to_one(network, method, side):
    shares, forwards = [], []
    handle = network.register_forward_hook(lambda *_: forwards.append(1))
    attribute(network, torch.randn(3, side, side), 0, method, progress=shares.append)
    handle.remove()
    assert len(shares) == len(forwards) > 1
    assert shares == sorted(shares) and 0 < shares[0] < 1 and shares.count(1.0) == 1 and shares[-1] == 1.0


def test_chunks_are_small(network, image):
    sizes = []
    handle = network.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    for method in METHODS:
        attribute(network, image, 0, method)
    handle.remove()
    assert max(sizes) == CHUNK


def test_an_unknown_method_is_one_sentence(network, image):
    with pytest.raises(ValueError, match="occlusion or integrated gradients, not 'magic'"):
        attribute(network, image, 0, "magic")


@pytest.mark.parametrize("method", METHODS)
def test_others_use_the_model_between_chunks(network, image, method):
    """Another thread inspects while an attribution waits in its progress call, so no lock is held there."""
    model = Model(network, lambda picture: image, list("abcde"))
    expected = inspect(model, image[None]).logits
    seen, done = [], []

    def other():
        view = inspect(model, image[None], wait=30.0)
        seen.append(view.logits)

    def progress(_):
        if not done:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(60)
            done.append(not thread.is_alive())

    values = attribute(model, image, 0, method, progress=progress)
    assert done == [True]
    torch.testing.assert_close(seen[0], expected)
    torch.testing.assert_close(values, attribute(model, image, 0, method))


def hooks(module: nn.Module) -> int:
    return sum(len(getattr(part, name)) for part in module.modules()
               for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(network, image, method, training):
    network.train(training)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    try:
        values = attribute(network, image, 0, method)
        assert all(part.training == training for part in network.modules()) and hooks(network) == 0
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    finally:
        network.eval()
    torch.testing.assert_close(values, attribute(network, image, 0, method))  # BN's batch statistics played no part


@pytest.mark.parametrize("method", METHODS)
def test_a_crash_in_the_model_leaves_it_free(network, image, method):
    def crash(*_):
        raise RuntimeError("out of memory")

    handle = network.layer4.register_forward_hook(crash)
    with pytest.raises(RuntimeError, match="out of memory"):
        attribute(network, image, 0, method)
    handle.remove()
    assert hooks(network) == 0
    inspect(network, image[None], wait=1.0)


def test_a_class_that_the_network_lacks_is_refused(network, image):
    for method in METHODS:
        with pytest.raises((IndexError, ValueError, AssertionError)):
            attribute(network, image, 5, method)
    assert hooks(network) == 0


def test_a_score_of_ones_own_and_logits_in_no_usual_place():
    module, x = linear()

    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, batch):
            return {"scores": self.inner(batch), "other": batch}

    expected = {method: attribute(module, x, 1, method) for method in METHODS}
    model = Model(Apart(), None, ["a", "b"], output=lambda returned: returned["scores"])
    for method in METHODS:
        torch.testing.assert_close(attribute(model, x, 1, method), expected[method])
        torch.testing.assert_close(attribute(Apart(), x, lambda returned: returned["scores"][:, 1], method),
                                   expected[method])
    with pytest.raises(ValueError, match="no logits"):
        attribute(Apart(), x, 1)
    with pytest.raises(ValueError, match=r"targets must lie in 0..1; found 7"):
        attribute(model, x, 7)
