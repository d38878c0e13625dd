"""What "auto" becomes, with times that are given, and with the clock."""
import json
from dataclasses import replace

import pytest
import torch

from senet_viz.__main__ import main
from senet_viz.collecting import Settings, Stopped, collect, evaluate
from senet_viz.collecting import fastest as module
from senet_viz.collecting.engines.local import Local
from senet_viz.collecting.fastest import fastest
from senet_viz.collecting.network import hardware
from senet_viz.collecting.plan import Computing
from senet_viz.collecting.shards import Collection
from senet_viz.data.datasets import open_pictures


@pytest.fixture
def plan(network, data_set, settings):
    """Of 23 pictures in batches of three, at one zoom and a blurred one: 2 × 8 batches."""
    pictures, device = open_pictures(data_set, "val"), torch.device("cpu")
    return Collection(network("se"), pictures, settings(zooms=(1, 1.5)), "data", 23, device, hardware(device))


def given(times: dict):
    """Seconds (preparation, a batch) by precision and whether it is compiled; what is not in it fails."""
    return lambda plan, images: times[plan.settings.precision, plan.settings.compiled]


@pytest.mark.parametrize("device, times, precision, compiled", [
    ("bf16", {("fp32", False): (1, 1), ("bf16", False): (1, 0.9), ("bf16", True): (5, 0.6)}, "bf16", True),
    ("bf16", {("fp32", False): (1, 1), ("bf16", False): (1, 0.9), ("bf16", True): (6, 0.6)}, "bf16", False),
    ("bf16", {("fp32", False): (1, 1), ("bf16", False): (1, 1.1), ("fp32", True): (2, 0.5)}, "fp32", True),
    ("fp32", {("fp32", False): (1, 1), ("fp32", True): (2, 0.95)}, "fp32", False),
    ("bf16", {("fp32", False): (1, 1)}, "fp32", False),
], ids=["both", "compiling does not pay", "bf16 is slower", "bf16 is not tried", "neither runs"])
def test_the_soonest_end(plan, monkeypatch, device, times, precision, compiled):
    monkeypatch.setattr(module, "fastest_precision", lambda _: device)
    found = fastest(plan, ["precision", "compiled"], given(times))
    assert found == replace(plan.settings, precision=precision, compiled=compiled)


def test_only_what_is_asked_for(plan, monkeypatch):
    monkeypatch.setattr(module, "fastest_precision", lambda _: "bf16")
    times = given({("fp32", False): (1, 1), ("bf16", False): (1, 0.1), ("fp32", True): (1, 0.1)})
    assert fastest(plan, ["compiled"], times) == replace(plan.settings, compiled=True)
    assert fastest(plan, ["precision"], times) == replace(plan.settings, precision="bf16")


def test_a_full_gpu_is_told(plan, monkeypatch):
    def full(plan, images):
        if plan.settings.compiled:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1, 1

    with pytest.raises(torch.OutOfMemoryError):
        fastest(plan, ["compiled"], full)


def test_a_run_is_what_its_settings_became(run, content, monkeypatch, tmp_path):
    """Also when it goes on where the clock would choose otherwise."""
    asked = []

    def chosen(plan, names):
        asked.append((plan.settings.precision, plan.settings.compiled, names))
        return replace(plan.settings, precision="bf16")

    monkeypatch.setattr(module, "fastest", chosen)
    options, said = {"precision": "auto", "compiled": "auto"}, iter([False, True])
    with pytest.raises(Stopped):
        run(tmp_path / "out", options=options, stop=lambda: next(said))
    monkeypatch.setattr(module, "fastest", None)
    stats = run(tmp_path / "out", options=options)
    assert asked == [("fp32", False, ["precision", "compiled"])]
    assert (stats.metadata["settings"]["precision"], stats.metadata["settings"]["compiled"]) == ("bf16", False)
    run(tmp_path / "as said", options={"precision": "bf16"})
    assert content(tmp_path / "out") == content(tmp_path / "as said")


def test_with_the_clock(network, data_set, tmp_path):
    stats = collect(network("se"), data_set, tmp_path / "out", Settings(precision="auto", batch_size=4), limit=8,
                    workers=0, progress=False)
    assert stats.metadata["settings"]["precision"] in ("fp32", "bf16")


def test_evaluations(network, data_set, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "fastest", lambda plan, names: replace(plan.settings, precision="bf16"))
    model = network("se")
    model.classes = [f"kind {k}, or so" for k in range(5)]
    table = evaluate(model, data_set, tmp_path / "out", ["*=1"], Computing(precision="auto"), workers=0, progress=False)
    assert table.attrs["settings"]["precision"] == "bf16"


def test_threads_are_as_they_were(plan):
    before = torch.get_num_threads()
    other = replace(plan, settings=replace(plan.settings, threads=before + 1))
    Local(0).call(module.timed, other, torch.zeros(1, 3, 64, 64))
    assert torch.get_num_threads() == before


def test_the_command(monkeypatch, tmp_path, data_set):
    seen = []
    monkeypatch.setattr(module, "fastest", lambda plan, names: seen.append(names) or plan.settings)
    main(["collect", "demo/se_resnet50_slim", str(data_set), str(tmp_path / "out"), "--precision", "auto", "--compile",
          "auto", "--limit", "2", "--workers", "0", "--sample", "0"])
    assert seen == [["precision", "compiled"]]
    settings = json.loads((tmp_path / "out" / "metadata.json").read_text())["settings"]
    assert (settings["precision"], settings["compiled"]) == ("fp32", False)
