"""On a CUDA GPU, where there is one: the same numbers as on the processor."""
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision import transforms

import senet_viz as sv
from senet_viz.collecting import Computing, evaluate, shards
from senet_viz.collecting.network import GateNetwork
from senet_viz.collecting.travel import as_bytes
from senet_viz.gates import cam
from senet_viz.models.devices import fastest_precision
from tests.runs import content, data_set, make_batch, make_model, make_module, run, settings

__all__ = ["content", "data_set", "run", "settings"]

GPU = torch.device("cuda")
pytestmark = pytest.mark.skipif(GPU.type == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA GPU")


@pytest.fixture(autouse=True)
def single_precision(monkeypatch):
    """Convolutions in full float32: TF32 has ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("name", ["demo/se_resnet50_slim", "demo/sknet50_slim"])
def test_one_picture(name):
    here, there = sv.load(name, device="cpu"), sv.load(name, device=str(GPU))
    batch, targets, layers = torch.rand(2, 3, 64, 64), [3, 1], ["layer1", "layer4"]
    expected, found = (sv.inspect(model, batch, targets, layers) for model in (here, there))
    torch.testing.assert_close(found.logits.cpu(), expected.logits, rtol=1e-3, atol=1e-3)
    for block, gate in expected.gates.items():
        torch.testing.assert_close(found.gates[block].cpu(), gate, rtol=1e-3, atol=1e-3)
    for layer, map_ in expected.cams.items():
        torch.testing.assert_close(found.cams[layer].cpu(), map_, rtol=1e-2, atol=1e-3 * float(map_.max()))


@pytest.mark.parametrize("attention", ["se", "sk"])
def test_backwards_together_and_in_turn(attention, monkeypatch):
    module, batch = make_module(attention).to(GPU), make_batch(4).to(GPU)
    found = sv.grad_cam(module, batch, [0, 1, 2], ["layer1", "layer4"])
    monkeypatch.setattr(cam, "TOGETHER", {})
    expected = sv.grad_cam(module, batch, [0, 1, 2], ["layer1", "layer4"])
    for layer, map_ in expected.items():
        torch.testing.assert_close(found[layer], map_, rtol=1e-3, atol=1e-4 * float(map_.max()))


def test_edits():
    module, batch, edits = make_module("se"), make_batch(4), [sv.Edit("*", 1.0)]
    expected = sv.inspect(module, batch, edits=edits).logits
    found = sv.inspect(module.to(GPU), batch, edits=edits)
    torch.testing.assert_close(found.logits.cpu(), expected, rtol=1e-3, atol=1e-3)
    assert all(gate.eq(1).all() for gate in found.gates.values())


@pytest.mark.parametrize("precision, within", [("fp32", 1e-5), ("bf16", 2e-2), ("fp16", 5e-3), ("auto", 2e-2)])
def test_statistics(run, tmp_path, precision, within):
    expected = run(tmp_path / "cpu", device="cpu")
    found = run(tmp_path / "gpu", device=GPU, options={"precision": precision})
    assert found.count.tolist() == expected.count.tolist()
    for block in expected.blocks:
        torch.testing.assert_close(torch.from_numpy(found.overall_mean(block)), torch.from_numpy(
            expected.overall_mean(block)), rtol=0, atol=within)
    if precision == "auto":
        assert found.metadata["settings"]["precision"] in {"fp32", fastest_precision(GPU)}  # timed: this one is small


def test_compiled_statistics(run, tmp_path):
    expected = run(tmp_path / "cpu", device="cpu")
    found = run(tmp_path / "gpu", device=GPU, options={"compiled": True})
    for block in expected.blocks:
        torch.testing.assert_close(torch.from_numpy(found.overall_mean(block)), torch.from_numpy(
            expected.overall_mean(block)), rtol=0, atol=1e-5)


def test_the_same_bytes_again(run, content, tmp_path):
    for out in ("once", "again"):
        run(tmp_path / out, device=GPU)
    assert content(tmp_path / "once") == content(tmp_path / "again")


def test_pictures_travel_as_bytes():
    """All bytes in all three channels, normalised on the GPU, are to the bit what the transform gives."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406),
                                                                                (0.229, 0.224, 0.225))])
    picture = Image.fromarray(np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3))
    there = as_bytes(transform, picture)
    assert there(picture).dtype == torch.uint8
    assert torch.equal(there.finished_on(GPU)(there(picture).pin_memory().to(GPU)).cpu(), transform(picture))


def test_added_up_beside_forwards(run, tmp_path, monkeypatch):
    """On a stream of its own, and whether each batch is added up by itself or a few together: the same numbers."""
    found = []
    for name, at_once in (("together", shards.AT_ONCE), ("each", 1)):
        monkeypatch.setattr(shards, "AT_ONCE", at_once)
        found.append(run(tmp_path / name, device=GPU, options={"zooms": (1, 2), "random_weights": 1}))
    together, each = found
    pd.testing.assert_frame_equal(together.images(), each.images(), rtol=1e-4, atol=1e-5)
    for block in together.blocks:
        np.testing.assert_allclose(together.mean(block), each.mean(block), rtol=0, atol=1e-5)


def test_added_up_beside_forwards_that_take_long(run, content, tmp_path, monkeypatch):
    """What is added up waits for its own forward, and not for the next, whose memory is not that of the one before."""
    run(tmp_path / "quick", device=GPU)
    forward = GateNetwork._forward

    def slow(network, batch):
        torch.cuda._sleep(50_000_000)  # cycles
        found = forward(network, batch)
        torch.cuda._sleep(50_000_000)
        return found
    monkeypatch.setattr(GateNetwork, "_forward", slow)
    run(tmp_path / "slow", device=GPU)
    assert content(tmp_path / "quick") == content(tmp_path / "slow")


def test_memory_is_the_same_after_many_shards(run, data_set, tmp_path):
    """Each shard takes what the one before has left."""
    reserved = []
    run(tmp_path / "once", device=GPU, options={"batch_size": 1, "shard_size": 1}, progress=lambda done, _: (
        torch.cuda.synchronize(), reserved.append(torch.cuda.memory_reserved())))
    assert len(reserved) > 20 and reserved[-1] < 1.2 * reserved[10]


def test_an_evaluation(data_set, tmp_path):
    tables = []
    for device in ("cpu", GPU):
        model = make_model("se")
        model.classes = [f"kind {k}, or so" for k in range(5)]
        tables.append(evaluate(model, data_set, tmp_path / str(device), ["*=1"], Computing("fp32", 6, 7), workers=0,
                               device=device, progress=False))
    assert tables[0]["top1"].tolist() == pytest.approx(tables[1]["top1"].tolist(), abs=0.1)
    assert tables[0]["probability"].tolist() == pytest.approx(tables[1]["probability"].tolist(), abs=1e-3)


def test_a_training_is_watched():
    module = make_module("se").to(GPU).train()
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    with sv.Monitor(module, make_batch(1), every=2) as monitor:
        for step in range(4):
            with torch.autocast("cuda", torch.bfloat16, enabled=GPU.type == "cuda"):
                loss = module(make_batch(8, step).to(GPU)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        table = monitor.table()
    assert table["step"].nunique() == 2 and table["mean"].between(0, 1).all()
