"""The one place that hooks a model: exclusive use, evaluation mode, and hooks that always come off again."""
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .state import inspected, part_at

WAIT = 120.0  # seconds to wait for a model that another thread is using
MULTIPLICATIONS = {"mul", "multiply", "rmul"}
ELLIPSIS = "01234567"  # no letters of an einsum

_locks: "weakref.WeakKeyDictionary[nn.Module, _Use]" = weakref.WeakKeyDictionary()
_guard = threading.Lock()


class _Use:
    """A lock that its thread may take several times, and that another thread may open again.

    A generator that is inside is closed by whichever thread drops it; ``threading.RLock`` would stay shut.
    """

    def __init__(self):
        self._lock, self._thread, self._times = threading.Lock(), 0, 0

    def acquire(self, timeout: float) -> bool:
        if self._thread != threading.get_ident() and not self._lock.acquire(timeout=timeout):
            return False
        self._thread, self._times = threading.get_ident(), self._times + 1
        return True

    def release(self) -> None:
        self._times -= 1
        if not self._times:
            self._thread = 0
            self._lock.release()


class ModelBusy(RuntimeError):
    """Another thread has been using the model for longer than the caller would wait."""


class Hooks:
    """Hooks on submodules of one network, seen only by forwards of the thread that set them.

    A place is a submodule's path, "layer2.3.se", or one of the calls of a submodule that runs several times in one
    forward, from 0: "neck.se@1".

    ``shared=False`` is for a network that nobody else uses: without the look at the thread ``torch.compile`` can take
    the hooks into its graph.
    """

    def __init__(self, module: nn.Module, shared: bool = True):
        self.module = module
        self.parts: list[nn.Module] | None = None  # all of them, where they have been looked for already
        self.elsewhere = False  # whether a hooked part was run by another thread
        self._handles: list = []
        self._multiplied: dict[str, dict[int, list[Callable]]] = {}
        self._modes: list[list[_Multiplications]] = []  # those that are entered, of each watched part
        self._calls: dict[str, int] = {}  # path → calls begun in this forward, of parts that are called several times
        self._thread = threading.get_ident() if shared else None

    def before(self, place: str, function: Callable) -> None:
        """Call ``function(input)`` with the first argument of the submodule; a tensor it returns takes its place.

        The input is None where the submodule is called with keywords alone.
        """
        part, ours = self._at(place)

        def hook(_, args):
            if ours():
                new = function(args[0] if args else None)
                if new is not None:
                    return (new, *args[1:])
        self._handles.append(part.register_forward_pre_hook(hook))

    def after(self, place: str, function: Callable) -> None:
        """Call ``function(input, output)`` after the submodule; a tensor it returns takes the output's place."""
        part, ours = self._at(place)

        def hook(_, args, output):
            if ours():
                return function(args[0] if args else None, output)
        self._handles.append(part.register_forward_hook(hook))

    def keep(self, place: str, kept: list[torch.Tensor]) -> None:
        """Append a copy of each output of the submodule, with its graph.

        What is asked most, in few steps: a network's weights have just gone through the processor's cache, so that each
        function that a hook calls has to come from memory.
        """
        part, ours = self._at(place)

        def hook(_, __, output):
            if ours():
                kept.append(output.clone())
        self._handles.append(part.register_forward_hook(hook))

    def after_scripts(self, function: Callable) -> None:
        """Call ``function(path, inputs, output)`` after each TorchScript part, which takes no hooks of its own."""
        scripts = {id(part): path for path, part in self.module.named_modules()
                   if isinstance(part, torch.jit.ScriptModule)}
        if not scripts:
            return

        def hook(part, args, output):
            if id(part) in scripts and threading.get_ident() == self._thread:
                function(scripts[id(part)], args, output)
        self._handles.append(nn.modules.module.register_module_forward_hook(hook))

    def multiplied(self, place: str, number: int, function: Callable) -> None:
        """Call ``function(multiply, *operands)`` instead of a multiplication in the submodule's forward.

        Multiplications are counted from 0, those in its own submodules among them. ``multiply(*operands)`` gives the
        product; what ``function`` returns takes its place.
        """
        watched = self._multiplied.setdefault(place, {})
        watched.setdefault(number, []).append(function)
        if len(watched) > 1 or len(watched[number]) > 1:
            return
        part, ours = self._at(place)
        modes: list[_Multiplications] = []
        self._modes.append(modes)

        def enter(*_):
            if ours():
                modes.append(_Multiplications(watched))
                modes[-1].__enter__()

        def leave(*_):
            if modes and ours():
                modes.pop().__exit__(None, None, None)

        self._handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave, always_call=True)]

    def _at(self, place: str) -> tuple[nn.Module, Callable[[], bool]]:
        """The submodule of a place, and whether a call of it is this place's, and of this thread."""
        path, number = part_and_call(place)
        part = part_at(self.module, path)
        if number is not None and path not in self._calls:
            self._count(path, part)

        def ours() -> bool:
            if self._thread is not None and threading.get_ident() != self._thread:
                self.elsewhere = True
                return False
            if self._thread is not None and not self._handles:  # taken off within a call that calls it all the same
                return False
            return number is None or self._calls[path] == number + 1
        return part, ours

    def _count(self, path: str, part: nn.Module) -> None:
        """Count the calls of a submodule, from each beginning of the network's forward."""
        def begin(*_):
            if self._thread is None or threading.get_ident() == self._thread:
                self._calls[path] = 0

        def call(*_):
            if self._thread is None or threading.get_ident() == self._thread:
                self._calls[path] += 1
        self._calls[path] = 0
        self._handles += [self.module.register_forward_pre_hook(begin), part.register_forward_pre_hook(call)]

    def remove(self) -> None:
        """Take every hook off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for modes in self._modes:  # after a KeyboardInterrupt, at which torch calls no hook, some are entered still
            while modes:
                modes.pop().__exit__(None, None, None)


def part_and_call(place: str) -> tuple[str, int | None]:
    """The submodule of a place, and which of its calls; None for one that is called once.

    >>> part_and_call("layer2.3.se"), part_and_call("neck.se@1")
    (('layer2.3.se', None), ('neck.se', 1))
    """
    path, at, number = place.rpartition("@")
    return (path, int(number)) if at and number.isdigit() else (place, None)


class _Multiplications(TorchFunctionMode):
    """Counts the multiplications of one forward and hands the watched ones over."""

    def __init__(self, watched: dict[int, list[Callable]]):
        super().__init__()
        self.watched, self.number = watched, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def multiply(*operands):
            return func(*operands, **kwargs)

        kwargs = dict(kwargs or {})
        if (product := product_of(func, args)) is not None:
            with self:
                return product()
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


def product_of(func: Callable, args: tuple) -> Callable[[], torch.Tensor] | None:
    """How to multiply what an einsum such as "bct,bc->bct" multiplies; None for a function that does anything else.

    An einsum that sums nothing is a multiplication, of the same digits.
    """
    if function_name(func) != "einsum" or not isinstance(args[0], str):
        return None
    given, arrow, result = args[0].replace(" ", "").partition("->")
    terms, operands = given.split(","), tensors_in(args[1:])
    if not arrow or not len(terms) == len(operands) == 2:
        return None
    # "..." stands for as many dimensions as an operand has beside its letters, aligned at their ends
    beside = [operand.dim() + 3 - len(term) if "..." in term else 0 for term, operand in zip(terms, operands)]
    if max(beside) > len(ELLIPSIS):
        return None
    terms = [term.replace("...", ELLIPSIS[len(ELLIPSIS) - count:]) for term, count in zip(terms, beside)]
    result = result.replace("...", ELLIPSIS[len(ELLIPSIS) - max(beside):])
    if set("".join(terms)) != set(result) or any(len(set(term)) < len(term) for term in (*terms, result)):
        return None

    def along(term: str, operand: torch.Tensor) -> torch.Tensor:
        order = [term.index(letter) for letter in result if letter in term]
        operand = operand if order == sorted(order) else operand.permute(order)
        return operand[tuple(slice(None) if letter in term else None for letter in result)]
    return lambda: torch.mul(*map(along, terms, operands))


def tensors_in(values: Iterable) -> list[torch.Tensor]:
    """The tensors among values, and in lists and tuples among them."""
    found: list[torch.Tensor] = []
    for value in values:
        found += [value] if isinstance(value, torch.Tensor) else tensors_in(value) if isinstance(
            value, (list, tuple)) else []
    return found


@contextmanager
def hooked(module: nn.Module, wait: float | None = None, first: bool = False) -> Iterator[Hooks]:
    """Exclusive use of a network in evaluation mode, with hooks that are removed whatever happens.

    Hooks are state of the module: two threads that record from one network at once would see each other's. Whoever
    enters here waits for the one before, at most ``wait`` seconds (``WAIT`` when None). Inside, the caller's
    ``torch.inference_mode`` is off, for its tensors never have gradients, and what was compiled runs eagerly. What the
    network is afterwards, and what ``first`` is: ``senet_viz.gates.state.inspected``.

    Raises:
        ModelBusy: when the wait was in vain.
    """
    wait = WAIT if wait is None else wait
    with _guard:
        lock = _locks.setdefault(module, _Use())
    if not lock.acquire(timeout=wait):
        raise ModelBusy(f"The model has been busy with other work for {wait:g} seconds; try again in a moment.")
    hooks = Hooks(module)
    try:
        with inspected(module, first) as hooks.parts:
            yield hooks
    finally:
        hooks.remove()
        lock.release()
