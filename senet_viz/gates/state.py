"""A network is inspected in evaluation mode, run by Python part by part, and afterwards is as it was."""
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from inspect import getattr_static
from typing import Any, NamedTuple

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

SMALL = 2**16  # values of a buffer that is copied each time

# which buffers, by their part's number and their name, a forward changes in evaluation mode too (counters, means): this
# is known after the first one
_changing: "weakref.WeakKeyDictionary[nn.Module, set[tuple[int, str]]]" = weakref.WeakKeyDictionary()


def parts_of(module: nn.Module) -> list[nn.Module]:
    """``list(module.modules())``: the same parts in the same order, in a tenth of the time, for every call asks."""
    return list(_parts(module))


def first_parameter(module: nn.Module) -> nn.Parameter | None:
    """``next(module.parameters(), None)``, quickly as well."""
    return next((parameter for part in _parts(module) for parameter in part._parameters.values()
                 if parameter is not None), None)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    found: set[nn.Module] = set()
    waiting: list[nn.Module | None] = [module]
    while waiting:
        part = waiting.pop()
        if part is not None and part not in found:
            found.add(part)
            yield part
            if part._modules:  # most have none
                waiting += reversed([*part._modules.values()])


def part_at(module: nn.Module, path: str) -> nn.Module:
    """``module.get_submodule(path)``, quickly."""
    part: nn.Module | None = module
    for name in path.split(".") if path else ():
        if part is None or name not in part._modules:  # there is none, or it is in what torch.compile wrapped
            return module.get_submodule(path)
        part = part._modules[name]
    return module.get_submodule(path) if part is None else part


@contextmanager
def inspected(module: nn.Module, first: bool = False) -> Iterator[list[nn.Module]]:
    """Evaluation mode without compiled code, gradient checkpoints or inference mode; then everything as it was.

    Restored are the training flags, the gradient mode and the buffers. Gives the network's parts.

    Args:
        module: the network.
        first: whether it may be the first forward of this network, from which it is not known yet which buffers change.
    """
    state = _State(module, first)
    grad = torch.is_grad_enabled()
    with (torch.compiler.set_stance("force_eager") if state.compiled else nullcontext(), _without_checkpoints(),
          torch.inference_mode(False), torch.set_grad_enabled(grad)):
        try:
            for part in state.training:
                part.training = False
            for part in state.calls:  # what nn.Module.compile() left: code from before the hooks
                part._compiled_call_impl = None
            yield state.parts
        finally:
            for part in state.training:
                part.training = True
            for part, call in state.calls.items():
                part._compiled_call_impl = call
            state.restore_buffers()


def uncompiled(module: nn.Module) -> AbstractContextManager:
    """While this is entered ``torch.compile`` runs nothing that it compiled of the network: hooks are called."""
    compiled = any(_runs_compiled(part) for part in _parts(module))
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _runs_compiled(part: nn.Module) -> bool:
    kind: type = type(part)
    return (part._compiled_call_impl is not None or "_orig_mod" in part._modules
            or _is_compiled(part.__dict__.get("forward")) or _has_compiled_forward(kind))


class _Buffer(NamedTuple):
    """A buffer before a forward: of a part, which is the network's so many-th, under a name; with a copy or without."""

    number: int
    part: nn.Module
    name: str
    value: torch.Tensor
    version: int
    copy: torch.Tensor | None


class _State:
    """What is restored of a network, found in one walk: a forward has driven its parts out of the processor's cache.

    Attributes:
        parts: all of them.
        training: those in training mode.
        calls: those that ``nn.Module.compile()`` was called of, with what that made.
        compiled: whether ``torch.compile`` stands around one, or in the place of its, or its class's, ``forward``.
    """

    def __init__(self, module: nn.Module, first: bool):
        first = first or module not in _changing
        self.parts: list[nn.Module] = []
        self.training: list[nn.Module] = []
        self.calls: dict[nn.Module, Any] = {}
        self.compiled = False
        self._known = _changing.setdefault(module, set())
        self._buffers: list[_Buffer] = []
        kinds: set[type] = set()
        for number, part in enumerate(_parts(module)):
            kind: type = type(part)
            self.parts.append(part)
            kinds.add(kind)
            if part.training:
                self.training.append(part)
            if part._compiled_call_impl is not None:
                self.calls[part] = part._compiled_call_impl
            if (part._modules and "_orig_mod" in part._modules) or (
                    "forward" in part.__dict__ and _is_compiled(part.__dict__["forward"])):
                self.compiled = True
            if part._buffers and (first or self._known or not _is_torchs_norm(kind)):
                self._keep_buffers(number, part, first)
        self.compiled = self.compiled or any(map(_has_compiled_forward, kinds))

    def _keep_buffers(self, number: int, part: nn.Module, first: bool) -> None:
        norm = isinstance(part, _BatchNorm)
        for name, buffer in part._buffers.items():
            if buffer is not None and not buffer.is_inference():
                copied = first or (number, name) in self._known or (  # others may change for some inputs only
                    not norm and buffer.numel() <= SMALL)
                self._buffers.append(_Buffer(number, part, name, buffer, buffer._version,
                                             buffer.detach().clone() if copied else None))

    def restore_buffers(self) -> None:
        """Those that were replaced, and those that were written to where there is a copy; next time there is one."""
        for number, part, name, buffer, version, copy in self._buffers:
            held = part._buffers
            now = held[name] if name in held else None  # noqa: SIM401  # a script's buffers have no ``get``
            if now is not buffer and (now is None or now.shape == buffer.shape):  # else a table, grown with the input
                setattr(part, name, buffer)
                self._known.add((number, name))
            if buffer._version != version:
                self._known.add((number, name))
                if copy is not None and copy.shape == buffer.shape:
                    with torch.no_grad():
                        buffer.copy_(copy)


def _is_compiled(forward: object) -> bool:
    return hasattr(forward, "_torchdynamo_orig_callable")


@lru_cache(maxsize=1000)
def _is_torchs_norm(kind: type) -> bool:
    """Whether it is a batch norm as torch has it.

    Most buffers are of these, and change in training mode only: after the first look they are watched only where some
    buffer is known to change.
    """
    return getattr_static(kind, "forward", None) in (_BatchNorm.forward, nn.SyncBatchNorm.forward)


@lru_cache(maxsize=1000)
def _has_compiled_forward(kind: type) -> bool:
    return _is_compiled(getattr_static(kind, "forward", None))  # a script's class has none that can be asked for


# A checkpoint runs its part again in the backward: without the hooks, and when the network is in training mode again.
_inside: Counter[int] = Counter()  # how often each thread is, which another may end
_checkpoint_lock = threading.Lock()
_originals: dict[str, Any] = {}


@contextmanager
def _without_checkpoints() -> Iterator[None]:
    """``torch.utils.checkpoint`` only calls its function, in this thread."""
    thread = threading.get_ident()
    with _checkpoint_lock:
        if not _inside:
            _replace_checkpoints()
        _inside[thread] += 1
    try:
        yield
    finally:
        with _checkpoint_lock:
            _inside[thread] -= 1
            if not _inside[thread]:
                del _inside[thread]
            if not _inside:
                for name, original in _originals.items():
                    setattr(torch.utils.checkpoint, name, original)
                _originals.clear()


def _replace_checkpoints() -> None:
    """What ``checkpoint`` calls: an autograd function, or a generator that yields once for the function to be run."""
    library: Any = torch.utils.checkpoint
    reentrant = _originals["CheckpointFunction"] = library.CheckpointFunction
    library.CheckpointFunction = _called_at_once(reentrant)
    for name in ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl"):
        original = getattr(library, name, None)  # one of the two, by the version
        if original is not None:
            _originals[name] = original
            setattr(library, name, lambda *args, original=original, **kwargs: (
                iter([None]) if _inside[threading.get_ident()] else original(*args, **kwargs)))


@lru_cache(maxsize=1)  # an autograd function takes half a millisecond to make, a tenth of a small network's forward
def _called_at_once(reentrant: Any) -> type:
    def apply(function, preserve, *args):
        return function(*args) if _inside[threading.get_ident()] else reentrant.apply(function, preserve, *args)

    return type("CheckpointFunction", (reentrant,), {"apply": staticmethod(apply)})
