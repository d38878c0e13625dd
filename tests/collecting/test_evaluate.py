import copy
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from scipy import stats
from timm.data import ImageNetInfo
from torch import nn

import senet_viz as sv
from senet_viz.collecting import Computing, Stopped, collect, each_block, each_stage, evaluate, open_evaluation
from senet_viz.collecting.evaluate import class_targets, harmless
from senet_viz.collecting.evaluation import Evaluation, Evaluator
from senet_viz.data.datasets import Pictures, open_pictures
from senet_viz.gates import EditError
from senet_viz.gates.dealing import donors
from senet_viz.models import Model
from senet_viz.statistics import StatisticsError

NAMES = [f"kind {k}" for k in range(9)]
LABELS = [k for k in range(9) for _ in range(4)]  # sorted by class, as folders are
LABELS[5] = LABELS[20] = -1
SETTINGS = Computing(batch_size=5, shard_size=12)
EDITS = ["*=0.5", "SE_5_1=0; SE_4_1[1,3]=2", "S?_3_1=shuffle images", "stage 2=shuffle channels"]
FILES = ["evaluation.csv", "images.parquet", "metadata.json", "speed.csv", "unreadable.csv"]


def pixels(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(np.kron(rng.integers(0, 256, (6, 6, 3)), np.ones((5, 5, 1))).astype(np.uint8))


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels(seed).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(labels=tuple(LABELS), names=tuple(NAMES)) -> Pictures:
    return Pictures(png, list(labels), list(names))


@pytest.fixture
def model(network) -> Model:
    """Of nine classes, which are not in the order of the data's."""
    small = network("se+sk")
    module = copy.deepcopy(small.module)
    torch.manual_seed(0)
    module.fc = nn.Linear(module.fc.in_features, 9)
    return Model(module, small.transform, NAMES[::-1], name="nine")


@pytest.fixture
def run(model, tmp_path):
    def run_it(out: Path | str | None = "out", edits=EDITS, data=None, model=model, **options) -> pd.DataFrame:
        options = {"settings": SETTINGS, "workers": 0, "progress": False, **options}
        return evaluate(model, data or pictures(), out and tmp_path / out, edits, **options)
    return run_it


def same(content, folder: Path, other: Path) -> None:
    """But for the speed, which is measured."""
    contents = [{name: value for name, value in content(path).items() if name != "speed.csv"}
                for path in (folder, other)]
    assert contents[0] == contents[1]


def test_as_in_a_loop_by_hand(run, model, tmp_path):
    table = run()
    rows = pd.read_parquet(tmp_path / "out" / "images.parquet")
    chosen = [i for i, label in enumerate(LABELS) if label >= 0]
    dealt = np.random.default_rng(0).permutation(chosen)
    assert table["edit"].tolist() == ["unedited", *EDITS]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    right = {}
    for row, (name, edits) in enumerate(zip(table["edit"], [[], *map(sv.parse_edits, EDITS)])):
        found = {}
        for shard in np.split(dealt, range(12, len(dealt), 12)):
            for batch in np.split(shard, range(5, len(shard), 5)):
                tensors = model.batch([pixels(i) for i in batch]).contiguous(memory_format=torch.channels_last)
                with sv.edited(model, edits) as module, torch.no_grad():
                    logits = module(tensors)
                for index, values in zip(batch, logits.numpy()):
                    target = 8 - LABELS[index]
                    ranked = np.argsort(-values)
                    found[index] = (target, ranked[0] == target, target in ranked[:5],
                                    np.exp(values[target]) / np.exp(values).sum())
        part = rows[rows["edit"] == name]
        assert part["index"].tolist() == chosen
        labels, right1, right5, probability = map(np.array, zip(*(found[i] for i in chosen)))
        np.testing.assert_array_equal(part["label"], labels)
        np.testing.assert_array_equal(part["right1"], right1)
        np.testing.assert_array_equal(part["right5"], right5)
        np.testing.assert_allclose(part["probability"], probability, rtol=1e-4)
        right[name] = right1, right5
        line = table.loc[row]
        assert line["images"] == len(chosen) == 34
        assert (line["top1"], line["top5"]) == pytest.approx((right1.mean(), right5.mean()))
        assert line["probability"] == pytest.approx(probability.mean(), rel=1e-4)
        change = right1.astype(int) - right["unedited"][0]
        assert (line["lost"], line["gained"]) == ((change < 0).sum(), (change > 0).sum())
        assert line["difference"] == pytest.approx(change.mean())
        assert line["difference5"] == pytest.approx(right5.mean() - right["unedited"][1].mean())
        assert line["images_per_second"] > 0
    assert len({tuple(first) for first, _ in right.values()}) > 2  # the edits do something
    assert table["blocks"].tolist() == ["", " ".join(b.label for b in model.blocks), "SE_4_1 SE_5_1", "SK_3_1 SE_3_1",
                                        "SK_2_1 SE_2_1"]
    assert table.loc[0, ["difference", "low", "high", "low5", "high5"]].tolist() == [0] * 5


def test_batches_mix_classes(run, model):
    """Gates of other pictures change answers, which those of the same class need not do."""
    table = run(None, ["*=shuffle images"], settings=Computing(batch_size=12, shard_size=12))
    assert table.loc[1, "lost"] + table.loc[1, "gained"] > 0


def test_a_picture_alone_in_its_batch(run, model, tmp_path):
    """It joins the one before; where all others are unreadable it is left out of every row, and said to be."""
    settings = Computing(batch_size=5, shard_size=11)  # 34 pictures: 5 + 5 + 1, thrice, and 1
    dealt = np.random.default_rng(0).permutation([i for i, label in enumerate(LABELS) if label >= 0])
    data = pictures()
    data.read = lambda index: b"hello" if index in dealt[1:5] else png(index)
    table = run(edits=["*=0.5", "*=shuffle images"], settings=settings, data=data)
    lines = pd.read_csv(tmp_path / "out" / "unreadable.csv")
    assert sorted(lines["file"]) == sorted([*dealt[:5], dealt[33]])
    assert set(lines["file"][lines["reason"] == "it is alone in its batch, and no other has gates for it"]) == {
        dealt[0], dealt[33]}
    assert (table["images"] == 28).all() and table.attrs["unreadable"] == 6
    rows = pd.read_parquet(tmp_path / "out" / "images.parquet")
    assert set(rows["index"]) == set(dealt[5:33])
    together = dealt[16:22]
    with sv.edited(model, [sv.Edit("*", "shuffle images")]) as module, torch.no_grad():
        logits = module(model.batch([pixels(i) for i in together]).contiguous(memory_format=torch.channels_last))
    wanted = logits.softmax(1)[range(6), [8 - LABELS[i] for i in together]]
    shuffled = rows[rows["edit"] == "*=shuffle images"].set_index("index")["probability"]
    np.testing.assert_allclose(shuffled[together], wanted, rtol=1e-4)
    assert (run("others", edits=["*=0.5", "*=shuffle channels"], settings=settings)["images"] == 34).all()
    with pytest.raises(EditError, match=r'^"shuffle images" takes batches of 2 pictures or more, not of 1$'):
        run("third", edits=["*=shuffle images"], settings=Computing(batch_size=1))


DEALT = ["*=shuffle class", "*=shuffle classes", "*=shuffle images", "*=0.5"]
SIX = Computing(batch_size=6, shard_size=15)


@pytest.fixture
def looked(monkeypatch):
    """The pictures of each batch that a run looks at, in order."""
    batches, look = [], Evaluator.look

    def watched(self, batch, result):
        batches.append([read.index for read in batch.reads])
        look(self, batch, result)

    monkeypatch.setattr(Evaluator, "look", watched)
    return batches


def test_gates_dealt_by_class(run, model, tmp_path, looked):
    """Every picture has another of its class beside it; answers as with the gates of each, put in by hand."""
    run(edits=DEALT, settings=SIX)
    rows = pd.read_parquet(tmp_path / "out" / "images.parquet")
    chosen = [i for i, label in enumerate(LABELS) if label >= 0]
    assert sorted(index for batch in looked for index in batch) == chosen
    assert rows[rows["edit"] == "unedited"]["index"].tolist() == chosen
    for batch in looked:
        labels = [LABELS[i] for i in batch]
        assert all(labels.count(label) > 1 for label in labels) and len(set(labels)) > 1 and len(batch) <= 6
        tensors = model.batch([pixels(i) for i in batch]).contiguous(memory_format=torch.channels_last)
        for text in DEALT[:2]:
            given = donors(text.split()[1], [8 - label for label in labels], 0).tolist()
            handles = [model.module.get_submodule(block.gate).register_forward_hook(
                lambda _, __, gate, given=given: gate[given]) for block in model.blocks]
            with torch.no_grad():
                probability = model.module(tensors).softmax(1)[range(len(batch)), [8 - label for label in labels]]
            for handle in handles:
                handle.remove()
            part = rows[rows["edit"] == text].set_index("index")["probability"]
            np.testing.assert_allclose(part[batch], probability, rtol=1e-4)
    assert rows.groupby("edit")["probability"].mean().nunique() == 5  # the edits differ


def test_a_picture_without_another_of_its_class_is_left_out_of_every_row(run, tmp_path):
    """One class has a single picture, of another only one can be read."""
    labels = [0, 0, 0, 1, 2, 2, 3, 3, 3, 3]
    data = pictures(labels)
    data.read = lambda index: b"hello" if index == 4 else png(index)
    table = run(edits=DEALT, settings=Computing(batch_size=6, shard_size=100), data=data)
    assert (table["images"] == 7).all() and table.attrs["unreadable"] == 3
    lines = pd.read_csv(tmp_path / "out" / "unreadable.csv").set_index("file")["reason"]
    assert set(lines.index) == {3, 4, 5}
    assert lines[3] == lines[5] == "its batch has no other picture of its class, whose gates it could have"
    rows = pd.read_parquet(tmp_path / "out" / "images.parquet")
    assert all(part["index"].tolist() == [0, 1, 2, 6, 7, 8, 9] for _, part in rows.groupby("edit"))
    others = run("others", edits=DEALT[1:], data=data, settings=Computing(batch_size=10))
    assert (others["images"] == 9).all()  # each finds one of another class


@pytest.mark.parametrize(("options", "message"), [
    ({"settings": Computing(batch_size=5)}, r'^"shuffle class" takes batches of 6 pictures or more, not of 5$'),
    ({"data": pictures([0, 1, 2])}, r'^"shuffle class" takes two pictures of a class or more, and none of the 3 '),
    ({"data": pictures([4, 4, 4, -1])}, r'^"shuffle classes" takes pictures of two classes or more, and all are of'),
])
def test_gates_that_cannot_be_dealt_by_class(run, tmp_path, options, message):
    with pytest.raises(EditError, match=message):
        run(edits=DEALT, **{"settings": SIX, **options})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("size", "shard"), [(6, 6), (7, 20), (8, 1), (32, 512)])
@pytest.mark.parametrize("seed", range(3))
def test_shards_of_pictures_that_stay_together(model, size, shard, seed):
    labels = np.random.default_rng(seed).integers(-1, 9, 150)
    data, edits = pictures(labels), {"*=shuffle class": sv.parse_edits("*=shuffle class")}
    count = int((labels >= 0).sum())
    plan = Evaluation(model, data, Computing(batch_size=size, shard_size=shard), "", count, torch.device("cpu"), "",
                      edits, np.arange(9))
    found = [plan.batches(k) for k in range(plan.shards)]
    for k, batches in enumerate(found):
        assert plan.indices(k).tolist() == [index for batch in batches for index in batch]
        assert len(batches) == 1 or len(plan.indices(k)) <= shard + 3
    batches = [batch for shard in found for batch in shard]
    assert sorted(index for batch in batches for index in batch) == np.flatnonzero(labels >= 0).tolist()
    assert all(len(batch) <= size for batch in batches[:-1]) and len(batches[-1]) <= size + 3
    for batch in batches:
        of = labels[batch].tolist()
        assert all(of.count(label) > 1 for label in of)


def test_dealt_gates_stopped_and_run_again(run, content, tmp_path):
    run("whole", edits=DEALT, settings=SIX)
    with pytest.raises(Stopped):
        run(edits=DEALT, settings=SIX, stop=lambda: len(list((tmp_path / "out" / "shards").glob("*"))) == 1)
    run(edits=DEALT, settings=SIX, workers=1)
    same(content, tmp_path / "out", tmp_path / "whole")


def test_edits_that_differ_in_what_they_hold(run, model):
    arrays = [sv.Edit("SE_5_1", np.full(32, value)) for value in (0.25, 0.75, 0.5)]
    edits = [sv.Edit("SE_5_1", "shuffle channels", seed=0), sv.Edit("SE_5_1", "shuffle channels", seed=1),
             "SE_5_1=0.1234567", "SE_5_1=0.12345671", *arrays]
    table = run(None, edits)
    assert table["edit"][1:5].is_unique and table["edit"][3:].tolist() == [
        "SE_5_1=0.1234567", "SE_5_1=0.12345671", "SE_5_1=array", "SE_5_1=array (2)", "SE_5_1=array (3)"]
    by_value = run(None, [f"SE_5_1={value}" for value in (0.25, 0.75, 0.5)])
    np.testing.assert_allclose(table["probability"][5:], by_value["probability"][1:], rtol=1e-6)
    assert table["probability"][5:].is_unique


def test_an_edit_given_twice_is_made_once(run, model):
    """As one of a list of one's own and of those of each stage is; under two names of one's own there are two."""
    arrays = [sv.Edit("SE_5_1", np.full(32, value)) for value in (0.25, 0.75)]
    table = run(None, [*arrays, "SE_5_1=0.5", sv.Edit("SE_5_1", 0.50), sv.Edit("SE_5_1", np.full(32, 0.75)),
                       "SE_5_1=.5"])
    assert table["edit"].tolist() == ["unedited", "SE_5_1=array", "SE_5_1=array (2)", "SE_5_1=0.5"]
    both = run(None, ["*=0.5", *each_stage(model, ["0.5"])])["edit"].tolist()
    assert both[1] == "*=0.5" and both.count("*=0.5") == 1 and len(both) == 1 + len(each_stage(model, ["0.5"]))
    named = run(None, {"one": [sv.Edit("SE_5_1", 0.5)], "other": [sv.Edit("SE_5_1", 0.5)]})
    assert named["edit"].tolist() == ["unedited", "one", "other"]


def test_a_value_that_is_none_is_told_those_that_there_are_here(run):
    """Each of them is taken."""
    with pytest.raises(EditError) as error:
        run(None, "SE_5_1=foo")
    said, values = str(error.value).split("; there are ")
    assert said == "'foo' is no value of a gate"
    words = re.findall("'(.*?)'", values.partition("for kernels")[0])
    assert {"mean", "rank 1", "shuffle images", "shuffle class", "shuffle classes"} < {*words}
    known = {"mean": {}, "rank": lambda k: {}}
    for word in words:
        assert sv.parse_edits(f"SE_5_1={word}", **known)


def test_one_edit_alone(run):
    several, *alone = (run(None, edits).drop(columns="images_per_second") for edits in (
        ["SE_5_1=0.5"], "SE_5_1=0.5", sv.Edit("SE_5_1", 0.5)))
    for table in alone:
        pd.testing.assert_frame_equal(table, several)


def test_stopped_and_run_again(run, content, tmp_path):
    whole = run("whole")
    with pytest.raises(Stopped, match="1 of 3"):
        run(stop=lambda: len(list((tmp_path / "out" / "shards").glob("*"))) == 1)
    with pytest.raises(StatisticsError, match="holds no finished evaluation"):
        open_evaluation(tmp_path / "out")
    told = []
    again = run(progress=lambda *now: told.append(now))
    assert told == [(12, 34), (24, 34), (34, 34)]
    same(content, tmp_path / "out", tmp_path / "whole")
    pd.testing.assert_frame_equal(again.drop(columns="images_per_second"), whole.drop(columns="images_per_second"))
    before = content(tmp_path / "out")
    run(progress=lambda *now: pytest.fail("it is all there"))
    assert content(tmp_path / "out") == before


def test_with_processes_that_decode(run, content, tmp_path):
    run()
    run("other", workers=1)
    same(content, tmp_path / "out", tmp_path / "other")


@pytest.mark.parametrize("other", [{"edits": EDITS[:3]}, {"edits": EDITS[::-1]}, {"limit": 30}, {"compact": True},
                                   {"settings": Computing(batch_size=4, shard_size=12)}])
def test_another_run_is_refused(run, other):
    run()
    with pytest.raises(StatisticsError, match="holds another run, which is not mixed with this one: "):
        run(**other)


def test_arrays_are_part_of_the_identity(run):
    run(edits=[sv.Edit("SE_5_1", np.full(32, 0.25))])
    with pytest.raises(StatisticsError, match="edits differs"):
        run(edits=[sv.Edit("SE_5_1", np.full(32, 0.75))])


def test_mean_of_statistics(run, model, tmp_path, network):
    archive = collect(model, pictures(), tmp_path / "stats", workers=0, progress=False)
    given = run(None, ["*=mean", [sv.Edit("*", {b.label: archive.overall_mean(b) for b in model.blocks})]],
                statistics=tmp_path / "stats")
    assert given["edit"].tolist() == ["unedited", "*=mean", "*=array"]
    assert given.loc[1, "top1":"probability"].tolist() == given.loc[2, "top1":"probability"].tolist()
    with pytest.raises(ValueError, match=r"^the mean of gates needs statistics of nine: give a folder that collect"):
        run(None, ["*=mean"])
    collect(network("se"), pictures(), tmp_path / "others", workers=0, progress=False)
    with pytest.raises(ValueError, match=r"are of other weights than those of nine$"):
        run(None, ["*=mean"], statistics=tmp_path / "others")


def test_limit(run, tmp_path):
    run(limit=7)
    rows = pd.read_parquet(tmp_path / "out" / "images.parquet")
    chosen = [i for i, label in enumerate(LABELS) if label >= 0]
    assert rows["index"][:7].tolist() == [chosen[i * 34 // 7] for i in range(7)]


def test_compact(run, tmp_path):
    whole = run("whole")
    small = run(compact=True)
    columns = ["edit", "top1", "low", "high", "top5", "probability"]
    pd.testing.assert_frame_equal(small[columns], whole[columns])
    both = [pd.read_parquet(tmp_path / name / "images.parquet")["probability"] for name in ("whole", "out")]
    assert both[1].dtype == np.float16
    np.testing.assert_allclose(*both, atol=5e-4)


def test_unreadable_pictures(run, tmp_path):
    data = pictures()
    data.read = lambda index: b"hello" if index == 2 else png(index)
    table = run(data=data)
    assert (table["images"][0], table.attrs["unreadable"], table.attrs["unlabelled"]) == (33, 1, 2)
    assert '2,"The file is not a picture' in (tmp_path / "out" / "unreadable.csv").read_text()


def test_an_edit_that_overflows_gets_nothing_right(run):
    table = run(None, ["*=1e30"])
    assert table.loc[1, "top1"] == table.loc[1, "top5"] == table.loc[1, "probability"] == 0
    assert table.loc[0, "images"] == 34


def test_both_intervals_are_in_the_table_and_old_evaluations_get_them(run, tmp_path):
    table = run()
    rows = pd.read_parquet(tmp_path / "out" / "images.parquet")
    plain = rows[rows["edit"] == "unedited"].set_index("index")
    for row, name in enumerate(table["edit"]):
        part = rows[rows["edit"] == name].set_index("index")
        for n, right in (("", "right1"), ("5", "right5")):
            change = part[right].astype(int) - plain[right].astype(int)
            each = change.groupby(part["label"]).agg(["sum", "size"])
            wide = (each["sum"] - change.mean() * each["size"]).pow(2).sum() * 9 / 8
            half = stats.t.ppf(0.975, 8) * np.sqrt(wide) / len(change)
            line = table.loc[row]
            low, high = max(change.mean() - half, -1), min(change.mean() + half, 1)
            assert line[f"low{n}_classes"] == pytest.approx(min(low, line[f"low{n}"]))
            assert line[f"high{n}_classes"] == pytest.approx(max(high, line[f"high{n}"]))
    columns = [f"{end}{n}_classes" for n in ("", "5") for end in ("low", "high")]
    assert (table["low_classes"] < table["low"]).any()
    path, described = tmp_path / "out" / "evaluation.csv", tmp_path / "out" / "metadata.json"
    pd.read_csv(path).drop(columns=columns).to_csv(path, index=False)
    with pytest.raises(StatisticsError, match=r"is damaged \(evaluation.csv has changed since it was written\)"):
        open_evaluation(tmp_path / "out")
    metadata = json.loads(described.read_text())  # nor were there checksums then
    del metadata["checksums"], table.attrs["checksums"]
    described.write_text(json.dumps(metadata))
    pd.testing.assert_frame_equal(open_evaluation(tmp_path / "out"), table)
    (tmp_path / "out" / "images.parquet").write_bytes(b"damaged")
    with pytest.raises(StatisticsError, match="is damaged"):
        open_evaluation(tmp_path / "out")
    (tmp_path / "out" / "images.parquet").unlink()
    found = open_evaluation(tmp_path / "out")
    assert found[columns].isna().all(axis=None)
    pd.testing.assert_frame_equal(found.drop(columns=columns), table.drop(columns=columns))


# edits by rule

def test_each_block_and_stage(model, network):
    assert each_block(network("se"))[:2] == ["SE_2_1=1", "SE_3_1=1"]
    assert each_stage(network("se")) == ["stage 2=1", "stage 3=1", "stage 4=1", "stage 5=1", "*=1"]
    assert each_block(network("sk"))[:3] == ["SK_2_1=3x3", "SK_2_1=5x5", "SK_2_1=uniform"]
    assert each_stage(network("sk"), ["mean"]) == ["stage 2=mean", "stage 3=mean", "stage 4=mean", "stage 5=mean",
                                                   "*=mean"]
    both = each_stage(model)
    assert both[:4] == ["SK_2_1=3x3", "SK_2_1=5x5", "SK_2_1=uniform", "SE_2_1=1"]
    assert both[-1] == "SE_2_1,SE_3_1,SE_4_1,SE_5_1=1"
    one = network("se")
    one.blocks = one.blocks[:1]  # a single stage is all that there is
    assert each_stage(one, ["mean"]) == ["*=mean"]


def test_harmless_blocks_are_found_by_the_value_of_their_edit(network):
    blocks = network("se").blocks
    table = pd.DataFrame({"edit": ["unedited", "SE_2_1=0.5", "SE_3_1=0.5", "SE_4_1=0.5"],
                          "difference": [0, -0.002, -0.001, 0.01]})
    assert harmless(table, blocks, "0.50", 0.1) == harmless(table, blocks, ".5", 0.1) == ["SE_3_1", "SE_4_1"]
    with pytest.raises(ValueError, match=r"^the evaluation has no rows BLOCK=mean: evaluate with --each-block mean$"):
        harmless(table, blocks, "mean", 0.1)


# classes

def test_classes_by_name_and_by_number(model):
    assert class_targets(model, pictures()).tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert class_targets(model, pictures([3, 0], ["0", "1", "2", "3"])).tolist() == [0, 1, 2, 3]
    some = class_targets(model, pictures([1, 1], ["unknown, without pictures", "kind 2"]))
    assert some.tolist() == [-1, 6]


def test_classes_that_share_a_name(model):
    model.classes = ["crane", "pug", "crane"]
    named = ["crane [n02012849]", "pug", "crane [n03126707]"]
    assert class_targets(model, pictures([0, 1, 2], named)).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"it does not know 'crane \[n03126707\]'"):
        class_targets(model, pictures([0, 1], ["pug", "crane [n03126707]"]))


def test_folders_of_wordnet_ids_and_names_of_the_model_s_own(model, wordnet):
    """As an embedded model names ImageNet's classes, as torchvision's do, and as ImageFolder does without names."""
    data = wordnet("n01443537", "n02481823", "n03126707")  # goldfish, chimpanzee, the machine crane
    assert data.classes == ["goldfish, Carassius auratus", "chimpanzee, chimp, Pan troglodytes", "crane"]
    model.classes = torchvision.models.get_model_weights("resnet18").DEFAULT.meta["categories"]
    assert class_targets(model, data).tolist() == [1, 367, 517]
    model.classes = ["n03126707", "n02481823", "n01443537"]
    assert class_targets(model, data).tolist() == [2, 1, 0]
    model.classes = ["chimpanzee", "goldfish"]
    assert class_targets(model, wordnet("n01443537", "n02481823")).tolist() == [1, 0]
    model.classes = ["chimpanzee", "crane", "goldfish"]  # a bird, perhaps
    with pytest.raises(ValueError, match=r"it does not know 'crane' \(.*, …\); a classes\.csv beside the folders of .* "
                                         r"with columns wnid and name, can call them as the model does$"):
        class_targets(model, data)
    rows = "".join(f"{wnid},{name}\n" for wnid, name in zip(data.wnids, ("goldfish", "chimpanzee", "crane")))
    assert class_targets(model, wordnet(*data.wnids, names=f"wnid,name\n{rows}")).tolist() == [2, 0, 1]


@pytest.fixture
def wordnet(tmp_path):
    """``wordnet("n01443537", …)``: a folder with one of a picture each."""
    def make(*wnids: str, names: str = "") -> Pictures:
        folder = tmp_path / f"{len(wnids)} {bool(names)}"
        for wnid in wnids:
            (folder / wnid).mkdir(parents=True)
            (folder / wnid / "a.png").write_bytes(png(0))
        if names:
            (folder / "classes.csv").write_text(names)
        return open_pictures(folder)
    return make


def test_an_embedded_model_knows_all_its_classes_by_wordnet_id(wordnet):
    model, info = sv.load("demo/se_resnet50_slim"), ImageNetInfo()
    ids = {info.index_to_description(i).split(",")[0]: info.index_to_label_name(i) for i in range(1000)}
    data = wordnet(*(ids[name] for name in model.classes))
    assert data.classes != model.classes
    assert class_targets(model, data).tolist() == list(range(100))


# what cannot be evaluated

@pytest.mark.parametrize(("edits", "message"), [
    (["SE_9_*=1"], r"^SE_9_\*=1 matches no block; the network's are: SK_2_1, SE_2_1, "),
    (["SE_5_1"], "^'SE_5_1' is no edit"),
    (["SE_5_1=3x3"], "^SE_5_1=3x3: SE_5_1 has no branches to choose between$"),
    ([" ; "], "^an edit without any change would be the unedited network$"),
])
def test_edits_that_cannot_be_made(run, tmp_path, edits, message):
    with pytest.raises(EditError, match=message):
        run(edits=edits)
    assert not (tmp_path / "out").exists()


def test_data_that_cannot_be_evaluated(run, model, tmp_path):
    with pytest.raises(ValueError, match=r"^the pictures in own pictures have no labels"):
        run(data=pictures([-1, -1]))
    with pytest.raises(ValueError, match=r"^the data's classes are not those of nine: it does not know 'cat'"):
        run(data=pictures([0, 1, 2], ["cat", "kind 1", "dog"]))
    with pytest.raises(ValueError, match=r"^the limit is 1 picture or more, not 0$"):
        run(limit=0)
    with pytest.raises(ValueError, match=r"^batch size is 1 or more, not 0$"):
        run(settings=Computing(batch_size=0))
    with pytest.raises(ValueError, match=r"^workers is 0 to 1,024, not -1$"):
        run(workers=-1)
    with pytest.raises(ValueError, match="has no attention blocks, so there is nothing to edit"):
        run(model=Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), model.transform, NAMES))
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError):
        open_evaluation(tmp_path / "out")
