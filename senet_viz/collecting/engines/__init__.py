"""What computes the shards of a run: one file an engine, which is chosen by the file's name.

A file of this folder has a function ``engine(workers, address)`` that gives an ``Engine``. It is imported only when it
is asked for, so that an engine may need what is not installed.
"""
import importlib
import pkgutil
from collections.abc import Callable, Generator
from typing import Any, Protocol, Self

import torch

from ...models import Model
from ..plan import Plan

MOST_WORKERS = 1024


class Engine(Protocol):
    """What computes the shards of a run; it is entered for as long as the run takes."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def device(self, model: Model, wanted: str | torch.device | None) -> tuple[torch.device, str]:
        """Where to compute, and what that is, as ``senet_viz.collecting.network.hardware`` names it."""

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """What a function gives where the shards will be computed."""

    def results(self, plan: Plan, shards: list[int]) -> Generator[tuple[int, bytes], None, None]:
        """Each shard with its result, in any order."""


def engine_of(name: str, workers: int, address: str | None) -> Engine:
    """The engine of a name, to be entered.

    Args:
        name: of a file of this folder: "local", "ray".
        workers: how many there are, of whatever kind the engine has.
        address: of the cluster, where the engine has one.

    Raises:
        ValueError: for another name, a number of workers that makes no sense, or where what the engine needs is not
            installed.
    """
    if not 0 <= workers <= MOST_WORKERS:
        raise ValueError(f"workers is 0 to {MOST_WORKERS:,}, not {workers:,}")
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in names:
        raise ValueError(f"there is no engine {name!r}: choose {' or '.join(names)}")
    return importlib.import_module(f"{__name__}.{name}").engine(workers, address)
