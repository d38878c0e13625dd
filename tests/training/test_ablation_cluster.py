"""An ablation on a Ray cluster: the same table as here, also where a process of the cluster is lost."""
import os
import signal
import sys
from pathlib import Path

import pytest

from senet_viz.training import ablate, ablation, open_ablation
from tests.training.test_ablation import pictures, plan, same, whole  # noqa: F401  # fixtures

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cluster():
    """Two CPUs of this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def workers() -> list[int]:
    """Processes of this process's cluster that train."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile

    def ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return [pid for pid in parents if ours(pid) and b"ray::work" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="processes are looked for as Linux lists them")
def test_the_same_table_as_here_though_a_worker_is_killed(cluster, plan, pictures, whole, tmp_path,  # noqa: F811
                                                          monkeypatch):
    keep, killed = ablation._keep, []

    def keep_and_kill(folder, files):
        keep(folder, files)
        if not killed and "checkpoint.pt" in files:
            killed.extend(workers()[:1])
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(ablation, "_keep", keep_and_kill)
    said = []
    ablate(plan, pictures, tmp_path / "out", engine="ray", workers=2, device="cpu", progress=said.append)
    assert killed and len(said) == 6
    assert cluster.is_initialized()  # it was not ours to shut down
    same(tmp_path / "out", whole)
    assert open_ablation(tmp_path / "out").about["device"] == "cpu"


def test_more_than_a_cluster_has(cluster, plan, pictures, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match=r"a training takes 3 threads, and no machine of the cluster has as many"):
        ablate(plan, pictures, tmp_path / "out", engine="ray", device="cpu", threads=3, progress=False)
    with pytest.raises(ValueError, match="the trainings are for cuda, and the cluster has no GPU"):
        ablate(plan, pictures, tmp_path / "other", engine="ray", device="cuda", progress=False)


def test_data_that_a_training_cannot_read(cluster, plan, pictures, tmp_path, monkeypatch):  # noqa: F811
    """What happens on another machine is one sentence here."""
    from senet_viz.training import ablation_engines

    monkeypatch.setattr(ablation, "engine_of", lambda *args: lambda jobs, saved: ablation_engines.engine_of(*args)(
        [ablation.replace(job, data=str(tmp_path / "elsewhere")) for job in jobs], saved))
    with pytest.raises(RuntimeError, match=r"^se/0: .*no such file or folder: .*elsewhere$"):
        ablate(plan, pictures, tmp_path / "out", engine="ray", device="cpu", progress=False)


def test_without_ray(plan, pictures, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"^the engine ray needs Ray: pip install 'ray\[data\]'$"):
        ablate(plan, pictures, tmp_path / "out", engine="ray", progress=False)
    assert not (tmp_path / "out").exists()
