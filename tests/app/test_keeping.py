"""What pages keep: one budget of bytes for everything, whoever asks."""
import gc
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from pages.parts import keeping
from pages.parts.keeping import GB, Store, kept, pieces


def size(value) -> int:
    return sum(pieces(value).values())


def array(bytes_: int) -> np.ndarray:
    return np.zeros(bytes_, np.uint8)


class Counted:
    """Makes arrays, and counts how often."""

    def __init__(self, bytes_: int):
        self.bytes, self.made = bytes_, 0

    def __call__(self) -> np.ndarray:
        self.made += 1
        return array(self.bytes)


def test_the_budget_holds_and_what_fell_out_is_made_again():
    store, make = Store(1000), Counted(300)
    for key in range(5):
        store.get(key, make)
        assert store.bytes <= 1000
        gc.collect()
    assert [key in store for key in range(5)] == [False, False, True, True, True]
    assert store.bytes == 900 and make.made == 5
    store.get(4, make)
    assert make.made == 5
    store.get(0, make)
    assert make.made == 6 and 2 not in store


def test_what_was_asked_for_last_stays():
    store, make = Store(1000), Counted(300)
    for key in "abcad":
        store.get(key, make)
    assert [key in store for key in "abcd"] == [True, False, True, True]


def test_large_values_go_before_small_ones_but_not_for_ever():
    store = Store(1000)
    for number in range(5):
        store.get(("small", number), lambda: array(10))
        store.get(("large", number), lambda: array(500))
    assert all(("small", number) in store for number in range(5))
    assert [("large", number) in store for number in range(5)] == [False, False, False, False, True]
    for number in range(500):  # of which each would do for fifty small ones
        store.get(("more", number), lambda: array(500))
    assert not any(("small", number) in store for number in range(5))


def test_a_smaller_budget_lets_go_at_once():
    store = Store(1000)
    for key in range(3):
        store.get(key, lambda: array(300))
    store.budget = 650
    assert store.bytes == 600 and 0 not in store and len(store) == 2


def test_a_value_too_large_is_used_and_not_kept():
    store, large = Store(1000), Counted(1001)
    store.get("small", lambda: array(800))
    assert len(store.get("large", large)) == 1001
    gc.collect()
    assert len(store.get("large", large)) == 1001 and large.made == 2
    assert "large" not in store and "small" in store and store.bytes == 800


def test_a_value_that_a_page_still_has_is_taken_back():
    store, make = Store(1000), Counted(600)
    mine = store.get("mine", make)
    store.get("other", lambda: array(600))
    assert "mine" not in store
    assert store.get("mine", make) is mine and make.made == 1 and "mine" in store


def test_an_error_is_not_kept():
    store, tries = Store(), []

    def fails():
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not now")
        return "there"

    for _ in range(2):
        with pytest.raises(ValueError, match="not now"):
            store.get("key", fails)
        assert "key" not in store and store.bytes == 0
    assert store.get("key", fails) == "there" == store.get("key", fails) and len(tries) == 3


def test_shared_memory_is_counted_once_and_until_the_last_lets_go():
    store, shared = Store(10_000), torch.zeros(1000)  # 4000 bytes
    store.get("first", lambda: shared[:10])
    store.get("second", lambda: shared[500:])
    assert store.bytes == 4000
    store.get("own", lambda: array(5900))
    assert store.bytes == 9900 and len(store) == 3
    store.budget = 4500
    assert "own" not in store and len(store) == 2 and store.bytes == 4000
    store.budget = 3900  # "first" holds nothing alone: "second" has to go as well
    assert len(store) == store.bytes == 0


def test_a_value_that_grows_is_measured_again():
    store, growing = Store(10_000), {"first": array(100)}
    store.get("key", lambda: growing, grows=True)
    before = store.bytes
    growing["second"] = array(2000)
    store.get("key", dict, grows=True)
    assert store.bytes >= before + 2000
    growing["third"] = array(20_000)
    assert store.get("key", dict, grows=True) is growing
    assert "key" not in store and store.bytes == 0


def test_threads_make_a_key_once_and_different_ones_beside_each_other():
    store, begun, together = Store(), [], threading.Barrier(2, timeout=20)

    def slow(key):
        begun.append(key)
        together.wait()  # both are being made at one time, or this breaks
        time.sleep(0.05)
        return [key]

    found: dict[str, list] = {"a": [], "b": []}

    def ask(key):
        found[key].append(store.get(key, lambda: slow(key)))

    threads = [threading.Thread(target=ask, args=(key,)) for key in "ab" * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(begun) == ["a", "b"]
    assert all(len(values) == 8 and all(value is values[0] for value in values) for values in found.values())


def test_the_count_is_right_after_many_threads():
    store, errors = Store(5000), []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(300):
                key = int(rng.integers(20))
                assert len(store.get(key, partial(array, 100 * (key + 1)))) == 100 * (key + 1)
                assert store.bytes <= 5000
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert store.bytes == sum(100 * (key + 1) for key in range(20) if key in store) <= 5000


# --- sizes


def test_tensors_and_arrays_count_with_all_that_is_behind_them():
    assert size(torch.zeros(10, 20)) == 800
    assert size(torch.zeros(10, 20)[3, 5:7]) == 800
    assert size([torch.zeros(5, dtype=torch.float64)] * 3) == 40 + sys.getsizeof([0] * 3)
    base = np.zeros((100, 8))
    assert size(base) == size(base[3:4].T) == 6400
    tensor = torch.zeros(100)
    assert size((tensor, tensor.numpy()[5:])) == 400 + sys.getsizeof((0, 0))
    assert size(torch.zeros(2, 2, device="meta")) == 0


def test_an_array_in_a_mapped_file_takes_no_memory(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(100_000))
    assert size(np.load(tmp_path / "array.npy", mmap_mode="r")[5:]) < 1000


def test_a_graph_counts_with_what_it_saved():
    x = torch.zeros(1000, requires_grad=True)
    y = x.exp()  # which saves its result
    assert size(y.sum()) == 4 + 4000 + 4000  # the sum, exp's result, and x
    last = y.sum()
    last.backward()  # which frees what was saved, and leaves a gradient
    del y
    assert size(last) == 4 + 4000 + 4000  # the sum, x, its gradient


def test_a_graph_counts_with_what_functions_of_ones_own_saved():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            kept_here = x.clone()
            ctx.save_for_backward(kept_here)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    x = torch.zeros(1000, requires_grad=True)
    assert size(Square.apply(x).sum()) == 4 + 4000 + 4000


def test_networks_count_with_weights_and_buffers():
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    weights = 8 * 3 * 9 + 8 + 4 * 8  # of the convolution; of the norm, with its running statistics
    assert size(module) == 4 * weights + 8  # and how many batches it saw, an int64


def test_a_graph_holds_the_networks_weights_too():
    module = nn.Linear(100, 100)
    store = Store()
    store.get("model", lambda: module)
    first = store.bytes
    store.get("view", lambda: module(torch.zeros(1, 100)))
    assert first == 4 * 10_100
    assert first < store.bytes <= first + 4 * 200 + 100  # the result, the input; not the weights again


def test_tables_texts_pictures_and_objects():
    table = pd.DataFrame({"name": ["a" * 50, "b" * 70], "value": [1.0, 2.0]})
    assert size(table) == table.memory_usage(deep=True).sum()
    assert size(b"x" * 500) == sys.getsizeof(b"x" * 500)
    assert size(Image.new("RGB", (30, 20))) == 1800

    @dataclass
    class Holds:
        values: np.ndarray
        more: dict

    assert 8000 + 400 <= size(Holds(np.zeros(1000), {"key": (torch.zeros(100),)})) < 8400 + 1500
    itself: list = [array(300)]
    itself.append(itself)
    assert 300 <= size(itself) < 500


# --- the decorator


def test_functions_are_kept_by_their_arguments_and_their_place(monkeypatch):
    own, calls = Store(), []
    monkeypatch.setattr(keeping, "store", lambda: own)

    @kept()
    def first(name, number, _model):
        calls.append((name, number, _model))
        return f"{name} {number}"

    @kept("Working")
    def second(name, number, _model):
        return "another"

    assert first("a", 1, "x") == first("a", 1, "y") == "a 1"
    assert first("a", 2, "x") == "a 2" and second("a", 1, "x") == "another"
    assert calls == [("a", 1, "x"), ("a", 2, "x")] and len(own) == 3


def test_the_store_is_one_and_streamlits_clearing_empties_it():
    import streamlit as st

    one = keeping.store()
    one.get(("test", 1), lambda: array(10))
    assert keeping.store() is one and ("test", 1) in keeping.store() and one.budget == 2 * GB
    st.cache_resource.clear()
    assert ("test", 1) not in keeping.store()
