"""The engine that computes with Ray Data: the same shards, on as many machines as there are."""
import logging
from collections.abc import Callable, Generator
from typing import Any

import torch

from ...models import Model
from ...models.cluster import import_ray, join
from ..network import hardware
from ..plan import Plan


class Ray:
    """Workers in a Ray cluster, each with a network of its own. What one loses when it dies, another computes again.

    Args:
        workers: how many.
        address: of the cluster; where None, the one that is running or else a new one on this machine.

    Raises:
        ValueError: when Ray is not installed, and for the address of a Ray Client.
        ConnectionError: when no cluster answers at the address.
    """

    def __init__(self, workers: int, address: str | None = None):
        self.ray, self.workers, self.address = import_ray(address, "data"), max(1, workers), address
        self.own, self.gpus = not self.ray.is_initialized(), 0

    def __enter__(self) -> "Ray":
        if self.own:
            join(self.ray, self.address)
        self.ray.data.DataContext.get_current().enable_progress_bars = False  # we have one
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        return self

    def __exit__(self, *_) -> None:
        if self.own:
            self.ray.shutdown()

    def device(self, model: Model, wanted: str | torch.device | None) -> tuple[torch.device, str]:
        """Where to compute, a GPU where the cluster has one, and what that is there."""
        gpus = self.ray.cluster_resources().get("GPU", 0) > 0
        device = torch.device(wanted if wanted not in (None, "auto") else "cuda" if gpus else "cpu")
        self.gpus = 1 if device.type == "cuda" else 0
        return device, self.call(hardware, device)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """A function's result on a machine of the cluster, with a GPU where the run computes on one."""
        return self.ray.get(self.ray.remote(num_gpus=self.gpus)(function).remote(*args))

    def results(self, plan: Plan, shards: list[int]) -> Generator[tuple[int, bytes], None, None]:
        """Each shard with its result, as they come."""
        if not shards:
            return
        nodes = [node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]]
        if plan.settings.threads > max(nodes, default=0):  # Ray would wait for such a machine for ever
            raise ValueError(f"a worker takes {plan.settings.threads} threads, and no machine of the cluster has as "
                             f"many (the most is {max(nodes, default=0):g})")
        data = self.ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        rows = data.map(
            _Worker, fn_constructor_args=(self.ray.put(plan),), num_cpus=plan.settings.threads,
            num_gpus=self.gpus,
            compute=self.ray.data.ActorPoolStrategy(size=min(self.workers, len(shards))))
        try:
            for row in rows.iter_rows():
                yield row["shard"], row["result"]
        except self.ray.exceptions.RayError as error:
            # its text is the traceback of another machine, which ends with what happened
            lines = str(getattr(error, "cause", None) or error).strip().splitlines() or [type(error).__name__]
            raise RuntimeError(lines[-1]) from error


class _Worker:
    """An actor of Ray: one network, for as many shards as it is given."""

    def __init__(self, reference: Any):
        import ray

        self.worker = ray.get(reference).worker(0)

    def __call__(self, row: dict) -> dict:
        [(shard, result)] = self.worker.results([row["shard"]])
        return {"shard": shard, "result": result}


def engine(workers: int, address: str | None) -> Ray:
    """A Ray cluster."""
    return Ray(workers, address)
