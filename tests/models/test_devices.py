import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from senet_viz.models import available_devices, choose_device, devices
from senet_viz.models.devices import on_threads


@pytest.fixture
def machine(monkeypatch):
    """Pretend that the machine has these GPUs."""
    def pretend(cuda: int = 0, mps: bool = False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    return pretend


@pytest.mark.parametrize(("cuda", "mps", "expected"), [
    (0, False, ["cpu"]), (2, False, ["cuda:0", "cuda:1", "cpu"]), (0, True, ["mps", "cpu"])])
def test_available(machine, cuda, mps, expected):
    machine(cuda, mps)
    assert available_devices() == expected
    assert choose_device("auto") == torch.device(expected[0])
    assert [str(choose_device(name)) for name in expected] == expected


def test_this_machine():
    for name in available_devices():
        assert torch.ones(1, device=choose_device(name)).item() == 1


def test_cuda_without_a_number(machine):
    machine(cuda=1)
    assert choose_device("cuda").type == "cuda"
    assert choose_device(torch.device("cuda", 0)) == torch.device("cuda:0")


@pytest.mark.parametrize(("cuda", "name", "message"), [
    (0, "cuda", "The device cuda was asked for, but PyTorch finds no CUDA GPU"),
    (0, "cuda:1", "The device cuda:1 was asked for, but PyTorch finds no CUDA GPU"),
    (2, "cuda:2", "cuda:2 was asked for, but this machine has 2 CUDA GPUs"),
    (0, "mps", "The device mps was asked for, but PyTorch finds no Metal GPU"),
    (0, "gpu", "'gpu' is no device"),
    (0, "", "'' is no device"),
    (1, "cuda:x", "'cuda:x' is no device"),
    (0, "meta", "'meta' is no device of this program"),
])
def test_absent(machine, cuda, name, message):
    machine(cuda)
    with pytest.raises(ValueError, match=message) as caught:
        choose_device(name)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("faster", ["fp32", "bf16"])
def test_the_faster_precision_of_a_processor_is_measured(monkeypatch, faster):
    taken = {torch.float32: 1.0, torch.bfloat16: 0.5 if faster == "bf16" else 50.0}
    monkeypatch.setattr(devices, "_convolution", taken.__getitem__)
    assert devices.fastest_precision("cpu") == faster


def test_it_is_one_of_two_on_this_machine_and_known_of_gpus(monkeypatch):
    assert devices.fastest_precision("cpu") in ("bf16", "fp32")
    assert devices.fastest_precision(torch.device("mps")) == "fp32"
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert devices.fastest_precision("cuda:0") == ("bf16" if native else "fp32")


def test_threads_are_what_they_were_though_blocks_overlap():
    """The second begins within the first, in a thread of its own, which torch gives the first's number."""
    before, inside, over = torch.get_num_threads(), threading.Event(), threading.Event()

    def first():
        with on_threads(before + 2):
            with on_threads(before + 1):
                inside.set()
                assert over.wait(60)
                counts = [torch.get_num_threads()]
            counts.append(torch.get_num_threads())
        return [*counts, torch.get_num_threads()]

    def second():
        assert inside.wait(60)
        with on_threads(before + 3):
            over.set()
            one.result(60)
            within = torch.get_num_threads()
        return [within, torch.get_num_threads()]

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        other = pool.submit(second)
        assert one.result(60) == [before + 1, before + 2, before]
        assert other.result(60) == [before + 3, before]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before == torch.get_num_threads()
