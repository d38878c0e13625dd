"""Signals and volumes over a data set: files that are no pictures, through a model's own reader and transform."""
import io

import numpy as np
import pandas as pd
import pytest
import torch

import senet_viz as sv
from senet_viz.collecting import Settings, collect
from senet_viz.collecting.evaluate import evaluate
from senet_viz.statistics import summaries
from tests.gates.test_spaces import INPUTS, SE, SK, Net

CLASSES = ["high", "low"]


def read(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data))


def model_of(space: int, make) -> sv.Model:
    return sv.Model(Net(space, make), lambda values: torch.from_numpy(values).float(), [*CLASSES, *"cde"], name="mine",
                    reader=read, example=torch.rand(INPUTS[space], generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def data(tmp_path):
    """``data(space)``: 12 files of each of two classes, and one that is no array."""
    def make(space: int):
        rng = np.random.default_rng(0)
        for label, name in enumerate(CLASSES):
            (tmp_path / "data" / name).mkdir(parents=True)
            for i in range(12):
                np.save(tmp_path / "data" / name / f"{i:02}.npy", rng.normal(label, 1 + label, INPUTS[space]))
        (tmp_path / "data" / "low" / "99.npy").write_bytes(b"no array")
        return tmp_path / "data"
    return make


@pytest.mark.parametrize("space, make", [(1, SE), (3, SE), (1, SK)])
def test_means_are_those_of_recorded_gates(data, tmp_path, space, make):
    model, folder = model_of(space, make), data(space)
    settings = Settings(batch_size=5, shard_size=10, threads=1, random_weights=1, sample=24)
    stats = collect(model, folder, tmp_path / "out", settings, workers=0, progress=False)
    assert stats.classes == CLASSES
    assert stats.count.tolist() == [12, 12]
    unreadable = pd.read_csv(tmp_path / "out" / "unreadable.csv")
    assert len(unreadable) == 1 and "99.npy" in unreadable.to_string()
    for block in model.blocks:
        for label, name in enumerate(CLASSES):
            batch = torch.stack([model.transform(read(path.read_bytes()))
                                 for path in sorted((folder / name).glob("[01]*.npy"))])
            gates = sv.record(model, batch).gates[block.name].double()
            torch.testing.assert_close(torch.from_numpy(stats.mean(block.label)[label]), gates.mean(0), rtol=1e-4,
                                       atol=1e-5)
    table = summaries.dimension(stats)
    assert set(table.source) == {"gate", "squeeze", "random"}
    assert table.images.eq(24).all()


def test_edits_over_a_data_set(data, tmp_path):
    model, folder = model_of(1, SE), data(1)
    (folder / "low" / "99.npy").unlink()
    table = evaluate(model, folder, tmp_path / "out", ["SE_1_1=1"], workers=0, progress=False)
    batch = torch.stack([model.transform(read(path.read_bytes())) for path in sorted(folder.glob("*/*.npy"))])
    labels = torch.tensor([0] * 12 + [1] * 12)
    for edits, top1 in zip(([], [sv.Edit("SE_1_1", 1)]), table.top1):
        assert top1 == pytest.approx((sv.inspect(model, batch, edits=edits).logits.argmax(1) == labels).double().mean())


def test_what_is_no_picture_is_not_enlarged(data, tmp_path):
    with pytest.raises(ValueError, match="cannot be enlarged"):
        collect(model_of(1, SE), data(1), tmp_path / "out", Settings(zooms=(1.0, 2.0)), progress=False)


def test_a_model_of_signals_knows_its_size():
    model = model_of(1, SE)
    assert model.input_size == (256,)
    assert [block.label for block in model.blocks] == ["SE_1_1", "SE_2_1"]
    assert model.stages == {"Stage 1": "one", "Stage 2": "two"}
