"""A Ray cluster to compute on, where Ray is installed."""
import importlib
import logging
import os
import socket
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
ANSWER = 10  # seconds to wait for a cluster's head; Ray itself asks for minutes


def import_ray(address: str | None, *parts: str) -> Any:
    """Ray, with parts such as "data", for a run on a cluster.

    Args:
        address: of the cluster; where None, the one that is running or a new one here.
        parts: modules of Ray that do not come with it.

    Raises:
        ValueError: one sentence, where Ray is not installed, and for the address of a Ray Client, through which Ray
            neither hands on results one by one nor has Ray Data.
    """
    if _address(address).startswith("ray://"):
        raise ValueError("a run cannot reach a cluster through Ray Client (ray://…): start it on a machine of the "
                         "cluster, with the address of its head (HOST:6379) or without one")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import, which reads it
    try:
        for part in parts:
            importlib.import_module(f"ray.{part}")
        return importlib.import_module("ray")
    except ImportError as error:
        raise ValueError("the engine ray needs Ray: pip install 'ray[data]'") from error


def join(ray: Any, address: str | None) -> None:
    """Become part of the cluster, whose machines get this package: they need what it imports, not its folder.

    Raises:
        ConnectionError: when nobody answers at the address.
    """
    host, _, port = _address(address).rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(f"no cluster answers at {_address(address)} ({error})") from error
    ray.init(address, runtime_env={"py_modules": [str(PACKAGE)]}, log_to_driver=False, logging_level=logging.ERROR)


def refuse(address: str | None) -> None:
    """Raise ValueError where an engine that joins no cluster is given the address of one."""
    if address is not None:
        raise ValueError("an address is of a Ray cluster, where the engine ray computes")


def _address(given: str | None) -> str:
    """The one that Ray takes: what it is given, else that of the environment."""
    return given or os.environ.get("RAY_ADDRESS", "")
