"""Choosing the device to compute on, the precision that is fast there, and how many threads of the processor."""
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_counts: list[int] = []  # the process's own number of threads, once for each block that is entered
_here = threading.local()  # "threads": in the block that this thread is in


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


def fastest_precision(device: str | torch.device) -> str:
    """The precision, "bf16" or "fp32", in which a device convolves faster.

    Of a GPU it is known whether it has units for bf16. Processors name theirs in many ways, and without them bf16 can
    be fifty times slower than fp32: there a convolution is timed, in well under a second.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu":
        return "fp32"
    seconds = {name: _convolution(dtype) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    return min(seconds, key=seconds.__getitem__)


def _convolution(dtype: torch.dtype) -> float:
    """Seconds of a small convolution, the best of three after a first one, which prepares."""
    weight, images = (torch.ones(shape, dtype=dtype).to(memory_format=torch.channels_last)
                      for shape in ((64, 64, 3, 3), (8, 64, 16, 16)))
    taken = []
    with torch.inference_mode():
        for _ in range(4):
            start = time.perf_counter()
            torch.nn.functional.conv2d(images, weight, padding=1)
            taken.append(time.perf_counter() - start)
    return min(taken[1:])


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Compute on so many threads of the processor: sums in another order differ in their last bits.

    Afterwards the number is what it was, also where blocks of several threads overlap: torch gives a new thread the
    number that any other has set last, which is not taken for the process's own.
    """
    outer = getattr(_here, "threads", None)
    with _lock:
        _counts.append(_counts[0] if _counts else torch.get_num_threads())
        before = _counts[0] if outer is None else outer
    _here.threads = threads
    set_threads(threads)
    try:
        yield
    finally:
        _here.threads = outer
        set_threads(before)
        with _lock:
            _counts.pop()


def set_threads(threads: int) -> None:
    """``torch.set_num_threads``, also in a thread that is new to torch: it would take over another's number later."""
    torch.get_num_threads()
    torch.set_num_threads(threads)
