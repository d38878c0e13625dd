import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from senet_viz.cli import main
from senet_viz.data.images import UnreadableImage
from senet_viz.models import load
from senet_viz.training import AblationError, PlanError, ablate, ablation, open_ablation
from senet_viz.training.ablation_folder import tables
from tests.cli.checks import refused

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[2]
PLAN = """
reference = "se"
seeds = [0, 1]
[recipe]
widths = [2, 2, 4, 4]
strides = [1, 2, 2, 1]
image_size = 16
start_size = 8
epochs = 3
batch_size = 8
lr = 0.05
min_width = 2
precision = "fp32"
[variants.se]
[variants.none]
attention = "none"
[variants.parallel]
attention = "parallel"
"""


def coloured(label: int, rng: np.random.Generator) -> bytes:
    """Noise with one channel brighter, which one being the class."""
    pixels = rng.integers(0, 160, (20, 20, 3))
    pixels[..., 2 - label] += 90
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 18)):
        labels = [i % 3 for i in range(count)]
        pq.write_table(pa.table({"image": [coloured(label, rng) for label in labels], "label": labels}),
                       folder / f"{split}.parquet")
    return folder


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(PLAN)
    return path


@pytest.fixture(scope="module")
def whole(plan, pictures, tmp_path_factory) -> Path:
    """An ablation that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "ablation"
    ablate(plan, pictures, out, progress=False)
    return out


def same(left: Path, right: Path) -> None:
    """The tables but for times, what each picture was answered, and what was measured of the gates."""
    for one, other in zip(tables(left, open_ablation(left).plan), tables(right, open_ablation(right).plan)):
        pd.testing.assert_frame_equal(one.drop(columns="seconds"), other.drop(columns="seconds"), check_exact=True)
    stored = [pd.read_parquet(path / "ablation.parquet").drop(columns="seconds") for path in (left, right)]
    pd.testing.assert_frame_equal(*stored, check_exact=True)
    for name in ("correct.parquet", "monitor.parquet"):
        files = [sorted(path.relative_to(folder) for path in folder.rglob(name)) for folder in (left, right)]
        assert files[0] == files[1] and files[0]
        for file in files[0]:
            assert (left / file).read_bytes() == (right / file).read_bytes(), file


def test_folder(whole):
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    trainings = {f"{name}/{seed}/{file}" for name in ("se", "none", "parallel") for seed in (0, 1)
                 for file in ("training.json", "correct.parquet", "card.md", "monitor.parquet")}
    without = {f"none/{seed}/monitor.parquet" for seed in (0, 1)}  # there is no gate
    tops = {"ablation.json", "plan.toml", "ablation.csv", "ablation.parquet", "trainings.csv"}
    assert names == trainings - without | tops
    found = open_ablation(whole)
    assert found.table["variant"].tolist() == ["se", "none", "parallel"]
    assert [*zip(found.trainings["variant"], found.trainings["seed"])] == [
        (name, seed) for seed in (0, 1) for name in ("se", "none", "parallel")]  # stopped, it would have a whole seed
    assert (whole / "plan.toml").read_text() == PLAN
    assert found.table["dimension"].notna().tolist() == [True, False, True]
    card = (whole / "parallel" / "1" / "card.md").read_text()
    facts = json.loads((whole / "parallel" / "1" / "training.json").read_text())
    assert f"top-1 {facts['top1']:.2%}" in card and "attention parallel" in card and "| Seed | 1 |" in card
    assert card.endswith(", 1 thread |\n")


def test_weights_that_a_training_did_not_keep_are_not_promised(whole, plan, pictures, capsys):
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    refused(capsys, ["ablate", plan, pictures, whole, "--device", "cpu", "--keep-weights"],
            f"{whole / 'se' / '0'} is of a training that is over, and its network was not kept")
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


def test_table_says_what_the_pictures_were_answered(whole):
    """By hand from the stored answers, with other code than the table's."""
    table = pd.read_csv(whole / "ablation.csv").set_index("variant")
    answers = {name: np.stack([pd.read_parquet(whole / name / str(seed) / "correct.parquet")["top1"].to_numpy()
                               for seed in (0, 1)]) for name in table.index}
    for name, right in answers.items():
        assert table.loc[name, "top1"] == pytest.approx(right.mean())
    assert table.loc[["none", "parallel"], "difference"].tolist() == pytest.approx(
        [answers[name].mean() - answers["se"].mean() for name in ("none", "parallel")])
    assert np.isnan(table.loc["se", "difference"])


def test_pictures_are_answered_as_a_network_answers_them(plan, pictures, tmp_path, capsys):
    """From the kept weights, each picture by itself, through Pillow and torchvision's functions."""
    from safetensors.torch import load_file
    from torchvision.transforms import functional as F

    from senet_viz.data.datasets import open_pictures
    from senet_viz.training.ablation_plan import read_plan

    text = PLAN.replace("seeds = [0, 1]", "seeds = [3]")
    (tmp_path / "plan.toml").write_text(text)
    out = tmp_path / "out"
    ablate(tmp_path / "plan.toml", pictures, out, keep_weights=True, progress=False)
    network = read_plan(tmp_path / "plan.toml").variants["se"].build(open_ablation(out).plan.recipe, 3)
    network.load_state_dict(load_file(out / "se" / "3" / "weights.safetensors"))
    network.eval()
    stored = pd.read_parquet(out / "se" / "3" / "correct.parquet")
    validation = open_pictures(pictures, "val")
    for row in stored.itertuples():
        image = Image.open(io.BytesIO(validation.read(row.index))).resize((16, 16), Image.Resampling.BICUBIC)
        tensor = F.normalize(F.to_tensor(image), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        with torch.inference_mode():
            assert (int(network(tensor[None]).argmax()) == row.label) == row.top1
        assert row.top5  # of three classes
    for name in ("se", "none", "parallel"):  # each kept network says itself what it is
        model = load(f"file:{out / name / '3' / 'weights.safetensors'}", device="cpu")
        stored = pd.read_parquet(out / name / "3" / "correct.parquet")
        batch = model.batch([Image.open(io.BytesIO(validation.read(index))) for index in stored["index"]])
        with torch.inference_mode():
            right = model.module(batch).argmax(1).numpy() == stored["label"].to_numpy()
        assert (right == stored["top1"]).all() and model.classes == validation.classes
        assert f"top-1 {right.mean():.1%}" in model.info["Accuracy"]
        assert model.name == f"weights.safetensors (slim_resnet50_variant, {name})"
        refused(capsys, ["card", out / name / "3" / "weights.safetensors"], "senet-viz train did not write it")


KILLED = """
import os, signal, sys
import torch
from senet_viz.__main__ import main
from senet_viz.training import ablation
torch.set_num_threads(1)
keep, left, ends = ablation._keep, [], []
def keep_and_die(folder, files):
    keep(folder, files)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
ablation._keep = keep_and_die
for keeps in (2, 4):  # each in a process of its own, which has imported all that it needs
    child = os.fork()
    if not child:
        left.append(keeps)
        os._exit(main(sys.argv[1:]))
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
sys.exit(ends != [-signal.SIGKILL] * 2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_really_killed_and_resumed(whole, plan, pictures, tmp_path):
    """Within a training, and where one is over and its table is not yet written."""
    out = tmp_path / "ablation"
    process = subprocess.run(
        [sys.executable, "-c", KILLED, "ablate", str(plan), str(pictures), str(out), "--device", "cpu"],
        capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=600)
    assert process.returncode == 0, process.stderr.decode()
    # 2 epochs of the first; then its last, and all three of the second
    assert [path.name for path in (out / "se" / "0").iterdir()].count("checkpoint.pt") == 0
    assert (out / "none" / "0" / "training.json").is_file() and not (out / "parallel").exists()
    seen = []
    found = ablate(plan, pictures, out, progress=seen.append)
    assert [line.partition(":")[0] for line in seen] == [  # what was done is not done again
        "parallel, seed 0", "se, seed 1", "none, seed 1", "parallel, seed 1"]
    same(out, whole)
    assert not list(out.rglob("checkpoint.pt")) and found.trainings["status"].eq("trained").all()
    assert ablate(plan, pictures, out, progress=seen.append).table.equals(found.table) and len(seen) == 4


def test_the_same_table_from_several_processes(whole, plan, pictures, tmp_path):
    said = []
    ablate(plan, pictures, tmp_path / "out", workers=2, device="cpu", progress=said.append)
    assert len(said) == 6
    same(tmp_path / "out", whole)


@pytest.fixture
def one_job(monkeypatch):
    """``one_job(data=…)``: of an ablation only the first training, so changed; several workers are then one process."""
    from senet_viz.training import ablation_engines

    def change(**changes) -> None:
        monkeypatch.setattr(ablation, "engine_of", lambda *args: lambda jobs, saved: ablation_engines.engine_of(*args)(
            [ablation.replace(jobs[0], **changes)], saved))
    return change


def test_a_process_that_is_lost(plan, pictures, tmp_path, monkeypatch, one_job):
    """The next run goes on from what was kept."""
    keep = ablation._keep
    one_job()

    def keep_and_kill(folder, files):
        keep(folder, files)
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(ablation, "_keep", keep_and_kill)
    with pytest.raises(RuntimeError, match=r"^a process that trained has ended \(exit code -9\): run again to go on"):
        ablate(plan, pictures, tmp_path / "out", workers=2, device="cpu", progress=False)
    assert not multiprocessing.active_children()
    assert list((tmp_path / "out").glob("*/*/checkpoint.pt"))


def test_a_process_that_cannot_read_its_data(plan, pictures, tmp_path, one_job):
    one_job(data=str(tmp_path / "elsewhere"))
    with pytest.raises(RuntimeError, match=r"^\w+/0: .*no such file or folder: .*elsewhere$"):
        ablate(plan, pictures, tmp_path / "out", workers=2, device="cpu", progress=False)


def test_ends_with_the_same_table_whichever_trainings_are_lost(whole, plan, pictures, tmp_path):
    out = tmp_path / "ablation"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "none" / "1")
    (out / "ablation.csv").unlink()
    ablate(plan, pictures, out, progress=False)
    same(out, whole)


def test_diverged_is_listed(pictures, tmp_path):
    """With a rate that no network bears, beside nothing else; and the command ends well."""
    (tmp_path / "plan.toml").write_text(PLAN.replace("lr = 0.05", "lr = 1e30\nwarmup = 0.0").replace(
        "seeds = [0, 1]", "seeds = [5]"))
    out = tmp_path / "out"
    assert main(["ablate", str(tmp_path / "plan.toml"), str(pictures), str(out), "--device", "cpu"]) == 0
    found = open_ablation(out)
    assert found.trainings["status"].tolist() == ["diverged"] * 3
    assert found.table["diverged"].tolist() == [1] * 3 and found.table["top1"].isna().all()
    assert found.table["difference"].isna().all()
    assert not list(out.rglob("correct.parquet"))
    assert "diverged in epoch 1" in (out / "se" / "5" / "card.md").read_text()


def test_one_that_diverges_leaves_the_others(whole, tmp_path):
    """A diverged seed is no 0 %: the variant is compared over the seeds that both have."""
    out = tmp_path / "ablation"
    shutil.copytree(whole, out)
    path = out / "parallel" / "1" / "training.json"
    facts = json.loads(path.read_text()) | {"status": "diverged"}
    del facts["top1"], facts["top5"], facts["images"]
    path.write_text(json.dumps(facts))
    table = tables(out, open_ablation(out).plan)[0].set_index("variant")
    right = {name: pd.read_parquet(out / name / "0" / "correct.parquet")["top1"] for name in ("parallel", "se")}
    assert table.loc["parallel", ["trained", "diverged"]].tolist() == [1, 1]
    assert table.loc["parallel", "top1"] == pytest.approx(right["parallel"].mean())
    assert table.loc["parallel", "difference"] == pytest.approx(right["parallel"].mean() - right["se"].mean())


def test_folder_of_another_plan(whole, pictures, tmp_path, capsys):
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    other = tmp_path / "other.toml"
    for text in (PLAN.replace("lr = 0.05", "lr = 0.06"), PLAN.replace("seeds = [0, 1]", "seeds = [0, 1, 2]")):
        other.write_text(text)
        assert main(["ablate", str(other), str(pictures), str(whole), "--device", "cpu"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "holds another ablation" in said and "another plan" in said
    other.write_text(PLAN + "# a remark, which means nothing\n")
    ablate(other, pictures, whole, progress=False)
    with pytest.raises(AblationError, match="another data"):
        ablate(other, pictures, whole, limit=17, progress=False)
    with pytest.raises(AblationError, match="another threads"):
        ablate(other, pictures, whole, threads=2, progress=False)
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_damaged_picture_is_named_and_the_folder_can_be_used_without_it(pictures, tmp_path, split):
    """Nothing was trained: what was begun with the damaged one is no other ablation's work."""
    for name in ("train", "val"):
        for i, (image, label) in enumerate(zip(*pq.read_table(pictures / f"{name}.parquet").to_pydict().values())):
            path = tmp_path / "data" / name / "abc"[label] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
    damaged, out = tmp_path / "data" / split / "b" / "damaged.png", tmp_path / "out"
    damaged.touch()
    (tmp_path / "plan.toml").write_text(
        PLAN.replace("seeds = [0, 1]", "seeds = [0]").replace("epochs = 3", "epochs = 1"))
    with pytest.raises(UnreadableImage, match=rf"^Picture b/damaged\.png of {split}: The file is empty\.$"):
        ablate(tmp_path / "plan.toml", tmp_path / "data", out, device="cpu", progress=False)
    damaged.unlink()
    assert len(ablate(tmp_path / "plan.toml", tmp_path / "data", out, device="cpu", progress=False).trainings) == 3
    (tmp_path / "data" / split / "b" / "01.png").unlink()
    with pytest.raises(AblationError, match="another data"):
        ablate(tmp_path / "plan.toml", tmp_path / "data", out, device="cpu", progress=False)


def test_folder_of_something_else(plan, pictures, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(AblationError, match="is not empty, and what is in it is no ablation"):
        ablate(plan, pictures, tmp_path / "mine", progress=False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    with pytest.raises(FileNotFoundError, match="holds no ablation"):
        open_ablation(tmp_path / "mine")


def test_damaged_folder(whole, tmp_path):
    out = tmp_path / "ablation"
    shutil.copytree(whole, out)
    (out / "ablation.csv").write_text("variant,top1\nse,1\n")
    with pytest.raises(AblationError, match=r"ablation\.csv is not as it was written"):
        open_ablation(out)
    (out / "ablation.json").write_text("{")
    with pytest.raises(AblationError, match="is damaged, or no ablation's"):
        open_ablation(out)


@pytest.mark.parametrize("content", [b"", b"text"])
def test_damaged_checkpoint(plan, pictures, tmp_path, content):
    out = tmp_path / "out"
    (out / "se" / "0").mkdir(parents=True)
    shutil.rmtree(out)
    ablate_partly(plan, pictures, out)
    (out / "se" / "0" / "checkpoint.pt").write_bytes(content)
    with pytest.raises(RuntimeError, match="the checkpoint of se/0 is damaged: remove it"):
        ablate(plan, pictures, out, progress=False)


def ablate_partly(plan, pictures, out) -> None:
    """Stopped after the first epoch."""
    from senet_viz.training import ablation

    keep = ablation._keep

    def stop(*args):
        keep(*args)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "_keep", stop)
        with pytest.raises(KeyboardInterrupt):
            ablate(plan, pictures, out, progress=False)


def test_no_data_and_no_sense(plan, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    for data, options, sentence in [
            (tmp_path / "nowhere", [], "no such file or folder"), (tmp_path, [], "has neither a folder train"),
            (pictures, ["--limit", "0"], "the limit is 1 picture or more"),
            (pictures, ["--limit", "7"], "7 training pictures do not fill one batch of 8"),
            (pictures, ["--threads", "0"], "threads is 1 to 1,024, not 0"),
            (pictures, ["--workers", "0"], "workers is 1 to 1,024, not 0"),
            (pictures, ["--address", "head:6379"], "an address is of a Ray cluster"),
            (pictures, ["--device", "tpu9"], "is no device")]:
        assert main(["ablate", str(plan), str(data), str(out), *options]) == 2
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1, said
        assert not out.exists()
    assert main(["ablate", str(tmp_path / "none.toml"), str(pictures), str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("line", [
    f"lr = 1{'0' * 400}", "momentum = -1", "momentum = 0.0", "momentum = nan", "label_smoothing = 2", "warmup = -3",
    "warmup = nan", "batch_size = 1", "weight_decay = -1", "weight_decay = nan", f"strides = [1, 1, 1, 1{'0' * 30}]",
    f"epochs = 1{'0' * 40}"])
def test_a_recipe_that_cannot_train_is_told_before_anything_is_written(pictures, tmp_path, capsys, line):
    name = line.partition(" ")[0]
    (tmp_path / "plan.toml").write_text("".join(
        f"{line}\n" if each.startswith(f"{name} ") else each + "\n" for each in PLAN.replace(
            "min_width", "min_width" if f"{name} =" in PLAN else f"{name} = 0\nmin_width").splitlines()))
    assert main(["ablate", str(tmp_path / "plan.toml"), str(pictures), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "plan.toml: " in said and name in said.replace("a batch has", "batch_size")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]


def test_what_only_the_optimiser_refuses_is_told_before_anything_is_written(plan, pictures, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise ValueError("no such schedule\nat all")

    monkeypatch.setattr(torch.optim.lr_scheduler, "OneCycleLR", refuse)
    with pytest.raises(PlanError, match=r"^the recipe: no such schedule$"):
        ablate(plan, pictures, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_plan_that_makes_no_sense_is_told_before_anything_is_trained(pictures, tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN + "[variants.odd]\nsqueeze = \"median\"\n")
    with pytest.raises(PlanError, match=r"variant odd: squeeze must be one of avg, max, not 'median'"):
        ablate(tmp_path / "plan.toml", pictures, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_what_the_command_prints_is_the_table(whole, plan, pictures, tmp_path, capsys, monkeypatch):
    table = pd.read_parquet(whole / "ablation.parquet").set_index("variant")
    shutil.copytree(whole, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "none" / "0")  # is trained again
    words = ["ablate", str(plan), str(pictures), str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert "none, seed 0: top-1" in said.err
    assert [row["top1"] for row in document["variants"]] == table["top1"].tolist()
    assert document["variants"][0]["difference"] is None and len(document["trainings"]) == 6
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    row = dict(zip(lines[0].split(), lines[2].replace(" to ", "→").split()))
    assert row["variant"] == "none" and row["top-1"] == f"{100 * table.loc['none', 'top1']:.2f}"
    assert row["change"] == f"{100 * table.loc['none', 'difference']:+z.2f}"
    low, high = table.loc["none", ["low_both", "high_both"]]
    assert row["both"] == f"{100 * low:+z.2f}→{100 * high:+z.2f}"
    monkeypatch.setenv("COLUMNS", "60")
    assert main(words) == 0
    assert max(map(len, capsys.readouterr().out.splitlines()[:4])) <= 60
