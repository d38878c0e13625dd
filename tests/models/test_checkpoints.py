import argparse
import io
import os
import pickle
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from senet_viz.models import CheckpointError
from senet_viz.models.checkpoints import (
    load_state,
    read_checkpoint,
    read_metadata,
    read_state,
    save_checkpoint,
    unwrapped,
)


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
    assert same(read_state(path), state)
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
    assert same(read_state(path), state)


@pytest.mark.parametrize("dump", [encoded, pickle.dumps])
@pytest.mark.parametrize("wrap", [lambda code: code, lambda code: {"state_dict": {"a": torch.ones(1)}, "x": code}])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_pickle_is_not_run(tmp_path, dump, wrap, suffix):
    mark = tmp_path / "it ran"
    path = tmp_path / f"evil.{suffix}"
    path.write_bytes(dump(wrap(Code(mark))))
    with pytest.raises(CheckpointError, match=r"^evil\.\w+ ") as caught:
        read_state(path)
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
    "tensors and more": encoded({"a": torch.ones(1), "epoch": 3}),
    "a module": encoded(nn.Linear(2, 2)),
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_files_are_one_sentence(tmp_path, content, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_state(path)
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
        read_state(tmp_path / f"w.{suffix}")


def test_a_checkpoint_of_a_training_script(tmp_path, state):
    content = {"epoch": 3, "best": 0.5, "note": "x", "args": argparse.Namespace(lr=0.1), "model_ema": {"module": state},
               "model": {"a": torch.ones(1)}, "optimizer": {"state": {0: {"m": torch.ones(2)}}}, "classes": ["x", "y"]}
    torch.save(content, tmp_path / "w.pt")
    read = read_checkpoint(tmp_path / "w.pt")
    assert same(read.state, state)
    assert (read.entry, read.classes) == ("model_ema.module", ["x", "y"])


def test_unwrapped(module, state):
    own = module.state_dict()
    for prefix in ("module.", "model.", "_orig_mod.", "module._orig_mod.", "model.module."):
        assert same(unwrapped({prefix + key: value for key, value in own.items()}, module), own)
    assert unwrapped({"module.0.weight": own["0.weight"], "0.bias": own["0.bias"]}, module).keys() == {
        "module.0.weight", "0.bias"}  # a prefix that only some have belongs to their names
    holder = nn.ModuleDict({"model": module})
    assert same(unwrapped(holder.state_dict(), holder), holder.state_dict())
    wrapped = {f"module.{key}": value for key, value in holder.state_dict().items()}
    assert same(unwrapped(wrapped, holder), holder.state_dict())


def test_no_file(tmp_path):
    for path in (tmp_path / "missing.pt", tmp_path):
        with pytest.raises(CheckpointError, match="There is no file"):
            read_state(path)


@pytest.fixture
def module():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_load_state(module):
    torch.manual_seed(2)
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert not torch.equal(module[0].weight, other[0].weight)
    state = {k: v for k, v in other.state_dict().items() if not k.endswith("num_batches_tracked")}  # may be left out
    load_state(module, state)
    assert same(module.state_dict(), other.state_dict())


def test_half_precision_is_loaded_into_the_networks_own(module):
    state = {k: v.half() for k, v in module.state_dict().items()}
    load_state(module, state)
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, state["0.weight"].float())


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.pop("0.bias"), r"w does not fit Sequential: 1 missing key \(0\.bias\)\."),
    (lambda s: s.update(extra=torch.ones(1)), r"1 unexpected key \(extra\)\."),
    (lambda s: s.update({"0.w": s.pop("0.weight")}), r"1 missing key \(0\.weight\) and 1 unexpected key \(0\.w\)\."),
    (lambda s: s.clear(), r"6 missing keys \(0\.bias, 0\.weight, 1\.bias, …\)\."),
    (lambda s: s.update({"1.weight": torch.ones(5)}), r"1\.weight has shape \(5,\), the network's is \(4,\)\."),
    # the same number of values is not the same tensor
    (lambda s: s.update({"0.weight": torch.ones(4, 3, 9, 1)}), r"0\.weight has shape \(4, 3, 9, 1\)"),
])
def test_what_does_not_fit_changes_nothing(module, change, message):
    state = {k: torch.zeros_like(v) for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    change(state)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_state(module, state, "w")
    assert same(module.state_dict(), before)
