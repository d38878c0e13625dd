"""The one place that hooks a model: exclusive use, evaluation mode, and hooks that always come off again."""
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

WAIT = 120.0  # seconds to wait for a model that another thread is using
MULTIPLICATIONS = {"mul", "multiply", "rmul"}

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
        self._multiplied: dict[str, dict[int, list[Callable]]] = {}
        self._thread = threading.get_ident() if shared else None

    def before(self, path: str, function: Callable) -> None:
        """Call ``function(input)`` with the first argument of the submodule; a tensor it returns takes its place.

        The input is None where the submodule is called with keywords alone.
        """
        def hook(_, args):
            if self._thread is None or threading.get_ident() == self._thread:
                new = function(args[0] if args else None)
                if new is not None:
                    return (new, *args[1:])
        self._handles.append(self.module.get_submodule(path).register_forward_pre_hook(hook))

    def after(self, path: str, function: Callable) -> None:
        """Call ``function(input, output)`` after the submodule; a tensor it returns takes the output's place."""
        def hook(_, args, output):
            if self._thread is None or threading.get_ident() == self._thread:
                return function(args[0] if args else None, output)
        self._handles.append(self.module.get_submodule(path).register_forward_hook(hook))

    def multiplied(self, path: str, number: int, function: Callable) -> None:
        """Call ``function(multiply, *operands)`` instead of a multiplication in the submodule's forward.

        Multiplications are counted from 0, those in its own submodules among them. ``multiply(*operands)`` gives the
        product; what ``function`` returns takes its place.
        """
        watched = self._multiplied.setdefault(path, {})
        watched.setdefault(number, []).append(function)
        if len(watched) > 1 or len(watched[number]) > 1:
            return
        modes: list[_Multiplications] = []

        def enter(*_):
            if self._thread is None or threading.get_ident() == self._thread:
                modes.append(_Multiplications(watched))
                modes[-1].__enter__()

        def leave(*_):
            if modes and (self._thread is None or threading.get_ident() == self._thread):
                modes.pop().__exit__(None, None, None)

        part = self.module.get_submodule(path)
        self._handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave, always_call=True)]

    def remove(self) -> None:
        """Take every hook off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


class _Multiplications(TorchFunctionMode):
    """Counts the multiplications of one forward and hands the watched ones over."""

    def __init__(self, watched: dict[int, list[Callable]]):
        super().__init__()
        self.watched, self.number = watched, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def multiply(*operands):
            return func(*operands, **kwargs)

        kwargs = dict(kwargs or {})
        if function_name(func) in MULTIPLICATIONS:
            args = (*args, *(kwargs.pop(name) for name in ("input", "other") if name in kwargs))
            number, self.number = self.number, self.number + 1
            for function in reversed(self.watched.get(number, ())):  # the first hooked is the first called
                multiply = _around(function, multiply)
        return multiply(*args)


def _around(function: Callable, multiply: Callable) -> Callable:
    return lambda *operands: function(multiply, *operands)


def function_name(func: Callable) -> str:
    """The name of a torch function, the same for a function, a method, an operator and an operation in place."""
    return getattr(func, "__name__", "").strip("_")


def tensors_in(values: Iterable) -> list[torch.Tensor]:
    """The tensors among values, and in lists and tuples among them."""
    found: list[torch.Tensor] = []
    for value in values:
        found += [value] if isinstance(value, torch.Tensor) else tensors_in(value) if isinstance(
            value, (list, tuple)) else []
    return found


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
    parts = list(module.modules())
    training = [part for part in parts if part.training]
    compiled = {part: part._compiled_call_impl for part in parts if part._compiled_call_impl is not None}
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
