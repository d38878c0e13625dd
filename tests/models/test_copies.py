"""A copy with weights drawn anew: nothing of the network it was made from changes, nor of the caller's generator."""
import threading

import pytest
import torch
from torch import nn

from senet_viz.models.copies import copied, random_weights
from senet_viz.models.identity import weights_hash
from tests.collecting.test_network import state
from tests.runs import batch, make_module

__all__ = ["batch"]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_copy_is_no_part_of_the_network():
    module = make_module("se")
    hook = module.fc.register_forward_hook(lambda *_: None)
    other = copied(module)
    hook.remove()
    assert weights_hash(other) == weights_hash(module) and other.training == module.training
    assert not {tensor.data_ptr() for tensor in module.state_dict().values()} & {
        tensor.data_ptr() for tensor in other.state_dict().values()}


def test_random_weights(batch):
    module = make_module("se+sk")
    before, rng = state(module), torch.get_rng_state()
    first, second = random_weights(module, batch), random_weights(module, batch)
    assert state(module) == before
    assert torch.equal(torch.get_rng_state(), rng)
    assert not first.training
    assert weights_hash(first) == weights_hash(second) != weights_hash(module)
    assert weights_hash(random_weights(module, batch, seed=1)) != weights_hash(first)
    torch.manual_seed(1)  # whatever the caller's generator says
    assert weights_hash(random_weights(module, batch)) == weights_hash(first)
    old, new = module.state_dict(), first.state_dict()
    for name, part in module.named_modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            assert not torch.equal(old[f"{name}.weight"], new[f"{name}.weight"]), name
        if isinstance(part, nn.BatchNorm2d):
            assert (new[f"{name}.weight"] == 1).all()
            assert (new[f"{name}.running_mean"] != 0).any()


def test_a_network_whose_train_gives_nothing_is_drawn_anew(batch):
    module = make_module("se")
    module.train = lambda mode=True: type(module).train(module, mode) and None
    assert isinstance(random_weights(module, batch), type(module))


def test_random_weights_normalise_what_they_were_shown(batch):
    module = random_weights(make_module("se"), batch)
    seen = []
    module.layer3[0].bn1.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    module(batch)
    assert seen[0].mean((0, 2, 3)).abs().max() < 0.2
    assert (seen[0].std((0, 2, 3)) - 1).abs().max() < 0.2


def test_threads_that_draw_at_once_draw_the_same(batch):
    module, drawn = make_module("sk"), {}
    alone = {seed: weights_hash(random_weights(module, batch, seed)) for seed in range(4)}
    threads = [threading.Thread(target=lambda seed=seed: drawn.update(
        {seed: weights_hash(random_weights(module, batch, seed))})) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == alone
