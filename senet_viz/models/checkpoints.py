"""Weights on disk: safetensors with a description in the file's metadata, or pickles restricted to tensors."""
import argparse
import json
import pickle
import pickletools
import re
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file

from ..data.files import replacing

NAMES = ("classes", "class_names", "label_names")
FOREIGN = {  # how files begin that people take for checkpoints
    b"<!doctype": "a web page, not a checkpoint: fetch the file itself",
    b"<html": "a web page, not a checkpoint: fetch the file itself",
    b"version https://git-lfs": "a Git LFS pointer, not the checkpoint it stands for: run git lfs pull",
}
MOST_HEADER = 2**24  # bytes that a safetensors file says of its tensors; of 10,000 these are about 1 MB
MOST_STEPS = 2**20  # of a pickle; the weights and optimizer of 1,000 tensors take about 100,000
MOST_UNPACKED = 2  # times its size that a zip archive unpacks to; torch.save packs nothing
START = 2**20  # bytes of a pickle, in which a network's layers are named
LONGEST = 300  # characters of a line that another's error says
DEPTH = 4  # dictionaries inside of dictionaries that are looked through for weights

_reading = threading.Lock()


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit its architecture; the message is one sentence."""


class _Beside:
    """What numpy's numbers and arrays, such as a best accuracy, are read as: nothing, for only weights are wanted.

    Numpy's own would be made of whatever an untrusted file says that their type is.
    """

    def __init__(self, *_):
        pass

    def __setstate__(self, _):
        pass


SAFE: list[Callable | tuple[Callable, str]] = [
    argparse.Namespace,  # the options in checkpoints of timm's train.py
    *((_Beside, f"numpy.{name}") for name in ("dtype", "ndarray")),
    *((_Beside, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core")  # before numpy 2 and since
      for name in ("scalar", "_reconstruct")),
]


@dataclass
class Checkpoint:
    """What was read from a file.

    Attributes:
        states: the file's state_dicts, tensors by name on the CPU, by the keys that lead to them ("model_ema.module"
            for one; "" where the file is a state_dict itself). Those beside whose tensors other things lie (an epoch)
            come last, without these. ``matching.find`` tells which is a network's.
        metadata: what a safetensors file says of itself; of a pickle, its class names where it has some.
    """

    states: dict[str, dict[str, torch.Tensor]]
    metadata: dict = field(default_factory=dict)

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The only state_dict, or the first of several."""
        return next(iter(self.states.values()))

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
    """Write tensors and a JSON-serialisable description into one safetensors file, whole or not at all.

    Raises:
        OSError: when the disk is full.
    """
    with replacing(path) as part:
        try:
            save_file({key: value.contiguous() for key, value in state.items()}, part,
                      metadata=_as_text(metadata))
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from error


def checkpoint_bytes(state: dict[str, torch.Tensor], metadata: dict) -> bytes:
    """What ``save_checkpoint`` would write, for whoever else keeps it."""
    return save({key: value.cpu().contiguous() for key, value in state.items()}, _as_text(metadata))


def _as_text(metadata: dict) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in metadata.items()}


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

    Of what a training script put beside the weights (optimizer, epoch, …) only class names are kept.

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
            _check_header(path)
            return Checkpoint({"": load_file(path)}, read_metadata(path))
        parts, pickled = _inside(path)
        if any(part.endswith("/constants.pkl") for part in parts):
            raise CheckpointError(f"{path.name} is a TorchScript archive, which holds code: where you trust it, "
                                  f"torch.save(torch.jit.load(…).state_dict(), …) makes a checkpoint of it.")
        with _harmless():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a safetensors file ({error}).") from error
    except pickle.UnpicklingError as error:
        if re.search(rb"torch\.nn\.modules\.(?!loss)", pickled):  # layers; a loss alone is no network
            raise CheckpointError(
                f"{path.name} holds a whole pickled network, which is code, and is not loaded: where that code is, "
                f"torch.save(network.state_dict(), …) writes its weights alone.") from error
        raise CheckpointError(
            f"{path.name} holds more than tensors (a pickle with code in it, or not a checkpoint at all) and is not "
            f"loaded; save the state_dict, best as safetensors.") from error
    except Exception as error:  # zip, EOF, key and runtime errors of damaged files
        raise CheckpointError(f"{path.name} is damaged or not a checkpoint ({first_line(error)}).") from error
    states = _state_dicts(content)
    if not states:
        raise CheckpointError(f"{path.name} holds no state_dict of dense tensors.")
    return Checkpoint(states, {key: content[key] for key in (*NAMES, "class_to_idx") if key in content})


@contextmanager
def _harmless() -> Iterator[None]:
    """``torch.serialization.safe_globals(SAFE)``, one reader at a time, which leaves in the list what was there.

    The list is the whole process's: who leaves first would take the names from another who reads.
    """
    with _reading:
        before = torch.serialization.get_safe_globals()
        try:
            with torch.serialization.safe_globals(SAFE):
                yield
        finally:
            torch.serialization.add_safe_globals(before)


def _state_dicts(content: object) -> dict[str, dict[str, torch.Tensor]]:
    """The dense tensors of all dictionaries in a file that hold some by name, those near to the top first.

    Behind them come dictionaries that hold other things as well.
    """
    states: dict[str, dict[str, torch.Tensor]] = {}
    mixed: dict[str, dict[str, torch.Tensor]] = {}
    queue: deque[tuple[object, tuple[str, ...]]] = deque([(content, ())])
    seen = set()  # a file may nest as deep as it likes, and hold itself
    while queue:
        value, keys = queue.popleft()
        if not isinstance(value, dict) or not value or id(value) in seen:
            continue
        seen.add(id(value))
        tensors = {key: tensor for key, tensor in value.items() if isinstance(tensor, torch.Tensor)}
        if tensors and all(isinstance(key, str) and _is_dense(tensor) for key, tensor in tensors.items()):
            (states if len(tensors) == len(value) else mixed).setdefault(".".join(keys), tensors)
        if len(tensors) < len(value) and len(keys) < DEPTH:
            queue.extend((inner, (*keys, str(key))) for key, inner in value.items())
    return states | {place: tensors for place, tensors in mixed.items() if place not in states}


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_meta


def _check_header(path: Path) -> None:
    """Refuse a safetensors file that names millions of tensors, before they are all read."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if MOST_HEADER < length <= path.stat().st_size:  # of a longer one safetensors says that the file is damaged
        raise CheckpointError(f"{path.name} takes {length / 1e6:,.0f} MB to describe its tensors; up to "
                              f"{MOST_HEADER / 1e6:.0f} MB are read.")


def _inside(path: Path) -> tuple[list[str], bytes]:
    """What a file of torch.save is made of: names of its parts, none in the format of old, and its pickle's start.

    Raises:
        CheckpointError: when far more would come out of the file than is in it.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            _check_steps(path.name, file)
            file.seek(0)
            return [], file.read(START)
    with zipfile.ZipFile(path) as archive:
        parts = archive.namelist()
        if sum(part.file_size for part in archive.infolist()) > MOST_UNPACKED * path.stat().st_size:
            raise CheckpointError(f"{path.name} is packed and would unpack to more than {MOST_UNPACKED} times its "
                                  f"size, which torch.save never writes: unpack it first.")
        pickled = next((part for part in parts if part.endswith("/data.pkl")), None)
        if pickled is None:
            return parts, b""
        with archive.open(pickled) as file:
            _check_steps(path.name, file)
        with archive.open(pickled) as file:
            return parts, file.read(START)


def _check_steps(name: str, file: IO[bytes]) -> None:
    """Refuse pickles that would make millions of objects."""
    if sum(1 for _ in islice(_steps(file), MOST_STEPS + 1)) > MOST_STEPS:
        raise CheckpointError(f"{name} holds more than {MOST_STEPS:,} numbers, names and lists beside its tensors: "
                              f"save the state_dict alone.")


def _steps(file: IO[bytes]) -> Iterator[tuple]:
    """Of the pickles in a file; the format of old has five, one behind the other, the fourth of which has the names."""
    with suppress(ValueError):  # the end, or what is no pickle: torch.load will say so
        for _ in range(5):
            yield from pickletools.genops(file)


def first_line(error: Exception) -> str:
    """What an error says, on one line; its class where it says nothing. It may quote a file, at any length."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
