"""A CUDA stream of its own for what is added up beside the forwards."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class SideStream:
    """What is asked for within ``after`` CUDA computes beside what was asked for since a mark.

    Other devices compute one thing after the other, as without it.
    """

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device, priority=-1) if device.type == "cuda" else None

    def mark(self) -> torch.Event | None:
        """This moment: what was asked for until here comes before."""
        return torch.cuda.current_stream(self.stream.device).record_event() if self.stream is not None else None

    @contextmanager
    def after(self, marked: torch.Event | None) -> Iterator[None]:
        """What is asked for within comes after a mark; at its end it is done."""
        if self.stream is None or marked is None:
            yield
            return
        self.stream.wait_event(marked)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            self.stream.synchronize()  # before memory that it reads is given to others
