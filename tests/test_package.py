"""The package, built and installed, works away from the clone: library, command line, what is embedded, and the app."""
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen
from zipfile import ZipFile

import pytest
from PIL import Image

pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")

ROOT = Path(__file__).resolve().parents[1]
START = 180  # seconds, for machines that are busy with something else

LIBRARY = """
import json
import sys

import senet_viz as sv
from senet_viz.data.places import ASSETS
from senet_viz.models import embedded_models

found = {"file": sv.__file__, "gates": {}, "classes": {}}
for name in embedded_models():
    model = sv.load(name, device="cpu")
    view = sv.record(model, model.batch([sv.open_image(sys.argv[1])]))
    found["gates"][name] = [
        list(view.gates[block.name].shape) == [1, block.branches, block.channels] for block in model.blocks]
    statistics = sv.open_statistics(ASSETS / "statistics" / name.partition("/")[2])
    found["classes"][name] = statistics.classes == model.classes
print(json.dumps(found))
"""


def checked(*command: str | Path, **options) -> str:
    """What a command printed; where it fails, the test fails with all that it said."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder that is not the clone, with a photo."""
    folder = tmp_path_factory.mktemp("elsewhere")
    Image.radial_gradient("L").convert("RGB").save(folder / "photo.jpg")
    return folder


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """This one's variables, without what would let the clone's package be found."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, environment) -> Path:
    """Built from the source archive, as an installer would."""
    folder = tmp_path_factory.mktemp("built")
    build = "import sys; from hatchling.build import build_sdist; print(build_sdist(sys.argv[1]))"
    source = folder / checked(sys.executable, "-c", build, folder, cwd=ROOT, env=environment).split()[-1]
    checked(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder,
            source, env=environment)
    found, = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory, environment) -> Path:
    """The folder of the programs of a new environment: the wheel, and beside it the packages of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    checked(sys.executable, "-m", "venv", "--without-pip", folder, env=environment)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    checked(sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet", "--no-deps",
            "--no-index", wheel, env=environment)
    site = checked(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", env=environment)
    packages = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    Path(site.strip(), "beside.pth").write_text("\n".join(packages), encoding="utf-8")
    return programs


def test_library(programs, elsewhere, environment):
    found = json.loads(checked(programs / "python", "-c", LIBRARY, "photo.jpg", cwd=elsewhere, env=environment))
    assert Path(found["file"]).is_relative_to(programs.parent), "the clone's package, not the wheel's"
    names = sorted(f"demo/{path.stem}" for path in (ROOT / "assets" / "models").glob("*.safetensors"))
    assert sorted(found["gates"]) == names
    assert all(gates and all(gates) for gates in found["gates"].values())
    assert found["classes"] == dict.fromkeys(names, True)


def test_command_line(programs, elsewhere, environment):
    said = checked(programs / "senet-viz", "inspect", "demo/se_resnet50_slim", "photo.jpg", "--device", "cpu",
                   cwd=elsewhere, env=environment)
    assert "SE_5_3" in said
    said = checked(programs / "python", "-m", "senet_viz", "models", cwd=elsewhere, env=environment)
    assert "demo/se_resnet50_slim" in said


def test_files(wheel):
    """Whatever of these lies in the clone is in the wheel, and nothing lies outside the library's folder."""
    patterns = {
        ".": ["app.py", ".streamlit/config.toml", "assets/icon.png"],
        "pages": ["*.py"],
        "assets/models": ["*.safetensors", "*.md"],
        "assets/samples": ["*.jpg", "*.md"],
        "assets/statistics": ["*.safetensors", "*.json", "*.parquet", "*.csv"],
        "assets/evaluation": ["*.json", "*.parquet", "*.csv"],
    }
    library = {path.relative_to(ROOT) for suffix in ("py", "pyi", "csv", "typed")
               for path in (ROOT / "senet_viz").rglob(f"*.{suffix}")}
    app = {Path("senet_viz", "app", path.relative_to(ROOT)) for folder, names in patterns.items() for name in names
           for path in ((ROOT / folder).rglob(name) if folder != "." else [ROOT / name])}
    with ZipFile(wheel) as archive:
        packed = {Path(name) for name in archive.namelist()}
    assert {Path("senet_viz", name) for name in ("py.typed", "models/catalog.csv", "__init__.pyi")} <= library
    assert not (library | app) - packed
    assert {path.parts[0].partition("-")[0] for path in packed} == {"senet_viz"}
    assert not [path for path in packed if "screenshots" in path.parts]


def test_app(programs, elsewhere, environment):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = elsewhere / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [programs / "senet-viz", "app", "--port", str(port)], cwd=elsewhere, stdout=output,
            stderr=subprocess.STDOUT,
            env=environment | {"STREAMLIT_SERVER_HEADLESS": "true", "STREAMLIT_SERVER_ADDRESS": "127.0.0.1",
                               "STREAMLIT_SERVER_FILE_WATCHER_TYPE": "none",
                               "STREAMLIT_SERVER_SCRIPT_HEALTH_CHECK_ENABLED": "true"})
    try:
        answer = ask(f"http://127.0.0.1:{port}/_stcore/script-health-check", server)  # runs app.py and its first page
        assert answer == (200, "ok"), f"{answer}\n{log.read_text()[-4000:]}"
        server.terminate()
        assert server.wait(60) == 130
    finally:
        server.kill()
        server.wait()
    assert "Traceback" not in log.read_text(), log.read_text()[-4000:]
    assert log.read_text().splitlines()[-1] == "senet_viz app: interrupted"
    with pytest.raises(URLError):  # Streamlit's process has ended as well
        urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)


def ask(address: str, server: subprocess.Popen) -> tuple[int, str]:
    """The server's answer once it is up."""
    deadline = time.monotonic() + START
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(address, timeout=START) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            said = error.code, error.read().decode()
            if said[1] != "timeout":
                return said
        except (URLError, OSError):
            time.sleep(0.2)
    return server.returncode or 0, "no answer"
