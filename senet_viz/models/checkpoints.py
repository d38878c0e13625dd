"""Weights on disk: safetensors with a description in the file's metadata, or pickles restricted to tensors."""
import argparse
import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..data.files import replacing

# what training scripts call the weights, averaged ones first, as timm has it; "module" and "shadow" are inside of them
ENTRIES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "state_dict", "model_state_dict",
           "model", "net", "module", "shadow")
WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel and DDP; torch.compile; Lightning
NAMES = ("classes", "class_names", "label_names")
FOREIGN = {  # how files begin that people take for checkpoints
    b"<!doctype": "a web page, not a checkpoint: fetch the file itself",
    b"<html": "a web page, not a checkpoint: fetch the file itself",
    b"version https://git-lfs": "a Git LFS pointer, not the checkpoint it stands for: run git lfs pull",
}


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit its architecture; the message is one sentence."""


@dataclass
class Checkpoint:
    """What was read from a file.

    Attributes:
        state: tensors by name, on the CPU.
        entry: which of the file's entries they are, "model_ema.module" for one; "" for the file as a whole.
        metadata: what a safetensors file says of itself; of a pickle, its class names where it has some.
    """

    state: dict[str, torch.Tensor]
    entry: str = ""
    metadata: dict = field(default_factory=dict)

    @property
    def classes(self) -> list[str] | None:
        """The class names in the metadata, under the names that are usual for them; None where there are none."""
        for key in NAMES:
            value = self.metadata.get(key)
            if isinstance(value, (list, tuple)) and value and all(isinstance(name, str) for name in value):
                return list(value)
        index = self.metadata.get("class_to_idx")  # torchvision's ImageFolder
        if isinstance(index, dict) and sorted(map(repr, index.values())) == sorted(map(repr, range(len(index)))):
            return sorted(map(str, index), key=lambda name: index[name])
        return None


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


def read_checkpoint(path: str | Path) -> Checkpoint:
    """A checkpoint: safetensors, or ``torch.load`` with ``weights_only=True``, never more.

    Of what a training script put beside the weights (optimizer, epoch, …) only class names are kept. Where there are
    averaged weights (EMA) they are taken, as timm does; ``entry`` says so.

    Raises:
        CheckpointError: when the file is missing, damaged, holds code, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}{': it is a folder' if path.is_dir() else ''}.")
    with path.open("rb") as file:
        start = file.read(200).lstrip().lower()
    if not start:
        raise CheckpointError(f"{path.name} is empty.")
    for mark, what in FOREIGN.items():
        if start.startswith(mark):
            raise CheckpointError(f"{path.name} is {what}.")
    try:
        if path.suffix == ".safetensors":
            return Checkpoint(load_file(path), metadata=read_metadata(path))
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options in checkpoints of timm's train.py
            content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a safetensors file ({error}).") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} holds more than tensors (a pickle with code in it, or not a checkpoint at all) and is not "
            f"loaded; save the state_dict, best as safetensors.") from error
    except Exception as error:  # zip, EOF, key and runtime errors of damaged files
        raise CheckpointError(f"{path.name} is damaged or not a checkpoint ({first_line(error)}).") from error
    state, entry = content, []
    while key := isinstance(state, dict) and next((k for k in ENTRIES if isinstance(state.get(k), dict)), None):
        state = state[key]
        entry.append(key)
    if not isinstance(state, dict) or not state or not all(
            isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()):
        raise CheckpointError(f"{path.name} holds no state_dict of tensors{f' in {entry[-1]!r}' if entry else ''}.")
    metadata = {key: content[key] for key in (*NAMES, "class_to_idx") if key in content}
    return Checkpoint(dict(state), ".".join(entry), metadata if entry else {})


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint; see ``read_checkpoint``."""
    return read_checkpoint(path).state


def unwrapped(state: dict[str, torch.Tensor], module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The same tensors without the prefixes that wrappers put before every name, "module." and such."""
    own = module.state_dict().keys()
    while True:
        if state.keys() - own == {"n_averaged"}:  # of torch.optim.swa_utils.AveragedModel
            return {key: value for key, value in state.items() if key != "n_averaged"}
        counted = state.keys() - {"n_averaged"}
        prefix = next((p for p in WRAPPERS if counted and all(key.startswith(p) for key in counted)), None)
        if prefix is None or any(key.startswith(prefix) for key in own):
            return state
        state = {key.removeprefix(prefix): value for key, value in state.items()}


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
