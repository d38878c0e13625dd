"""The engine that computes in this process."""
from collections.abc import Callable, Generator
from typing import Any

import torch

from ...models import Model, choose_device
from ...models.cluster import refuse
from ..network import hardware
from ..plan import Plan


class Local:
    """One network, one device; ``workers`` processes decode pictures beside it."""

    def __init__(self, workers: int):
        self.workers = workers

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, *_) -> None:
        return None

    def device(self, model: Model, wanted: str | torch.device | None) -> tuple[torch.device, str]:
        """Where to compute, and what that is."""
        device = model.device if wanted is None else choose_device(wanted)
        return device, hardware(device)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """A function's result, here."""
        return function(*args)

    def results(self, plan: Plan, shards: list[int]) -> Generator[tuple[int, bytes], None, None]:
        """Each shard with its result, in order."""
        if shards:
            yield from plan.worker(self.workers).results(shards)


def engine(workers: int, address: str | None) -> Local:
    """This process."""
    refuse(address)
    return Local(workers)
