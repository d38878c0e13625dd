import pytest
import torch
from torch import nn


def _with_weights(network: nn.Module) -> nn.Module:
    """Memory and random weights for a network made on the meta device, scaled so that nothing explodes or dies."""
    torch.manual_seed(0)
    network.to_empty(device="cpu")
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.normal_(part.weight, std=(2 / part.weight[0].numel()) ** 0.5)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.1)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.4, 0.8)
            nn.init.normal_(part.bias, std=0.1)
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.8, 1.2)
            part.num_batches_tracked.zero_()
    return network.eval()


@pytest.fixture(scope="session")
def with_weights():
    return _with_weights
