import os
import signal
import sys
import time
from pathlib import Path

import pytest

from senet_viz.collecting import Computing, Stopped, evaluate


class Watched:
    """A transform that says in which process it runs, and takes its time."""

    def __init__(self, transform, folder: Path, seconds: float = 0.0):
        self.transform, self.folder, self.seconds = transform, folder, seconds

    def __call__(self, image):
        (self.folder / str(os.getpid())).touch()
        time.sleep(self.seconds)
        return self.transform(image)

    def __repr__(self) -> str:
        return "watched"


@pytest.fixture(scope="module")
def cluster():
    """Two CPUs of this machine."""
    ray = pytest.importorskip("ray")
    # the workers cannot import tests
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


OPTIONS = {"zooms": (1, 1.5), "random_weights": 2}


def test_shards_of_a_cluster_are_gone_on_with_here(cluster, run, full, content, tmp_path):
    def enough() -> bool:
        return len(list((tmp_path / "out" / "shards").glob("*"))) == 3

    with pytest.raises(Stopped, match="3 of 4"):
        run(tmp_path / "out", engine="ray", workers=1, options=OPTIONS, stop=enough)
    run(tmp_path / "out", options=OPTIONS)
    assert content(tmp_path / "out") == content(full.path)
    assert cluster.is_initialized()  # it was not ours to shut down


def test_an_evaluation(cluster, data_set, network, content, tmp_path):
    model, found = network("se+sk"), []
    model.classes = [f"kind {k}, or so" for k in range(5)]
    for engine in ("ray", "local"):
        evaluate(model, data_set, tmp_path / engine, ["SE_*=1", "*=shuffle images", "*=shuffle class",
                 "*=shuffle classes"], Computing("fp32", 6, 7),
                 engine=engine, workers=1, progress=False)
        found.append(content(tmp_path / engine))
        assert found[-1].pop("speed.csv")  # measured
    assert found[0] == found[1]


def test_a_worker_that_is_killed(cluster, run, network, content, tmp_path):
    """Its shards are computed again by another; the first one was computed here."""
    pids = tmp_path / "pids"
    pids.mkdir()
    quick, slow = network("se+sk"), network("se+sk")
    options = {"shard_size": 2, "batch_size": 2}
    quick.transform = Watched(quick.transform, pids)
    run(tmp_path / "whole", quick, options=options)
    slow.transform = Watched(slow.transform, pids, 0.1)
    with pytest.raises(Stopped, match="1 of 12"):
        run(tmp_path / "out", slow, options=options, stop=lambda: any((tmp_path / "out" / "shards").glob("*")))
    told, killed = [], []

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        if done >= 6 and not killed:
            workers = [int(path.name) for path in pids.iterdir() if int(path.name) != os.getpid()]
            assert workers
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    run(tmp_path / "out", slow, options=options, engine="ray", workers=2, progress=progress)
    assert killed and told == sorted(told) and (told[0], told[-1], len(told)) == ((2, 23), (23, 23), 12)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert len(list(pids.iterdir())) >= 3  # this process, the one that was killed, and another


@pytest.mark.parametrize("module", ["ray", "ray.data"])
def test_without_ray(run, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"^the engine ray needs Ray: pip install 'ray\[data\]'$"):
        run(tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()
