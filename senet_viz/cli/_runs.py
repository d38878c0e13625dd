"""Running over a data set: what ``collect`` and ``evaluate`` share."""
import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def computing(args: argparse.Namespace) -> dict[str, Any]:
    """The options of every run over a data set that change its bits."""
    import torch

    # a machine's cores are shared by the workers of a cluster that lies on it
    shared = max(1, args.workers) if args.engine == "ray" else 1
    threads = max(1, torch.get_num_threads() // shared) if args.threads is None else args.threads
    return {"precision": args.precision, "batch_size": args.batch_size, "shard_size": args.shard_size,
            "threads": threads}


def over_data(args: argparse.Namespace, work: Callable):
    """What a run over a data set gives; the first Ctrl-C lets it finish its shard."""
    from ..collecting import Stopped
    from ..models import load

    cluster = args.engine == "ray"  # whose machines may have what this one lacks
    model = load(args.name, arch=args.arch, device="cpu" if cluster else args.device,
                 ignore_unexpected=args.ignore_unexpected)
    try:
        with _finish_first() as stop:
            return work(model, split=args.split, limit=args.limit, device=args.device if cluster else None,
                        engine=args.engine, workers=args.workers, address=args.address, stop=stop)
    except Stopped as error:
        raise KeyboardInterrupt(str(error)) from error


@contextmanager
def _finish_first() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C is only noted, for whoever asks the function; the second interrupts."""
    asked = threading.Event()

    def note(number, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        print("\nfinishing the shard at hand; press Ctrl-C again to stop at once", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread
        yield asked.is_set
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
