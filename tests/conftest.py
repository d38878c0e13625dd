import gc
import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes, one thread each; before torch counts the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.sharing import altered

ROOT = Path(__file__).resolve().parents[1]
BROWSER = "tests/browser/"


def pytest_collection_modifyitems(items):
    """A browser's tests first: they wait much, and whoever has run them helps with the others."""
    items.sort(key=lambda item: not item.nodeid.startswith(BROWSER))


def pytest_xdist_make_scheduler(config, log):
    """File by file, but all of a browser's in one process: one server, and one browser that knows the app's scripts."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return BROWSER if file.startswith(BROWSER) else file
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_finish():
    """What was imported stays: the garbage collector need not look through it again, and may look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 10, 10)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder that holds data/tiny-imagenet-100, data/imagenette-128 and photos."""
    folder = Path(os.environ.get("SENET_VIZ_DATA") or ROOT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no data in {folder}: set SENET_VIZ_DATA to the folder that holds data/ and photos/")
    return folder


@pytest.fixture(autouse=True, scope="module")
def shared_networks(request):
    """A file of tests leaves the networks that it shares with later ones as they were."""
    yield
    changed = altered()
    assert not changed, f"{request.node.nodeid} altered networks that other tests share: {'; '.join(changed)}"


@pytest.fixture(scope="module")
def one_thread():
    """For small maps, on which more threads cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
