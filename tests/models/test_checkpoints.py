import argparse
import io
import json
import os
import pickle
import stat
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from senet_viz.models import CheckpointError, checkpoints
from senet_viz.models.checkpoints import read_checkpoint, read_metadata, save_checkpoint


@pytest.fixture
def state():
    torch.manual_seed(0)
    return {"a.weight": torch.randn(3, 4), "a.half": torch.randn(5).half(), "n": torch.tensor(7),
            "transposed": torch.randn(4, 3).T}


class Code:
    """Pickles as a call: whoever unpickles it creates the file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(
        left[k].dtype == right[k].dtype and torch.equal(left[k], right[k]) for k in left)


def encoded(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_round_trip(tmp_path, state):
    path = tmp_path / "new" / "folder" / "weights.safetensors"
    metadata = {"classes": ["goldfish", "pug, pug-dog"], "accuracy": {"top1": 0.5}, "epochs": 30, "note": "ä×"}
    save_checkpoint(path, state, metadata)
    assert read_metadata(path) == metadata
    assert same(read_checkpoint(path).state, state)
    assert same(safetensors.torch.load_file(path), state)  # readable by everyone else's reader
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_saving_is_whole_or_not_at_all(tmp_path, state, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, state, {"version": 1})
    before = path.read_bytes()

    def fail(*_):
        assert path.read_bytes() == before  # the new file is complete elsewhere before the old one goes
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            save_checkpoint(path, state, {"version": 2})
    with pytest.raises(TypeError):
        save_checkpoint(path, state, {"not JSON": object()})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_is_an_error_of_the_system(tmp_path, state, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("Error while serializing: No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(tmp_path / "weights.safetensors", state, {})
    assert not list(tmp_path.iterdir())


def test_metadata_of_other_writers(tmp_path, state):
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", metadata={"format": "pt", "n": "3"})
    assert read_metadata(tmp_path / "a.safetensors") == {"format": "pt", "n": 3}
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "b.safetensors")
    assert read_metadata(tmp_path / "b.safetensors") == {}
    (tmp_path / "c.safetensors").write_bytes(b"no")
    for name in ("c.safetensors", "missing.safetensors"):
        with pytest.raises(CheckpointError, match=f"^{name} is not a safetensors file"):
            read_metadata(tmp_path / name)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s},
                                  lambda s: {"state_dict": {"model": s}}])
@pytest.mark.parametrize("suffix", ["pt", "pth", "bin"])
def test_pickles_of_tensors(tmp_path, state, wrap, suffix):
    path = tmp_path / f"weights.{suffix}"
    torch.save(wrap(state), path)
    assert same(read_checkpoint(path).state, state)


@pytest.mark.parametrize("dump", [encoded, pickle.dumps])
@pytest.mark.parametrize("wrap", [lambda code: code, lambda code: {"state_dict": {"a": torch.ones(1)}, "x": code}])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_pickle_is_not_run(tmp_path, dump, wrap, suffix):
    mark = tmp_path / "it ran"
    path = tmp_path / f"evil.{suffix}"
    path.write_bytes(dump(wrap(Code(mark))))
    with pytest.raises(CheckpointError, match=r"^evil\.\w+ ") as caught:
        read_checkpoint(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)
    if suffix == "pt":
        assert "holds more than tensors" in str(caught.value)
        torch.load(path, weights_only=False) if dump is encoded else pickle.loads(path.read_bytes())
        assert mark.exists()  # the file was indeed dangerous


DAMAGED = {
    "empty": b"",
    "one byte": b"\0",
    "text": b"hello world\n" * 20,
    "page": b"<html><body>404 Not Found</body></html>",
    "zip head": b"PK\x03\x04" + b"\0" * 100,
    "noise": bytes(torch.randint(0, 256, (1000,), generator=torch.Generator().manual_seed(0)).tolist()),
    "half a pickle": encoded({"a": torch.ones(1000)})[:2000],
    "half a safetensors": safetensors.torch.save({"a": torch.ones(1000)})[:2000],
    "no tensors": encoded({}),
    "no tensors in state_dict": encoded({"state_dict": {}}),
    "numbers": encoded({"epoch": 3, "loss": 0.1}),
    "a tensor alone": encoded(torch.ones(3)),
    "a module": encoded(nn.Linear(2, 2)),
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_files_are_one_sentence(tmp_path, content, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(path.name)
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize(("content", "said"), [
    (b"", "is empty"), (b"\n<!DOCTYPE html>\n<html></html>", "is a web page"), (b"<html>404</html>", "is a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer")])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_people_take_for_checkpoints(tmp_path, content, said, suffix):
    (tmp_path / f"w.{suffix}").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^w\.{suffix} {said}.*\.$"):
        read_checkpoint(tmp_path / f"w.{suffix}")


def test_a_checkpoint_of_a_training_script(tmp_path, state):
    content = {"epoch": 3, "best": 0.5, "note": "x", "args": argparse.Namespace(lr=0.1), "model_ema": {"module": state},
               "model": {"a": torch.ones(1)}, "optimizer": {"state": {0: {"m": torch.ones(2)}}}, "classes": ["x", "y"]}
    torch.save(content, tmp_path / "w.pt")
    read = read_checkpoint(tmp_path / "w.pt")
    assert read.states.keys() == {"model_ema.module", "model", "optimizer.state.0"}
    assert same(read.states["model_ema.module"], state)
    assert read.classes == ["x", "y"]


def test_several_readers_at_once_leave_the_processs_own_list(tmp_path, state, monkeypatch):
    """Torch has one list of what may be read: who is done first must not shorten it for who still reads."""
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1)}, tmp_path / "w.pt")
    load = torch.load
    begun = threading.Barrier(2, timeout=1)

    def load_together(*args, **options):
        with suppress(threading.BrokenBarrierError):  # as both do that read at once
            begun.wait()
        return load(*args, **options)

    monkeypatch.setattr(torch, "load", load_together)
    before = torch.serialization.get_safe_globals()
    try:
        torch.serialization.add_safe_globals([argparse.Namespace])  # the caller's own
        with ThreadPoolExecutor(2) as pool:
            found = [*pool.map(read_checkpoint, [tmp_path / "w.pt"] * 8)]
        assert all(same(checkpoint.state, state) for checkpoint in found)
        assert set(torch.serialization.get_safe_globals()) == {*before, argparse.Namespace}
        assert load(tmp_path / "w.pt", weights_only=True)["args"].lr == 0.1
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


NUMPY = {"best_acc": np.float64(0.76), "epoch": np.int64(3), "done": np.bool_(True), "note": np.str_("x"),
         "dtype": np.dtype("float32"), "confusion": np.eye(3), "fields": np.zeros(2, [("a", "f8"), ("b", "O")])}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("key", NUMPY)
def test_numpy_beside_the_weights(tmp_path, state, key, old):
    torch.save({"state_dict": state, key: NUMPY[key]}, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    assert same(read_checkpoint(tmp_path / "w.pt").state, state)


def test_numpy_1_beside_the_weights(tmp_path, state):
    content = encoded({"state_dict": state, "best_acc": np.float64(0.76)})
    assert content.count(b"cnumpy._core.multiarray\n") == 1
    parts = zipfile.ZipFile(io.BytesIO(content))
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        for part in parts.namelist():
            archive.writestr(part, parts.read(part).replace(b"cnumpy._core.multi", b"cnumpy.core.multi"))
    assert same(read_checkpoint(tmp_path / "w.pt").state, state)


def test_numpy_makes_nothing_of_what_a_file_says(tmp_path, state, monkeypatch):
    """What numpy would do with a type that is not what it says: read as nothing, it is not made."""
    class Type:
        def __reduce__(self):
            return np.dtype, ("f8", False, True), (3, "<", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 8, 0)

    torch.save({"state_dict": state, "x": Type()}, tmp_path / "w.pt")
    assert torch.load(tmp_path / "w.pt", weights_only=False)["x"].fields  # a float with an object inside
    beside, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: beside.append(load(*a, **k)) or beside[0])
    assert same(read_checkpoint(tmp_path / "w.pt").state, state)
    assert not isinstance(beside[0]["x"], np.dtype)


def test_weights_as_numpy_arrays_are_no_tensors(tmp_path):
    torch.save({"state_dict": {"a.weight": np.eye(3)}}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"^w\.pt holds no state_dict of dense tensors\.$"):
        read_checkpoint(tmp_path / "w.pt")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("wrap", [lambda net, state: net, lambda net, state: {"epoch": 3, "model": net},
                                  lambda net, state: {"state_dict": state, "ema": nn.DataParallel(net)}])
def test_a_whole_pickled_network(tmp_path, state, wrap, old):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    torch.save(wrap(network, state), tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(CheckpointError, match=r"^w\.pt holds a whole pickled network, .*state_dict\(\).*\.$"):
        read_checkpoint(tmp_path / "w.pt")


def test_a_pickled_loss_is_no_network(tmp_path, state):
    torch.save({"state_dict": state, "criterion": nn.CrossEntropyLoss()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"^w\.pt holds more than tensors"):
        read_checkpoint(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("error:'torch.load' received a zip file")
def test_torchscript(tmp_path):
    torch.jit.trace(nn.Conv2d(3, 4, 3), torch.rand(1, 3, 8, 8)).save(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"^w\.pt is a TorchScript archive, .*torch\.jit\.load\(.*state_dict.*\."):
        read_checkpoint(tmp_path / "w.pt")


def test_state_dicts_under_any_key(tmp_path, state):
    """As deep as training scripts put them; what other things lie beside comes last."""
    one, two = {"x": torch.ones(1)}, {"y": torch.ones(2)}
    content = {"mixed": {"a": torch.ones(1), "epoch": 3}, "netG": state, 7: {"inner": one, "empty": {}}, "list": [one],
               "a\nb": {1: torch.ones(1), "again": {"two": two}}, "none": None}
    content["self"] = content
    content[7]["shared"] = content["netG"]
    torch.save(content, tmp_path / "w.pt")
    read = read_checkpoint(tmp_path / "w.pt").states
    assert list(read) == ["netG", "7.inner", "a\nb.again.two", "mixed"] and read["mixed"].keys() == {"a"}
    assert same(read["netG"], state) and same(read["7.inner"], one) and same(read["a\nb.again.two"], two)


@pytest.mark.parametrize("beside", [
    {"epoch": 3}, {"_extra_state": None}, {"best_acc": np.float64(0.76), "args": argparse.Namespace(lr=0.1)},
    {"optimizer": {"state": {0: {"step": torch.ones(1), "m": torch.ones(2)}}}, "classes": ["x", "y"], 3: "three"}])
def test_other_things_beside_the_weights(tmp_path, state, beside):
    torch.save(state | beside, tmp_path / "w.pt")
    read = read_checkpoint(tmp_path / "w.pt")
    assert same(read.states[""], state)
    assert read.classes == beside.get("classes")


def test_a_tensor_beside_the_weights_is_not_taken_for_them(tmp_path, state):
    torch.save({"mean": torch.ones(3), "epoch": 3, "model": state}, tmp_path / "w.pt")
    assert same(read_checkpoint(tmp_path / "w.pt").state, state)


@pytest.mark.parametrize("content", [
    {}, {"state_dict": {}}, {"state_dict": {"a": {"b": {}}}}, {0: torch.ones(1), "a": torch.ones(1)},
    {("a", "b"): torch.ones(1)}, {"a": torch.ones(3, device="meta")}, {"a": torch.ones(3).to_sparse()},
    {"a": torch.ones(1), "b": torch.ones(3).to_sparse(), "epoch": 3}, {"epoch": 3, "a": {"loss": 0.5}},
    [{"a": torch.ones(1)}], torch.ones(1), "text", None])
def test_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"^w\.pt holds no state_dict of dense tensors\.$"):
        read_checkpoint(tmp_path / "w.pt")


def test_dictionaries_without_end(tmp_path):
    """Each is looked at once, and none too deep inside: a small file may stand for any number of them."""
    deep = inner = {}
    for _ in range(100):
        inner["a"] = inner = {}
    inner["a"] = torch.ones(1)
    for _ in range(3):
        deep = {str(i): deep for i in range(1000)}
    torch.save(deep, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="holds no state_dict"):
        read_checkpoint(tmp_path / "w.pt")


def bomb_of_objects(n: int) -> bytes:
    """A pickle of a byte an object: a list of n empty dictionaries."""
    return b"\x80\x02](" + b"}" * n + b"e."


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_of_millions_of_objects_is_not_read(tmp_path, state, monkeypatch, old):
    path = tmp_path / "bomb.pt"
    path.write_bytes(bomb_of_objects(2_000_000))
    if not old:
        torch.save(state, tmp_path / "small.pt")
        with zipfile.ZipFile(tmp_path / "small.pt") as small, zipfile.ZipFile(path, "w") as bomb:
            for part in small.namelist():
                bomb.writestr(part, bomb_of_objects(2_000_000) if part.endswith("data.pkl") else small.read(part))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(CheckpointError, match=r"^bomb\.pt holds more than 1,048,576 numbers, names and lists"):
        read_checkpoint(path)


def test_an_archive_that_unpacks_to_far_more_is_not_read(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(
            tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for part in plain.namelist():
            bomb.writestr(part, plain.read(part))
    assert read_checkpoint(tmp_path / "plain.pt").state["a"].shape == (10**6,)
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(CheckpointError, match=r"^bomb\.pt is packed and would unpack to more than 2 times its size"):
        read_checkpoint(tmp_path / "bomb.pt")


def test_a_safetensors_file_of_a_million_names_is_not_read(tmp_path, monkeypatch):
    header = json.dumps({f"t{i:08}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(300_000)})
    (tmp_path / "bomb.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(CheckpointError, match=r"^bomb\.safetensors takes 21 MB to describe its tensors"):
        read_checkpoint(tmp_path / "bomb.safetensors")


@pytest.mark.parametrize("old", [False, True])
def test_a_large_network_with_its_optimizer_is_read(tmp_path, old):
    """Of 3,000 tensors, with what AdamW keeps of each."""
    weights = {f"layers.{i}.weight": torch.zeros(2) for i in range(3000)}
    kept = {i: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
            for i in range(3000)}
    torch.save({"model": weights, "optimizer": {"state": kept, "param_groups": [{"params": [*range(3000)]}]}},
               tmp_path / "last.pt", _use_new_zipfile_serialization=not old)
    assert read_checkpoint(tmp_path / "last.pt").state.keys() == weights.keys()


def test_no_file(tmp_path):
    for path in (tmp_path / "missing.pt", tmp_path):
        with pytest.raises(CheckpointError, match="There is no file"):
            read_checkpoint(path)
