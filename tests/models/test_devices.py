import pytest
import torch

from senet_viz.models import available_devices, choose_device


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
