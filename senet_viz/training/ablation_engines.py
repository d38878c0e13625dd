"""What runs the trainings of an ablation: this process, some of this machine, or a Ray cluster. None writes files."""
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty
from typing import Any

from ..models.cluster import import_ray, join, refuse
from .ablation_folder import TRAINING
from .ablation_work import Files, Job, work

MOST_WORKERS = 1024
Saved = Callable[[Job], bytes | None]
Engine = Callable[[list[Job], Saved], Iterator[tuple[Job, Files]]]


def engine_of(name: str, workers: int, address: str | None) -> Engine:
    """The engine of a name: a function of jobs, and of what a job's checkpoint is, that gives jobs with files.

    Args:
        name: "local" or "ray".
        workers: trainings at a time.
        address: of the cluster; where None, the one that is running or else a new one on this machine.

    Raises:
        ValueError: for another name, a number of workers that makes no sense, where Ray is not installed, or for the
            address of a Ray Client.
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise ValueError(f"workers is 1 to {MOST_WORKERS:,}, not {workers:,}")
    if name == "local":
        refuse(address)
        return local if workers == 1 else partial(_processes, workers=workers)
    if name != "ray":
        raise ValueError(f"there is no engine {name!r}: choose local or ray")
    import_ray(address)
    return lambda jobs, saved: _ray(jobs, saved, workers, address)


def local(jobs: list[Job], saved: Saved) -> Iterator[tuple[Job, Files]]:
    """One after the other, in this process."""
    for job in jobs:
        for files in work(job, saved(job)):
            yield job, files


def _processes(jobs: list[Job], saved: Saved, workers: int) -> Iterator[tuple[Job, Files]]:
    """So many at a time, in processes of their own, all on the device that the jobs name."""
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    tasks, results = context.Queue(), context.Queue()
    processes = [context.Process(target=_serve, args=(tasks, results)) for _ in range(min(workers, len(jobs)))]
    for job in jobs:
        tasks.put((job, saved(job)))
    for process in processes:
        tasks.put(None)
        process.start()
    left = len(jobs)
    try:
        while left:
            try:
                job, files, wrong = results.get(timeout=1)
            except Empty:
                if lost := [process.exitcode for process in processes if process.exitcode]:
                    raise RuntimeError(f"a process that trained has ended (exit code {lost[0]}): run again to go on "
                                       f"from the last epochs") from None
                continue
            if wrong:
                raise RuntimeError(f"{job.name}: {wrong}")
            yield job, files
            left -= TRAINING in files
    finally:
        for process in processes:
            process.kill()
            process.join()


def _serve(tasks: Any, results: Any) -> None:
    """What such a process does: job after job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that keeps the files
    for job, checkpoint in iter(tasks.get, None):
        try:
            for files in work(job, checkpoint):
                results.put((job, files, ""))
        except Exception as error:
            results.put((job, {}, (str(error).strip().splitlines() or [type(error).__name__])[-1]))


def _ray(jobs: list[Job], saved: Saved, workers: int, address: str | None) -> Iterator[tuple[Job, Files]]:
    """So many at a time, as tasks of a cluster, each with a GPU where the job wants one; a lost one goes on elsewhere.

    The data must be readable from the cluster's machines.
    """
    import ray

    own = not ray.is_initialized()
    if own:
        join(ray, address)
    try:
        most = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if jobs and jobs[0].threads > most:  # Ray would wait for such a machine for ever
            raise ValueError(f"a training takes {jobs[0].threads} threads, and no machine of the cluster has as many "
                             f"(the most is {most:g})")
        if jobs and jobs[0].device != "cpu" and not ray.cluster_resources().get("GPU", 0):
            raise ValueError(f"the trainings are for {jobs[0].device}, and the cluster has no GPU")
        # a task that is tried again would send epochs anew that were kept: it is asked for again from its checkpoint
        task = ray.remote(num_returns="streaming", max_retries=0)(work)
        waiting, tries = list(jobs), {job.name: 3 for job in jobs}
        running: dict[Any, Job] = {}  # by the stream of what it gives
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                stream = task.options(num_cpus=job.threads, num_gpus=int(job.device != "cpu")).remote(job, saved(job))
                running[stream] = job
            [ready], _ = ray.wait(list(running), num_returns=1)
            job = running[ready]
            try:
                yield job, ray.get(next(ready))
            except StopIteration:
                del running[ready]
            except ray.exceptions.RayTaskError as error:
                lines = str(error.cause or error).strip().splitlines() or [type(error).__name__]
                raise RuntimeError(f"{job.name}: {lines[-1]}") from error
            except ray.exceptions.RayError as error:  # its process or machine is gone
                del running[ready]
                tries[job.name] -= 1
                if not tries[job.name]:
                    raise RuntimeError(f"{job.name} was lost three times: {type(error).__name__}") from error
                waiting.insert(0, job)
    finally:
        if own:
            ray.shutdown()
