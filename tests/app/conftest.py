"""The app without a browser: streamlit.testing runs app.py in this process."""
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, local_script_runner

from tests.app.checks import Scripts

APP = Path(__file__).resolve().parents[2] / "app.py"


@pytest.fixture(scope="session", autouse=True)
def warm_server():
    """AppTest makes a new server for each run, which takes pages/ for its own until app.py has run once, and reads what
    all installed packages say of themselves, for components among them; a real one is new only once. And it asks every
    millisecond whether the run has ended, which the run has to wait for."""
    patch = pytest.MonkeyPatch()
    original = PagesManager.__init__

    def init(self, *args, **kwargs):
        PagesManager.uses_pages_directory = False
        original(self, *args, **kwargs)

    patch.setattr(PagesManager, "__init__", init)
    patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
    patch.setattr(local_script_runner, "time", SimpleNamespace(time=time.time, sleep=lambda _: time.sleep(0.01)))
    yield patch
    patch.undo()


@pytest.fixture(scope="session")
def start():
    """``start(block="SE_2_1")``: the app opened by a link with these parameters."""
    def open_link(run: bool = True, **parameters) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=300)
        app.query_params.update(parameters)
        return app.run() if run else app
    return open_link


@pytest.fixture(scope="module")
def run_script():
    """``run_script(section.script)``: the table that it gives."""
    return Scripts().result
