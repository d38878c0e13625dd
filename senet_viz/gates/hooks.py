"""The one place that hooks a model: exclusive use, evaluation mode, and hooks that always come off again."""
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

WAIT = 120.0  # seconds to wait for a model that another thread is using

_locks: "weakref.WeakKeyDictionary[nn.Module, threading.RLock]" = weakref.WeakKeyDictionary()
_guard = threading.Lock()


class ModelBusy(RuntimeError):
    """Another thread has been using the model for longer than the caller would wait."""


class Hooks:
    """Hooks on submodules of one network, seen only by forwards of the thread that set them.

    ``shared=False`` is for a network that nobody else uses: without the look at the thread ``torch.compile`` can take
    the hooks into its graph.
    """

    def __init__(self, module: nn.Module, shared: bool = True):
        self.module = module
        self._handles: list = []
        self._thread = threading.get_ident() if shared else None

    def before(self, path: str, function: Callable) -> None:
        """Call ``function(input)`` with the first argument of the submodule; a tensor it returns takes its place."""
        def hook(_, args):
            if (self._thread is None or threading.get_ident() == self._thread) and args:
                new = function(args[0])
                if new is not None:
                    return (new, *args[1:])
        self._handles.append(self.module.get_submodule(path).register_forward_pre_hook(hook))

    def after(self, path: str, function: Callable) -> None:
        """Call ``function(input, output)`` after the submodule; a tensor it returns takes the output's place."""
        def hook(_, args, output):
            if self._thread is None or threading.get_ident() == self._thread:
                return function(args[0] if args else None, output)
        self._handles.append(self.module.get_submodule(path).register_forward_hook(hook))

    def remove(self) -> None:
        """Take every hook off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


@contextmanager
def hooked(module: nn.Module, wait: float | None = None) -> Iterator[Hooks]:
    """Exclusive use of a network in evaluation mode, with hooks that are removed whatever happens.

    Hooks are state of the module: two threads that record from one network at once would see each other's. Whoever
    enters here waits for the one before, at most ``wait`` seconds (``WAIT`` when None). Inside, the caller's
    ``torch.inference_mode`` is off, for its tensors never have gradients, and a network compiled in place runs eagerly.
    The training flag of every submodule and the thread's gradient mode are afterwards as they were.

    Raises:
        ModelBusy: when the wait was in vain.
    """
    wait = WAIT if wait is None else wait
    with _guard:
        lock = _locks.setdefault(module, threading.RLock())
    if not lock.acquire(timeout=wait):
        raise ModelBusy(f"The model has been busy with other work for {wait:g} seconds; try again in a moment.")
    hooks = Hooks(module)
    training = [part for part in module.modules() if part.training]
    compiled = {part: part._compiled_call_impl for part in module.modules() if part._compiled_call_impl is not None}
    grad = torch.is_grad_enabled()
    try:
        for part in training:
            part.training = False
        for part in compiled:  # what nn.Module.compile() left: code from before these hooks
            part._compiled_call_impl = None
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            yield hooks
    finally:
        hooks.remove()
        for part in training:
            part.training = True
        for part, call in compiled.items():
            part._compiled_call_impl = call
        lock.release()
