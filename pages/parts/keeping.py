"""What the pages keep between reruns and visitors, all of it together within one budget of bytes.

``functools.lru_cache``, cachetools and Streamlit's own caches count values, or add up a size for each. Here several
values hold the same memory (the graph of a picture holds the network's weights), so that memory is counted, not values:
each storage once, for as long as any value that is kept holds it.
"""
import ctypes
import inspect
import sys
import threading
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, wraps
from types import FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd
import streamlit as st
import torch
from PIL import Image

GB = 10**9
BUDGET = 2 * GB  # bytes, where nobody says otherwise
WORTH = 10**7  # bytes: to give back less takes longer than it is worth
TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
CLOSED = type, ModuleType, FunctionType, MethodType, type(threading.Lock())  # what they refer to is not counted


@dataclass
class _Entry:
    value: Any
    pieces: dict[Hashable, int]
    rank: float = 0.0  # the lowest goes first

    @property
    def size(self) -> int:
        return sum(self.pieces.values())


class Store:
    """Values by key. Where they are more than ``budget`` bytes together, some go: of two of one size that which was not
    asked for for longer, and large ones before small ones (GreedyDual-Size: P. Cao, S. Irani, USITS 1997). Else each
    feature map that comes would push out the small tables of all pictures, which cost as much to make again.

    Several threads may use it; they compute one key once, and different ones beside each other. Nobody may change what
    it gives: it is the same object for all.

    Args:
        budget: bytes.
    """

    def __init__(self, budget: int = BUDGET):
        self._budget, self._total = budget, 0
        self._gone = 0.0  # the rank of what went last
        self._freed = 0  # bytes that went, since they were given back to the system
        self._entries: dict[Hashable, _Entry] = {}
        self._held: dict[Hashable, tuple[int, int]] = {}  # piece → by how many values, bytes
        self._lock = threading.Lock()
        self._turns: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        self._alive: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()  # what was made, while anyone has it

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    @property
    def bytes(self) -> int:
        """What is kept."""
        with self._lock:
            return self._total

    @property
    def budget(self) -> int:
        """What may be kept."""
        return self._budget

    @budget.setter
    def budget(self, budget: int) -> None:
        with self._lock:
            self._budget = budget
            self._fit()
        self._give_back()

    def get(self, key: Hashable, make: Callable[[], Any], *, grows: bool = False) -> Any:
        """The value of a key, made where it is not kept.

        Args:
            key: names everything that the value depends on.
            make: gives the value. What it raises is raised here and not kept, for the next one to try again; a value
                larger than the budget is not kept either.
            grows: whether the value takes more memory as it is used, so that it is measured each time.
        """
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
            entry = self._touch(key)
        if entry is None:
            with turn:  # who comes second finds what the first one made
                with self._lock:
                    entry = self._touch(key)
                if entry is None:
                    value = self._alive.get(key)  # it fell out, but a page still has it: a network, above all
                    entry = _Entry(value := make() if value is None else value, pieces(value))
                    self._put(key, entry)
                    return value
        if grows and (found := pieces(entry.value)) != entry.pieces:
            self._put(key, _Entry(entry.value, found))
        return entry.value

    def _touch(self, key: Hashable) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._rank(key, entry)
        return entry

    def _rank(self, key: Hashable, entry: _Entry) -> None:
        entry.rank = self._gone + 1 / max(1, entry.size)
        self._entries[key] = self._entries.pop(key, entry)  # to the end: of equal ranks the first goes first

    def _put(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            self._drop(key)
            with suppress(TypeError):  # tuples and the like cannot be followed
                self._alive[key] = entry.value
            if entry.size > self._budget:
                return
            self._rank(key, entry)
            for piece, size in entry.pieces.items():
                count, known = self._held.get(piece, (0, size))
                self._held[piece] = count + 1, known
                self._total += known if count == 0 else 0
            self._fit()
        self._give_back()

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        for piece in entry.pieces if entry else ():
            count, size = self._held.pop(piece)
            if count > 1:
                self._held[piece] = count - 1, size
            else:
                self._total -= size

    def _fit(self) -> None:
        while self._total > self._budget:
            key, before = min(self._entries, key=lambda key: self._entries[key].rank), self._total
            self._gone = self._entries[key].rank
            self._drop(key)
            self._freed += before - self._total

    def _give_back(self) -> None:
        """Let glibc return what was freed to the system: with large networks it would keep twice the budget."""
        if self._freed > max(self._budget / 10, WORTH):
            self._freed = 0
            if TRIM is not None:
                TRIM(0)


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """That of this process; "Clear cache" in Streamlit's menu empties it."""
    return Store()


def kept(spinner: str = "", *, grows: bool = False) -> Callable[[Callable], Callable]:
    """Let a function's values be kept in the ``store``, by its arguments but those whose names begin with "_".

    Args:
        spinner: what is said while a value is made, nothing where empty.
        grows: as of ``Store.get``.
    """
    def decorate(function: Callable) -> Callable:
        named = [not name.startswith("_") for name in inspect.signature(function).parameters]
        code = inspect.unwrap(function).__code__  # Streamlit runs pages anew, each time as "__main__"
        own = code.co_filename, code.co_qualname

        @wraps(function)
        def wrapped(*args: Any) -> Any:
            def make() -> Any:
                if not spinner:
                    return function(*args)
                with st.spinner(spinner):
                    return function(*args)

            return store().get((own, *(value for value, is_key in zip(args, named) if is_key)), make, grows=grows)
        return wrapped
    return decorate


def pieces(value: Any) -> dict[Hashable, int]:
    """The memory that a value holds: a name of each piece → its bytes.

    Tensors count with the whole storage behind them, those that a graph for a backward saved too; arrays with the whole
    array that they are a view of, but not where that lies in a mapped file; tables as
    ``memory_usage(deep=True)``; networks with parameters and buffers; other objects with what their attributes hold.
    """
    found: dict[Hashable, int] = {}
    seen: dict[int, Any] = {}  # holds what is made on the way, so that no other object gets its number
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen[id(one)] = one
        waiting += _inside(one, found)
    return found


def _inside(one: Any, found: dict[Hashable, int]) -> Iterable[Any]:
    """Count one object, and give those that it holds."""
    if isinstance(one, torch.Tensor):
        if one.layout != torch.strided:
            return (one.indices(), one.values()) if one.layout == torch.sparse_coo else ()
        storage = one.untyped_storage()
        if storage.nbytes() and not one.is_meta:
            found[storage.data_ptr()] = storage.nbytes()
        return one.grad_fn, one.grad if one.is_leaf else None
    if isinstance(one, torch.autograd.graph.Node):
        return _saved(one)
    if isinstance(one, torch.nn.Module):
        return *one.parameters(), *one.buffers()
    if isinstance(one, np.ndarray):
        if one.base is not None:
            return (one.base,)
        if one.nbytes:
            found[one.__array_interface__["data"][0]] = one.nbytes
        return one.ravel().tolist() if one.dtype == object else ()
    if isinstance(one, pd.DataFrame | pd.Series | pd.Index):
        usage = one.memory_usage(deep=True)
        found[id(one)] = int(usage.sum() if isinstance(one, pd.DataFrame) else usage)
        return ()
    if isinstance(one, Image.Image):
        found[id(one)] = one.width * one.height * len(one.getbands())
        return ()
    if isinstance(one, CLOSED):
        return ()
    found[id(one)] = sys.getsizeof(one)
    if isinstance(one, str | bytes | bytearray | int | float):
        return ()
    if isinstance(one, dict):
        return *one.keys(), *one.values()
    if isinstance(one, list | tuple | set | frozenset):
        return one
    return list(vars(one).values()) if hasattr(one, "__dict__") else ()


@cache
def _saving(kind: type) -> list[str]:
    """The attributes of a kind of step in a graph under which it saved tensors."""
    return [name for name in dir(kind) if name.startswith("_saved_") or name in ("saved_tensors", "variable")]


def _saved(step: torch.autograd.graph.Node) -> Iterable[Any]:
    """What a step of a graph holds, and the steps before it."""
    held: list[Any] = [before for before, _ in step.next_functions]
    for name in _saving(type(step)):
        try:
            found = getattr(step, name)
        except RuntimeError:  # freed by a backward
            continue
        held += [tensor for tensor in (found if isinstance(found, list | tuple) else (found,))
                 if isinstance(tensor, torch.Tensor)]
    return held
