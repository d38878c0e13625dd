import gc
import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes, one thread each; before torch counts the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.sharing import altered

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """Files of a browser's tests, which wait much, among others, which compute; none at the end, where they would be
    waited for."""
    files: dict[bool, dict[Path, list]] = {True: {}, False: {}}
    for item in items:
        files[item.get_closest_marker("browser") is not None].setdefault(item.path, []).append(item)
    places = [(number / len(group) * (0.8 if browser else 1), its) for browser, group in files.items()
              for number, its in enumerate(group.values())]
    items[:] = [item for _, its in sorted(places, key=lambda place: place[0]) for item in its]


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
