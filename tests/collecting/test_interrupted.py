"""Runs that are killed or cannot write go on and end with the same bytes; runs that differ are not mixed."""
import copy
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn
from torchvision import transforms

from senet_viz.__main__ import main
from senet_viz.collecting import Stopped
from senet_viz.collecting.engines.local import Local
from senet_viz.data.checksums import write_described
from senet_viz.models import slim_resnet50
from senet_viz.models.checkpoints import save_checkpoint
from senet_viz.statistics import StatisticsError, open_statistics
from tests.runs import noise, small_module, with_small_network

merging = importlib.import_module("senet_viz.collecting.merge")
ROOT = Path(__file__).resolve().parents[2]
FILES = ["images.parquet", "metadata.json", "sample.safetensors", "statistics.safetensors", "unreadable.csv"]


@pytest.fixture(scope="module")
def run(run):
    return with_small_network(run)


# killed, and run again

class Killed(BaseException):
    """Stands for a signal that no process survives."""


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A run that nobody interrupted: 23 pictures in four shards."""
    return run(tmp_path_factory.mktemp("whole") / "out")


@pytest.fixture
def again(run, whole, content, monkeypatch):
    """``again(out)``: run once more and compare with the uninterrupted run; gives the shards that it computed."""
    def check(out: Path) -> list[int]:
        computed, results = [], Local.results

        def watch(self, plan, shards):
            computed.extend(shards)
            return results(self, plan, shards)

        with monkeypatch.context() as patch:
            patch.setattr(Local, "results", watch)
            run(out)
        assert content(out) == content(whole.path)
        assert [path.name for path in sorted(out.iterdir())] == FILES  # and no folder
        return computed
    return check


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", range(10))  # run.json, four shards, unreadable.csv, images, tensors, sample, metadata
def test_killed_around_any_file(run, again, monkeypatch, tmp_path, step, place):
    """At once, so that no clean-up runs: a half-written file stays."""
    done, dead, rename, unlink = 0, False, os.replace, Path.unlink

    def rename_or_die(source, target):
        nonlocal done, dead
        if done == step:
            dead = True
            if place == "after":
                rename(source, target)
            else:
                os.truncate(source, Path(source).stat().st_size // 2)
            raise Killed
        done += 1
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", rename_or_die)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None if dead else unlink(self, missing_ok))
        with pytest.raises(Killed):
            run(tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.part"))) == (place == "before")
    if (step, place) != (9, "after"):
        with pytest.raises(StatisticsError):
            open_statistics(tmp_path / "out")
    finished = min(4, max(0, step - 1 + (place == "after" and step > 0)))
    complete = (step, place) == (8, "after")
    assert again(tmp_path / "out") == ([] if complete else list(range(finished, 4)))


@pytest.mark.parametrize("place", ["before", "within", "after"])
def test_killed_while_cleaning_up(run, again, monkeypatch, tmp_path, place):
    remove = shutil.rmtree

    def die(folder, **_):
        if place == "within":
            next(iter(folder.iterdir())).unlink()
        if place == "after":
            remove(folder)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(Killed):
            run(tmp_path / "out")
    (tmp_path / "out" / "images.parquet.1234.part").write_text("of an earlier run")
    assert (tmp_path / "out" / "run.json").exists()
    assert open_statistics(tmp_path / "out").pictures == 23
    assert again(tmp_path / "out") == []


def test_killed_again_and_again(run, again, monkeypatch, tmp_path):
    results = Local.results

    def one(self, plan, shards):
        yield next(results(self, plan, shards))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Local, "results", one)
        for number in range(1, 4):
            with pytest.raises(Killed):
                run(tmp_path / "out")
            assert len(list((tmp_path / "out" / "shards").glob("*.safetensors"))) == number
            (tmp_path / "out" / "shards" / f"{number:06}-0.safetensors.x.part").write_text("half")
    assert again(tmp_path / "out") == [3]


def test_shards_in_any_order(run, again, monkeypatch, tmp_path):
    """As a cluster hands them over."""
    results = Local.results
    with monkeypatch.context() as patch:
        patch.setattr(Local, "results", lambda self, plan, shards: reversed_results(self, plan, shards, results))
        run(tmp_path / "out")
    assert again(tmp_path / "out") == []


def reversed_results(engine, plan, shards, results):
    yield from [*results(engine, plan, shards)][::-1]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "renamed", "foreign", "beyond"])
def test_a_damaged_shard_is_computed_again(run, again, tmp_path, damage):
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        run(out, stop=lambda: len(list((out / "shards").glob("*"))) == 3)
    path = sorted((out / "shards").iterdir())[1]
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[:-1])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "renamed":
        path.rename(path.with_name("000001-0123456789abcdef.safetensors"))
    elif damage == "foreign":
        (out / "shards" / "notes.safetensors").write_bytes(b"hello")
    elif damage == "beyond":
        shutil.copy(path, path.with_name(path.name.replace("000001", "000077")))
    assert again(out) == ([3] if damage in ("foreign", "beyond") else [1, 3])


@pytest.mark.parametrize("name", ["images.parquet", "sample.safetensors", "statistics.safetensors", "unreadable.csv"])
def test_a_damaged_result_is_told_and_computed_again(again, whole, tmp_path, name):
    out = shutil.copytree(whole.path, tmp_path / "out")
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    with pytest.raises(StatisticsError, match=rf"are damaged \({name} has changed since it was written\)"):
        open_statistics(out)
    assert again(out) == [0, 1, 2, 3]
    (out / name).unlink()
    assert again(out) == [0, 1, 2, 3]


def test_a_damaged_description_is_told(run, whole, tmp_path):
    out = shutil.copytree(whole.path, tmp_path / "out")
    path = out / "metadata.json"
    path.write_text(path.read_text().replace('"images": 23', '"images": 22'))
    with pytest.raises(StatisticsError, match=r"are damaged \(metadata.json has changed since it was written\)"):
        open_statistics(out)
    with pytest.raises(StatisticsError, match=r"metadata.json has changed since it was written: remove .* to begin"):
        run(out)


def test_stop_and_progress(run, again, tmp_path):
    out, told = tmp_path / "out", []
    with pytest.raises(Stopped) as stopped:
        run(out, stop=lambda: len(list((out / "shards").glob("*"))) == 2, progress=lambda *now: told.append(now))
    assert str(stopped.value) == "stopped; 2 of 4 shards are kept: run again to go on"
    assert told == [(0, 23), (7, 23), (14, 23)]
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "shards"]
    with pytest.raises(Stopped, match="2 of 4"):
        run(out, stop=lambda: True)
    told.clear()
    run(shutil.copytree(out, tmp_path / "copy"), progress=lambda *now: told.append(now))
    assert told == [(14, 23), (21, 23), (23, 23)]
    assert again(out) == [2, 3]


def test_a_bar(run, tmp_path, capsys):
    run(tmp_path / "out", progress=True)
    assert "23/23" in capsys.readouterr().err
    run(tmp_path / "other", progress=False)
    assert capsys.readouterr().err == ""


def test_a_whole_run_is_not_computed_again(run, whole, content, monkeypatch, tmp_path):
    out = shutil.copytree(whole.path, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}

    def fail(*_):
        raise AssertionError("computed")

    monkeypatch.setattr(Local, "results", fail)
    stats = run(out)
    assert repr(stats) == repr(whole)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("call", range(1, 6))
def test_full_disk(run, again, monkeypatch, tmp_path, call):
    """At the second shard, the list of unreadable pictures, the rows, the tensors, the metadata."""
    out, error = tmp_path / "out", OSError(28, "No space left on device")
    written = []

    def write_bytes(self, content):
        written.append(self)
        if len(written) == 2:
            with self.open("wb") as file:
                file.write(content[:100])
            raise error
        with self.open("wb") as file:
            file.write(content)

    def fail(*_, **__):
        raise error

    def fail_half_way(plan, files, path, compact):
        path.write_text("half")
        raise error

    def fail_as_safetensors_does(tensors, path):
        path.write_text("half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        if call == 1:
            patch.setattr(Path, "write_bytes", write_bytes)
        elif call == 2:
            patch.setattr(merging.csv, "writer", fail)
        elif call == 3:
            patch.setattr(merging, "_write_rows", fail_half_way)
        elif call == 4:
            patch.setattr(merging, "save_file", fail_as_safetensors_does)
        elif call == 5:
            patch.setattr(merging, "describe", fail)
        with pytest.raises(OSError, match="No space left on device"):
            run(out)
    assert list(out.rglob("*.part")) == []
    assert not (out / "metadata.json").exists()
    assert again(out) == ([1, 2, 3] if call == 1 else [])


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_files_that_cannot_grow(run, again, tmp_path):
    """What the libraries themselves raise: each run gets further, until the files fit."""
    import resource

    before, out, failed = resource.getrlimit(resource.RLIMIT_FSIZE), tmp_path / "out", 0
    for size in (100, 1_000, 3_000, 6_000, 10_000, 15_000, 20_000, 30_000, 60_000, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            run(out)
        except OSError:
            failed += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list(out.rglob("*.part")) == []
        assert all(path.stat().st_size <= size for path in out.rglob("*") if path.is_file())
        if (out / "metadata.json").exists():
            break
    assert failed > 2
    again(out)


# not mixed with other runs

def other_module() -> nn.Module:
    module = small_module()
    with torch.no_grad():
        module.fc.bias[0] += 1
    return module


OTHERS = {
    "batch size": ({"batch_size": 4}, {}, "batch_size is 3 there, 4 here"),
    "shard size": ({"shard_size": 8}, {}, "shard_size is 7 there, 8 here"),
    "threads": ({"threads": 2}, {}, "threads is 1 there, 2 here"),
    "precision": ({"precision": "bf16"}, {}, "precision is 'fp32' there, 'bf16' here"),
    "zooms": ({"zooms": (1, 2)}, {}, r"zooms is \[1.0\] there, \[1.0, 2.0\] here"),
    "around": ({"around": "box"}, {}, "around is 'centre' there, 'box' here"),
    "compiled": ({"compiled": True}, {}, "compiled is False there, True here"),
    "control": ({"random_weights": True}, {}, "random_weights is 0 there, 1 here"),
    "limit": ({}, {"limit": 9}, "count is 23 there, 9 here"),
    "compact": ({}, {"compact": True}, "compact is False there, True here"),
    "split": ({}, {"split": "val"}, r"data is 'data set\d+' there, 'data set\d+ val' here"),
}


@pytest.fixture(scope="module")
def unfinished(run, tmp_path_factory):
    """The folder of a run that was stopped after its first shard."""
    out = tmp_path_factory.mktemp("unfinished") / "out"
    with pytest.raises(Stopped):
        run(out, stop=lambda: len(list((out / "shards").glob("*"))) == 1)
    return out


@pytest.mark.parametrize("state", ["unfinished", "whole"])
@pytest.mark.parametrize("other", [*OTHERS, "weights", "transform", "name", "data", "several"])
def test_another_run_is_refused(run, network, whole, unfinished, content, data_set, tmp_path, state, other):
    out = shutil.copytree(whole.path if state == "whole" else unfinished, tmp_path / "out")
    before = content(out)
    options, keywords, message = OTHERS.get(other, ({}, {}, f"{other} differs"))
    model, data = network("se+sk", other_module() if other == "weights" else small_module()), None
    if other == "transform":
        model.transform = copy.deepcopy(model.transform)
        model.transform.transforms[0].size = (20, 20)
        message = "transform differs; transformed_noise differs"
    elif other == "name":
        model.name, message = "another", "model is 'se\\+sk' there, 'another' here"
    elif other == "data":
        data, message = tmp_path / data_set.name, "pictures differs"
        shutil.copytree(data_set, data)
        (data / "classes.csv").write_text("label,name\n0,another name\n")
    elif other == "several":
        options, message = {"batch_size": 4, "threads": 2}, "batch_size is 3 there, 4 here; threads is 1 there, 2 here"
    with pytest.raises(StatisticsError, match=f"out holds another run, which is not mixed with this one: {message}$"):
        run(out, model, data, options=options, **keywords)
    assert content(out) == before


def test_what_looks_the_same_in_words_is_refused(run, network, tmp_path):
    """Two lambdas as transforms; other pictures of the same names; another network with the same weights."""
    for i in range(4):
        (tmp_path / "data" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "ab"[i % 2] / f"{i}.png").write_bytes(noise([0]).read(0))
    first, second = (network("se", small_module()) for _ in range(2))
    plain = first.transform
    first.transform = transforms.Compose([plain, transforms.Lambda(lambda x: x)])
    second.transform = transforms.Compose([plain, transforms.Lambda(lambda x: 2 * x)])
    run(tmp_path / "out", first, tmp_path / "data")
    with pytest.raises(StatisticsError, match=r"this one: transformed_noise differs$"):
        run(tmp_path / "out", second, tmp_path / "data")

    module = copy.deepcopy(first.module)
    module.stem[2] = nn.SiLU()
    other = network("se", module)
    other.transform = first.transform
    with pytest.raises(StatisticsError, match=r"this one: architecture differs$"):
        run(tmp_path / "out", other, tmp_path / "data")

    (tmp_path / "data" / "a" / "0.png").write_bytes(noise([3], 40).read(0))
    with pytest.raises(StatisticsError, match=r"this one: pictures differs$"):
        run(tmp_path / "out", first, tmp_path / "data")


def test_one_run_at_a_time(run, tmp_path):
    """A second one into the same folder is refused while the first is at work, and not afterwards."""
    pictures = noise([0, 1] * 8)

    def meddling(done: int, total: int) -> None:
        with pytest.raises(StatisticsError, match="another run is writing into"):
            run(tmp_path / "out", data=pictures)

    run(tmp_path / "out", data=pictures, progress=meddling)
    run(tmp_path / "out", data=pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_among_the_pictures_is_refused(run, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(noise([0]).read(0))
    with pytest.raises(ValueError, match="whose pictures it would become part of"):
        run(tmp_path / "out", data=tmp_path)
    assert not (tmp_path / "out").exists()


def test_no_control_of_one_picture(run, tmp_path):
    """Batch normalisation cannot be set with it."""
    stats = run(tmp_path / "out", data=noise([0]), options={"random_weights": True})
    assert stats.sources == ["gate", "shuffled", "squeeze"]


def test_other_machines_and_versions_are_refused(run, whole, content, tmp_path, monkeypatch):
    out = shutil.copytree(whole.path, tmp_path / "out")
    metadata = json.loads((out / "metadata.json").read_text())
    metadata["versions"]["torch"], metadata["device"] = "1.0", "cuda Old"
    del metadata["checksums"]
    write_described(out / "metadata.json", metadata, FILES[2:])
    with pytest.raises(StatisticsError, match=r"device differs; torch is '1.0' there, "):
        run(out)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "shards", "images.parquet.1.part"])
def test_a_folder_of_something_else_is_refused(run, content, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    if name == "shards":
        (out / name).mkdir()
    else:
        (out / name).write_text("hello")
    with pytest.raises(StatisticsError, match="is not empty, and what is in it is no run of this program"):
        run(out)
    assert [path.name for path in out.iterdir()] == [name]


def test_a_file_in_place_of_the_folder(run, tmp_path):
    (tmp_path / "out").write_text("hello")
    with pytest.raises(StatisticsError, match="what is in it is no run"):
        run(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "hello"


@pytest.mark.parametrize(("text", "message"), [("{", "is damaged"), ("[1]", "holds another run"),
                                               ('{"name": "npm"}', "holds another run")])
@pytest.mark.parametrize("name", ["metadata.json", "run.json"])
def test_a_foreign_file_of_that_name(run, tmp_path, name, text, message):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(text)
    with pytest.raises(StatisticsError, match=message):
        run(tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == text


def test_an_empty_folder_is_welcome(again, tmp_path):
    (tmp_path / "new" / "out").mkdir(parents=True)
    assert again(tmp_path / "new" / "out") == [0, 1, 2, 3]


# killed for real

@pytest.fixture
def command(tmp_path):
    """Arguments of the program, but for the folder to write: 24 shards of two pictures."""
    options = {"attention": "se", "num_classes": 3, "widths": [4, 4, 8, 8], "min_width": 2}
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "tiny.safetensors", slim_resnet50(**options).state_dict(), {
        "architecture": {"name": "slim_resnet50", **options}, "classes": ["red", "green", "blue"],
        "transform": {"input_size": [3, 64, 64], "crop_pct": 1.0}, "recipe": {"widths": [4, 4, 8, 8], "epochs": 12},
        "made": {"date": "2024-02-29"}, "data": {"name": "colours", "training": 123, "note": ""},
        "accuracy": {"top1": 0.5, "top5": 1.0, "images": 45}})
    pictures = noise([i % 3 for i in range(48)], 64)
    for i, label in enumerate(pictures.labels):
        path = tmp_path / "pictures" / "abc"[label] / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures.read(i))
    return lambda out, workers=0: [
        "collect", f"file:{tmp_path / 'tiny.safetensors'}", str(tmp_path / "pictures"), str(out), "--shard-size", "2",
        "--threads", "1", "--device", "cpu", "--zoom", "1", "1.5", "--workers", str(workers)]


def test_killed_by_a_signal(command, content, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "senet_viz", *command(out, workers=1)], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        patience = time.monotonic() + 120
        while not list((out / "shards").glob("*.safetensors")) and time.monotonic() < patience:
            assert process.poll() is None
            time.sleep(0.002)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    kept = len(list((out / "shards").glob("*.safetensors")))
    assert 1 <= kept < 24
    assert (out / "run.json").exists()
    assert not (out / "metadata.json").exists()
    assert main(command(out)) == 0
    assert main(command(tmp_path / "whole")) == 0
    assert content(out) == content(tmp_path / "whole")
    assert sorted(content(out)) == FILES
