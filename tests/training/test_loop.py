import importlib
import io
import math
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from senet_viz.models import load
from senet_viz.models.checkpoints import read_checkpoint, read_metadata, save_checkpoint
from senet_viz.models.resnet import slim_resnet50
from senet_viz.training import Recipe, train

pytestmark = pytest.mark.usefixtures("one_thread")
training = importlib.import_module("senet_viz.training.loop")  # the package's own "train" is the function
RECIPE = Recipe(widths=(4, 4, 8, 8), image_size=16, start_size=16, epochs=3, batch_size=8, lr=0.05, min_width=2,
                label_smoothing=0.0, precision="fp32")
NAMES = ["blue", "green", "red"]


def coloured(label: int, rng: np.random.Generator) -> bytes:
    """Noise with one channel brighter, which one being the class."""
    pixels = rng.integers(0, 120, (16, 16, 3))
    pixels[..., 2 - label] += 130
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """The same pictures twice: folder/{train,val}/CLASS and parquet/{train,val}.parquet."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    (root / "parquet").mkdir()
    for split, count in (("train", 48), ("val", 30)):
        labels = [i % 3 for i in range(count)]
        images = [coloured(label, rng) for label in labels]
        pq.write_table(pa.table({"image": images, "label": labels}), root / "parquet" / f"{split}.parquet")
        for i, (image, label) in enumerate(zip(images, labels)):
            path = root / "folder" / split / NAMES[label] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
    (root / "parquet" / "classes.csv").write_text("label,name\n" + "".join(f"{i},{n}\n" for i, n in enumerate(NAMES)))
    return root


def run(data: Path, out: Path, recipe: Recipe = RECIPE, **options) -> dict:
    return train(data, out, recipe, workers=0, progress=False, **options)


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory) -> Path:
    """A run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "tiny.safetensors"
    run(pictures / "parquet", out, note="Made for tests.")
    return out


def check_same_weights(left: Path, right: Path) -> None:
    a, b = read_checkpoint(left).state, read_checkpoint(right).state
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].numpy().tobytes() == b[key].numpy().tobytes(), key
    assert read_metadata(left)["recipe"] == read_metadata(right)["recipe"]  # the history of losses among it
    assert read_metadata(left)["accuracy"] == read_metadata(right)["accuracy"]
    logs = [pd.read_parquet(path.with_suffix(".monitor.parquet")) for path in (left, right)]
    pd.testing.assert_frame_equal(*logs)
    assert logs[0]["step"].unique().tolist() == list(range(0, 18, 50)) and logs[0]["label"].nunique() == 16


@pytest.mark.parametrize(("attention", "source", "precision"), [
    ("se", "folder", "fp32"), ("sk", "parquet", "fp32"), ("none", "parquet", "bf16")])
def test_learns_colours(pictures, tmp_path, attention, source, precision):
    out = tmp_path / "new folder" / "tiny.safetensors"
    recipe = replace(RECIPE, attention=attention, precision=precision, epochs=8, lr=0.03)
    metadata = run(pictures / source, out, recipe)
    losses = [loss for loss, _ in metadata["recipe"]["history"]]
    assert min(losses) < 0.6 * losses[0]
    assert metadata["accuracy"]["top1"] > 0.6  # chance is 0.33, with a standard error of 0.09
    assert metadata["classes"] == NAMES
    log = [] if attention == "none" else ["tiny.monitor.parquet"]
    assert [p.name for p in sorted(out.parent.iterdir())] == ["tiny.md", *log, "tiny.safetensors"]


def test_what_is_written_is_what_was_measured(whole, pictures):
    metadata = read_metadata(whole)
    note = pd.read_parquet(whole.with_suffix(".monitor.parquet")).attrs["note"]
    card = whole.with_suffix(".md").read_text()
    assert note.startswith("SE, ") and len(note.split("; ")) == 3
    assert all(f"| {part} " in card for part in note.removeprefix("SE, ").split("; "))  # the recipe, accuracy and r
    assert {**metadata["recipe"], "history": None} == {**asdict(RECIPE), "widths": [4, 4, 8, 8],
                                                      "strides": [1, 2, 2, 1], "history": None}
    assert metadata["data"] == {"name": "parquet", "training": 48, "validation": 30, "note": "Made for tests."}
    state = read_checkpoint(whole).state
    assert {v.dtype for v in state.values()} == {torch.float16}
    model = load(f"file:{whole}", device="cpu")
    assert model.classes == NAMES
    assert model.input_size == (16, 16)
    right = []
    for i in range(30):  # the validation pictures, one by one
        path = pictures / "folder" / "val" / NAMES[i % 3] / f"{i:02}.png"
        with torch.inference_mode(), Image.open(path) as image:
            right.append(int(model.module(model.batch([image])).argmax()) == i % 3)
    assert metadata["accuracy"]["top1"] == pytest.approx(np.mean(right), abs=1e-6)
    assert metadata["accuracy"]["images"] == 30
    assert metadata["accuracy"]["top5"] == 1  # of three classes


def test_a_run_goes_on_in_the_precision_in_which_it_began(pictures, tmp_path, monkeypatch, whole):
    """On another machine the other one may be faster."""
    recipe, out = replace(RECIPE, precision="auto"), tmp_path / "tiny.safetensors"
    monkeypatch.setattr(training, "fastest_precision", lambda _: "fp32")
    evaluate = training.evaluate

    def stop(*arguments, **options):
        monkeypatch.setattr(training, "evaluate", interrupt)
        return evaluate(*arguments, **options)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "evaluate", stop)
    with pytest.raises(KeyboardInterrupt):
        run(pictures / "parquet", out, recipe, note="Made for tests.")
    monkeypatch.setattr(training, "evaluate", evaluate)
    monkeypatch.setattr(training, "fastest_precision", lambda _: "bf16")
    assert run(pictures / "parquet", out, recipe, note="Made for tests.")["recipe"]["precision"] == "fp32"
    check_same_weights(out, whole)


@pytest.mark.parametrize("decay_gates", [False, True])
@pytest.mark.parametrize("attention", ["se", "sk", "none"])
def test_which_weights_decay(attention, decay_gates):
    module = slim_resnet50(attention, widths=(4, 4, 8, 8))
    groups = training.parameter_groups(module, replace(RECIPE, attention=attention, decay_gates=decay_gates))
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    of = {name: decay[id(parameter)] for name, parameter in module.named_parameters()}
    layers = ("reduce.weight", "expand.weight", "fuse.1.weight", "select.weight")
    gates = {name for name in of if name.endswith(layers)}
    assert bool(gates) == (attention != "none")
    for name, parameter in module.named_parameters():
        wanted = 0 if parameter.dim() == 1 or (name in gates and not decay_gates) else RECIPE.weight_decay
        assert of[name] == wanted, name


def test_card(whole):
    metadata = read_metadata(whole)
    text = whole.with_suffix(".md").read_text("utf-8")
    for fact in (f"top-1 {metadata['accuracy']['top1']:.1%}, top-5 100.0% on the 30 validation pictures",
                 "parquet: 48 training and 30 validation pictures", "widths 4/4/8/8", "strides 1/2/2/1", "16×16 pixels",
                 "3 epochs, batch 8", "learning rate 0.05", "attention SE", "Made for tests.", "| Seed | 0 |",
                 "| Classes | 3 |", torch.__version__):
        assert fact in text


def test_equal_runs_give_equal_weights_and_seeds_differ(whole, pictures, tmp_path):
    run(pictures / "parquet", tmp_path / "again.safetensors")
    check_same_weights(whole, tmp_path / "again.safetensors")
    run(pictures / "parquet", tmp_path / "other.safetensors", replace(RECIPE, seed=1))
    a, b = read_checkpoint(whole).state, read_checkpoint(tmp_path / "other.safetensors").state
    assert not torch.equal(a["fc.weight"], b["fc.weight"])


@pytest.mark.parametrize("measured", [0, 2, 3])  # measurements that succeed before the end; 3: all but the last
def test_killed_and_resumed(whole, pictures, tmp_path, monkeypatch, measured):
    out = tmp_path / "tiny.safetensors"
    evaluate, calls = training.evaluate, []

    def die(*args, **options):
        calls.append(1)
        if len(calls) > measured:
            raise KeyboardInterrupt
        return evaluate(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate", die)
        with pytest.raises(KeyboardInterrupt):
            run(pictures / "parquet", out)
    assert not out.exists()
    assert out.with_suffix(".checkpoint.pt").exists() == (measured > 0)
    epochs = []
    epoch = training.Fit.epoch
    monkeypatch.setattr(training.Fit, "epoch", lambda fit, *args: epochs.append(fit.done) or epoch(fit, *args))
    run(pictures / "parquet", out)
    assert epochs == [0, 1, 2][measured:]  # what was done is not done again
    check_same_weights(whole, out)
    assert not out.with_suffix(".checkpoint.pt").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_file_that_cannot_grow(pictures, tmp_path):
    """As on a disk that is full: what it says is not of the archive within the file."""
    import resource

    out, before = tmp_path / "tiny.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            run(pictures / "parquet", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.filename == str(out.with_suffix(".checkpoint.pt"))
    assert not list(tmp_path.iterdir())


KILLED = """
import importlib, os, signal, sys
import torch
from senet_viz.__main__ import main
torch.set_num_threads(1)
training = importlib.import_module("senet_viz.training.loop")
keep = training._keep
def keep_and_die(path, content):
    keep(path, content)
    if content["epoch"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
training._keep = keep_and_die
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_really_killed_and_resumed(whole, pictures, tmp_path):
    out = tmp_path / "tiny.safetensors"
    options = {"widths": RECIPE.widths, "image-size": 16, "start-size": 16, "epochs": 3, "batch-size": 8, "lr": 0.05,
               "min-width": 2, "label-smoothing": 0.0, "precision": "fp32", "device": "cpu", "workers": 0}
    words = [word for key, value in options.items()
             for word in (f"--{key}", *map(str, value if isinstance(value, tuple) else [value]))]
    root = Path(training.__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-c", KILLED, "train", str(pictures / "parquet"), str(out), *words], capture_output=True,
        env=os.environ | {"PYTHONPATH": str(root)}, timeout=600)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert process.stdout == b"" and b"epoch 2/3  size 16  loss" in process.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.checkpoint.pt"]
    (tmp_path / "tiny.checkpoint.pt.x1.part").touch()  # of a run that was killed while it wrote
    run(pictures / "parquet", out)
    check_same_weights(whole, out)
    assert not list(tmp_path.glob("tiny.checkpoint*"))


@pytest.fixture
def interrupted(pictures, tmp_path, monkeypatch) -> Path:
    """OUT of a run that was stopped after its first epoch."""
    out = tmp_path / "tiny.safetensors"

    def stop(path, content):
        keep(path, content)
        raise KeyboardInterrupt

    keep = training._keep
    with monkeypatch.context() as patch:
        patch.setattr(training, "_keep", stop)
        with pytest.raises(KeyboardInterrupt):
            run(pictures / "parquet", out)
    return out


def test_another_recipe_or_other_data_in_the_same_place(interrupted, pictures, tmp_path):
    checkpoint = interrupted.with_suffix(".checkpoint.pt")
    before = checkpoint.read_bytes()
    more, fewer, as_many = tmp_path / "more", tmp_path / "fewer classes", tmp_path / "as many"
    rng = np.random.default_rng(1)
    for folder, labels in ((more, [0, 1, 2] * 20), (fewer, [0, 1] * 24), (as_many, [0, 1, 2] * 16)):
        folder.mkdir()
        for split in ("train", "val"):
            pq.write_table(pa.table({"image": [coloured(i, rng) for i in labels], "label": labels}),
                           folder / f"{split}.parquet")
    for data, recipe in ((pictures / "parquet", replace(RECIPE, lr=0.06)), *((data, RECIPE) for data in (
            more, fewer, as_many))):
        with pytest.raises(RuntimeError, match=r"tiny\.checkpoint\.pt belongs to another recipe or other") as caught:
            run(data, interrupted, recipe)
        assert "\n" not in str(caught.value)
    assert checkpoint.read_bytes() == before
    assert not interrupted.exists()


@pytest.fixture
def untrained(monkeypatch):
    """Nothing may be trained."""
    def epoch(*_):
        raise AssertionError("this was trained")

    monkeypatch.setattr(training.Fit, "epoch", epoch)


def copied(whole: Path, folder: Path) -> Path:
    """The finished network with its card and log, elsewhere."""
    for path in whole.parent.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / whole.name


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_a_finished_network_is_left_as_it_is(whole, pictures, tmp_path, untrained, precision):
    out = copied(whole, tmp_path)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert run(pictures / "parquet", out, replace(RECIPE, precision=precision)) == read_metadata(whole)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("change", [{"attention": "none"}, {"lr": 0.06}, {"precision": "bf16"}, "folder", "pruned"])
def test_a_finished_network_is_no_other_ones_place(whole, pictures, tmp_path, untrained, change):
    out = copied(whole, tmp_path)
    if change == "pruned":
        save_checkpoint(out, read_checkpoint(out).state, read_metadata(out) | {"removed": []})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    data = "folder" if change == "folder" else "parquet"
    recipe = replace(RECIPE, **change) if isinstance(change, dict) else RECIPE
    with pytest.raises(RuntimeError, match=r"^\S+tiny\.safetensors belongs to another recipe or other data: remove"):
        run(pictures / data, out, recipe)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("metadata", [None, {}, {"recipe": "x", "data": 1, "accuracy": 1, "made": 1, "classes": []}])
def test_a_file_of_something_else_is_no_place_for_a_network(pictures, tmp_path, untrained, metadata):
    out = tmp_path / "tiny.safetensors"
    if metadata is None:
        out.write_text("a letter")
    else:
        save_checkpoint(out, {"a": torch.ones(1)}, metadata)
    before = out.read_bytes()
    with pytest.raises(RuntimeError, match=r"tiny\.safetensors is there, and no training wrote it: remove it"):
        run(pictures / "parquet", out)
    assert out.read_bytes() == before


def test_killed_behind_its_file_the_card_is_still_written(whole, pictures, tmp_path, monkeypatch):
    out = tmp_path / "tiny.safetensors"

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "card", die)
        with pytest.raises(KeyboardInterrupt):
            run(pictures / "parquet", out)
    assert out.exists() and not out.with_suffix(".md").exists()
    run(pictures / "parquet", out)
    check_same_weights(whole, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.md", "tiny.monitor.parquet", "tiny.safetensors"]


def test_nothing_of_a_removed_network_stays_beside_a_new_one(whole, pictures, tmp_path):
    out = copied(whole, tmp_path)
    out.unlink()
    run(pictures / "parquet", out, replace(RECIPE, attention="none", epochs=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.md", "tiny.safetensors"]
    assert "no attention" in out.with_suffix(".md").read_text()


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_damaged_checkpoint(interrupted, pictures, content):
    checkpoint = interrupted.with_suffix(".checkpoint.pt")
    if content is None:
        torch.save({"a": torch.ones(1)}, checkpoint)
    else:
        checkpoint.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"tiny\.checkpoint\.pt is damaged: remove it"):
        run(pictures / "parquet", interrupted)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_not_finite(pictures, tmp_path, monkeypatch, value):
    def loss(logits, *_, **__):
        return logits.sum() * 0 + value

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", loss)
    out = tmp_path / "tiny.safetensors"
    with pytest.raises(RuntimeError, match="no longer finite in epoch 1: lower the learning rate"):
        run(pictures / "parquet", out)
    assert list(tmp_path.iterdir()) == []  # nothing that a second run would go on from


def test_rate_that_diverges(pictures, tmp_path):
    with pytest.raises(RuntimeError, match="no longer finite"):
        run(pictures / "parquet", tmp_path / "tiny.safetensors", replace(RECIPE, lr=1e30, warmup=0.0))


@pytest.mark.parametrize(("epochs", "batch_size", "warmup"), [(1, 48, 1.0), (2, 48, 1.0), (4, 48, 1.0), (1, 24, 0.5),
                                                             (2, 24, 0.0), (1, 24, 9.0)])
def test_runs_of_few_steps(pictures, tmp_path, monkeypatch, epochs, batch_size, warmup):
    """The schedule of the learning rate exists for every length of the run and of its rise."""
    def epoch(fit, loader, *_):
        for _ in loader:
            fit.optimizer.step()
            fit.scheduler.step()
        fit.done += 1
        return 1.0

    monkeypatch.setattr(training.Fit, "epoch", epoch)
    recipe = replace(RECIPE, epochs=epochs, batch_size=batch_size, warmup=warmup)
    metadata = run(pictures / "parquet", tmp_path / "tiny.safetensors", recipe)
    assert len(metadata["recipe"]["history"]) == epochs


def test_where_it_is_written(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.safetensors, not 'tiny\.pt'"):
        run(pictures / "parquet", tmp_path / "tiny.pt")
    assert list(tmp_path.iterdir()) == []


def test_too_few_pictures(pictures, tmp_path):
    with pytest.raises(ValueError, match="48 training pictures do not fill one batch of 49"):
        run(pictures / "parquet", tmp_path / "tiny.safetensors", replace(RECIPE, batch_size=49))


@pytest.mark.parametrize("labels", [[], [0, 1, 2, 3]])
def test_validation_of_other_classes(pictures, tmp_path, labels):
    rng = np.random.default_rng(0)
    table = pa.table({"image": pa.array([coloured(i % 3, rng) for i in labels], pa.binary()),
                      "label": pa.array(labels, pa.int64())})
    pq.write_table(table, tmp_path / "val.parquet")
    (tmp_path / "train.parquet").write_bytes((pictures / "parquet" / "train.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"classes of the validation pictures in .* are not those of the training"):
        run(tmp_path, tmp_path / "tiny.safetensors")


def test_pictures_without_a_label(pictures, tmp_path):
    table = pq.read_table(pictures / "parquet" / "train.parquet")
    unlabelled = table.drop_columns("label").append_column("label", pa.nulls(len(table), pa.int64()))
    pq.write_table(unlabelled, tmp_path / "train.parquet")
    pq.write_table(table, tmp_path / "val.parquet")
    with pytest.raises(ValueError, match="has pictures without a label"):
        run(tmp_path, tmp_path / "tiny.safetensors")


def test_validation_folder_that_lacks_a_class(pictures, tmp_path):
    """Without its folder, the labels of the classes behind it would silently shift."""
    for split, names in (("train", NAMES), ("val", NAMES[1:])):
        (tmp_path / split).mkdir()
        for name in names:
            (tmp_path / split / name).symlink_to(pictures / "folder" / split / name)
    with pytest.raises(ValueError, match="are not those of the training pictures"):
        run(tmp_path, tmp_path / "tiny.safetensors")


def test_evaluate_counts(pictures):
    """Top-1 and top-5 of a network that gives every picture the same ranking."""
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([0.1, 0.9, 0.5, 0.4, 0.3, 0.2, 0.0]).expand(len(x), -1)

    source = training.open_pictures(pictures / "parquet", "val")
    labels = [1] * 6 + [6] * 9 + [0] * 4 + [2] * 3 + [5] * 8  # first, last, sixth, second, fifth
    seven = training.Pictures(source.read, labels, list("abcdefg"))
    top1, top5 = training.evaluate(Fixed(), seven, {"input_size": [3, 16, 16]}, batch_size=7)
    assert top1 == pytest.approx(6 / 30)
    assert top5 == pytest.approx(17 / 30)


def test_what_fp16_cannot_hold_is_stored_as_it_is():
    """As the variance of a young network's maps, which would be infinite."""
    wide, narrow = torch.tensor([1.0, 70_000.0]), torch.tensor([1.0, 60_000.0])
    assert training._stored(narrow).dtype == torch.float16
    assert torch.equal(training._stored(wide), wide) and training._stored(wide).dtype == torch.float32
    assert training._stored(torch.tensor([3])).dtype == torch.int64
