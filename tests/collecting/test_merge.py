"""Reading the shards of a run."""
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from senet_viz.collecting.merge import Result


@pytest.fixture
def shard(tmp_path):
    values = torch.arange(12.0).reshape(3, 4)
    path = tmp_path / "shard.safetensors"
    save_file({"values": values, "counts": torch.arange(3)}, path, {"shard": '{"unreadable": []}'})
    return path, values


def test_tensors_and_columns_of_them(shard):
    path, values = shard
    result = Result(path)
    assert result.names == {"values", "counts"} and result.note == {"unreadable": []}
    assert torch.equal(result.get("values"), values)
    assert torch.equal(result.get("values", slice(1, 3)), values[:, 1:3])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is in memory")
def test_nothing_of_a_shard_stays_in_memory(shard):
    """Of thousands of shards it would be as much as all their files."""
    path, values = shard
    result = Result(path)
    held = [result.get("values"), result.get("values", slice(0, 2))]
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert [tensor.untyped_storage().nbytes() for tensor in held] == [values.nbytes, values[:, :2].nbytes]
