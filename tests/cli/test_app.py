import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from senet_viz.cli import main
from senet_viz.data.places import APP
from tests.cli.checks import refused, usage

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """In place of Streamlit's process."""

    def __init__(self, command, ends: list):
        self.command, self.ends, self.terminated = command, ends, False

    def wait(self):
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    def terminate(self):
        self.terminated = True


@pytest.fixture
def servers(monkeypatch):
    """Those that were started; each ends as ``servers.ends`` says."""
    class Servers(list):
        ends = (0,)

    started = Servers()

    def start(command):
        started.append(Server(command, [*started.ends]))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return started


@pytest.mark.parametrize(("arguments", "port", "rest"), [
    ([], [], []), (["--port", "8765"], ["--server.port", "8765"], []),
    (["--", "--model", "my.net:make"], [], ["--model", "my.net:make"]),
    (["--port", "8765", "--", "--statistics", "a folder", "--port", "1"], ["--server.port", "8765"],
     ["--statistics", "a folder", "--port", "1"])])
def test_app(servers, arguments, port, rest):
    assert main(["app", *arguments]) == 0
    command = servers[0].command
    assert command[:5] == [sys.executable, "-m", "streamlit", "run", str(APP / "app.py")]
    assert command[5:command.index("--")] == [*port, "--server.showEmailPrompt", "false"]
    assert command[command.index("--") + 1:] == rest


def test_app_ends_its_server(servers, capsys):
    servers.ends = (KeyboardInterrupt(), 0)
    assert main(["app"]) == 130
    assert servers[0].terminated and servers[0].ends == []
    assert capsys.readouterr().err == "senet_viz app: interrupted\n"


def test_app_refuses(servers, capsys, monkeypatch):
    for port in ("0", "65536", "-1", "1.5", "many", "²"):
        usage(capsys, ["app", "--port", port])
    usage(capsys, ["app", "--nonsense"])
    servers.ends = (1,)
    refused(capsys, ["app"], "Streamlit ended with exit code 1")
    monkeypatch.setitem(sys.modules, "streamlit", None)
    refused(capsys, ["app"], "the app needs Streamlit: pip install streamlit")
    assert len(servers) == 1


def test_app_from_another_folder(tmp_path):
    """The app's own settings hold there, against those of the folder, and the folder is not left."""
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text("[server]\nmaxUploadSize = 7\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "STREAMLIT_SERVER_HEADLESS": "true",
        "STREAMLIT_SERVER_ADDRESS": "127.0.0.1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "senet_viz", "app", "--port", str(port)], cwd=tmp_path, env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=10) as answer:
                    assert answer.read() == b"ok"
                break
            except (URLError, OSError):
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "senet_viz app: interrupted"
    with pytest.raises(URLError):  # the server has gone with it
        urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=10)
