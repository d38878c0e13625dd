"""Weights on disk: safetensors with a description in the file's metadata, or pickles restricted to tensors."""
import json
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..files import replacing


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit its architecture; the message is one sentence."""


def save_checkpoint(path: str | Path, state: dict[str, torch.Tensor], metadata: dict) -> None:
    """Write tensors and a JSON-serialisable description into one safetensors file, whole or not at all."""
    with replacing(path) as part:
        save_file({key: value.contiguous() for key, value in state.items()}, part,
                  metadata={key: json.dumps(value) for key, value in metadata.items()})


def read_metadata(path: str | Path) -> dict:
    """The description that ``save_checkpoint`` put into a safetensors file; {} where there is none.

    Raises:
        CheckpointError: when the file is not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            raw = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{Path(path).name} is not a safetensors file ({error}).") from error
    metadata = {}
    for key, value in raw.items():
        try:
            metadata[key] = json.loads(value)
        except ValueError:  # other writers put plain strings there, "format": "pt" for one
            metadata[key] = value
    return metadata


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint, on the CPU: safetensors, or ``torch.load`` with ``weights_only=True``, never more.

    A dictionary around them ("state_dict", "model") is opened.

    Raises:
        CheckpointError: when the file is missing, damaged, holds code, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a safetensors file ({error}).") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} holds more than tensors (a pickle with code in it, or not a checkpoint at all) and is not "
            f"loaded; save the state_dict, best as safetensors.") from error
    except Exception as error:  # zip, EOF, key and runtime errors of damaged files
        raise CheckpointError(f"{path.name} is damaged or not a checkpoint ({first_line(error)}).") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise CheckpointError(f"{path.name} holds no state_dict of tensors.")
    return content


def load_state(module: torch.nn.Module, state: dict[str, torch.Tensor], name: str = "The checkpoint") -> None:
    """Copy tensors into a network, every one of them or none.

    Raises:
        CheckpointError: as ``check_state``.
    """
    check_state(module, state, name)
    module.load_state_dict(state, strict=False)


def check_state(module: torch.nn.Module, state: dict[str, torch.Tensor], name: str) -> None:
    """Compare a checkpoint's keys and shapes with a network's, which may be on the meta device.

    Raises:
        CheckpointError: naming missing and unexpected keys, or the first tensor of another shape.
    """
    own = module.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    # a BN's counter is not part of what a network computes; some exporters drop it
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise CheckpointError(
            f"{name} does not fit {type(module).__name__}: {_some('missing', missing)}"
            f"{' and ' if missing and unexpected else ''}{_some('unexpected', unexpected)}.")
    for key, value in state.items():
        if value.shape != own[key].shape:
            raise CheckpointError(f"{name} does not fit {type(module).__name__}: {key} has shape "
                                  f"{tuple(value.shape)}, the network's is {tuple(own[key].shape)}.")


def first_line(error: Exception) -> str:
    """What an error says, on one line; its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _some(what: str, keys: list[str]) -> str:
    if not keys:
        return ""
    return f"{len(keys)} {what} key{'s' * (len(keys) > 1)} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
