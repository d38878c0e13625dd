import subprocess
import sys

import pytest

from senet_viz.cli import main
from senet_viz.data.places import APP
from tests.cli.checks import refused, usage


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
    assert command[5:command.index("--")] == [*port, "--server.showEmailPrompt", "false",
                                              "--server.fileWatcherType", "none"]
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
