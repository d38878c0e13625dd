"""The sample's vectors are those that the network gives."""
import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import senet_viz as sv
from senet_viz.statistics import StatisticsError, open_statistics
from senet_viz.statistics.whole import SAMPLE, whole_gates
from tests.runs import make_model


@pytest.fixture(scope="module")
def view(data_set):
    """All pictures in one forward, by the library's other way."""
    model = make_model()
    images = [Image.open(io.BytesIO(cell.as_py())).convert("RGB")
              for cell in pq.read_table(data_set / "val.parquet")["image"]]
    maps = [(block.name, "input" if block.branches == 1 else m) for block in model.blocks
            for m in range(block.branches)]
    return sv.inspect(model, torch.stack([model.transform(image) for image in images]), features=maps)


def test_every_vector(full, view):
    whole = whole_gates(full)
    assert whole.index.tolist() == list(range(23))
    for block in full.blocks:
        gate = view.gates[block.name]
        for branch in range(block.branches):
            np.testing.assert_allclose(whole(block, branch=branch), gate[:, branch], atol=1e-5)
        np.testing.assert_array_equal(whole(block.label), whole(block, branch=block.branches - 1))
        maps = [view.features[block.name, "input" if block.branches == 1 else m] for m in range(block.branches)]
        np.testing.assert_allclose(whole(block, "squeeze"), sum(maps).mean((2, 3)), atol=1e-4)


def test_which_pictures(run, full, tmp_path):
    few = whole_gates(run(tmp_path / "few", options={"sample": 7}))
    assert few.index.tolist() == [i * 23 // 7 for i in range(7)]
    for block in full.blocks:
        np.testing.assert_allclose(few(block), whole_gates(full)(block)[few.index], atol=1e-5)


def test_archives_without(compact, run, tmp_path):
    assert whole_gates(compact) is None
    assert whole_gates(run(tmp_path / "none", options={"sample": 0})) is None


def test_a_damaged_one(run, tmp_path):
    path = run(tmp_path / "out").path
    stats = open_statistics(path)
    (path / SAMPLE).write_bytes(b"no safetensors")
    with pytest.raises(StatisticsError, match=r"^the sample in .* is damaged"):
        whole_gates(stats)
    with pytest.raises(StatisticsError, match=r"are damaged \(sample\.safetensors has changed"):
        open_statistics(path)
