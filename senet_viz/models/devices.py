"""Choosing the device to compute on."""
import torch


def available_devices() -> list[str]:
    """Devices of this machine by the names that ``choose_device`` takes, the fastest first."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device of a name: "auto" (the fastest there is), "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ValueError: one sentence, when this machine lacks the device or the name is none.
    """
    if name == "auto":
        return torch.device(available_devices()[0])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"{name!r} is no device: choose auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"The device {name} was asked for, but PyTorch finds no CUDA GPU on this machine; "
                             f"choose cpu or auto.")
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"The device {name} was asked for, but this machine has {torch.cuda.device_count()} CUDA "
                             f"GPUs, numbered from 0.")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("The device mps was asked for, but PyTorch finds no Metal GPU on this machine; "
                         "choose cpu or auto.")
    elif device.type not in ("cpu", "mps"):
        raise ValueError(f"{name!r} is no device of this program: choose auto, cpu, cuda, cuda:1 or mps.")
    return device
