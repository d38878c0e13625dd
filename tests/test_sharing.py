"""A network that tests share and one of them alters is named, and made anew for the others."""
import pytest
import torch
from torch import nn

from tests.sharing import altered, shared


@pytest.mark.parametrize(("alter", "place"), [
    (lambda net: net[0].bias.data.fill_(float("nan")), "0.bias"),  # of which PyTorch's versions tell nothing
    (lambda net: net[1].running_mean.add_(1), "1.running_mean"), (lambda net: net[1].train(), "1"),
    (lambda net: net[0].weight.requires_grad_(False), "0.weight"),
    (lambda net: net(torch.ones(1, 2)).sum().backward(inputs=[net[0].bias]), "0.bias")])
def test_what_was_altered_is_named(alter, place):
    make = shared(lambda name: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval())
    first, second = make("first"), make("second")
    assert altered() == [] and make("first") is first
    alter(make("first"))
    assert altered() == [f"first ({place})"]
    assert make("first") is not first and make("second") is second and altered() == []
