import importlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import senet_viz.cli
import senet_viz.training
from senet_viz.cli import main
from tests.cli.checks import refused, usage

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["ablate", "app", "card", "collect", "compare", "evaluate", "export", "fetch", "figure", "inspect",
            "kernels", "models", "prune", "report", "train"]


def help_of(capsys, *command: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help(capsys):
    text = help_of(capsys)
    assert text.startswith("usage: python -m senet_viz [-h] COMMAND ...")
    assert [line.split()[0] for line in text.splitlines() if line.startswith("    ")] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(capsys, command):
    text = help_of(capsys, command)
    assert text.startswith(f"usage: python -m senet_viz {command} ")
    assert "%%" not in text
    assert ("--device" in text) == (command not in ("app", "card", "export", "fetch", "figure"))
    assert ("--json" in text) == (command in ("ablate", "compare", "evaluate", "inspect", "kernels", "models", "prune"))


def test_help_of_the_script(capsys, monkeypatch):
    for script in ("/usr/bin/senet-viz", "senet-viz.exe"):
        monkeypatch.setattr(sys, "argv", [script])
        assert help_of(capsys).startswith("usage: senet-viz [-h]")
        assert help_of(capsys, "models").startswith("usage: senet-viz models ")


def test_a_new_command_is_one_new_file(capsys, tmp_path, monkeypatch):
    (tmp_path / "greet.py").write_text(
        "def add(commands):\n"
        "    command = commands.add_parser('greet', help='say hello')\n"
        "    command.add_argument('name')\n"
        "    command.set_defaults(run=lambda args: print('hello', args.name))\n")
    monkeypatch.setattr(senet_viz.cli, "__path__", [*senet_viz.cli.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    try:
        assert "say hello" in help_of(capsys)
        assert main(["greet", "world"]) == 0
        assert capsys.readouterr().out == "hello world\n"
    finally:
        sys.modules.pop("senet_viz.cli.greet", None)


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "the following arguments are required: COMMAND"), (["nonsense"], "invalid choice: 'nonsense'"),
    (["--nonsense"], "required: COMMAND"), (["models", "--nonsense"], "unrecognized arguments: --nonsense")])
def test_usage(capsys, arguments, message):
    usage(capsys, arguments, message)


# what is not imported

HEAVY = ["torch", "torchvision", "timm", "pandas", "plotly", "captum", "scipy", "PIL", "streamlit", "huggingface_hub"]
AFTER = """
print("loaded:", *[name for name in {heavy} if name in sys.modules])
"""


def loaded_by(steps: list[str], before: str = "") -> list[list[str]]:
    """Which of the heavy libraries a new process has after each of these pieces of code."""
    code = "\n".join(["import sys", before, *(step + AFTER.format(heavy=HEAVY) for step in steps)])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, text=True, capture_output=True,
                          timeout=300)
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("loaded:")]


def loaded(code: str) -> list[str]:
    """The same after one."""
    found, = loaded_by([code])
    return found


def test_the_heavy_libraries_are_told_apart():
    assert loaded("import PIL, huggingface_hub") == ["PIL", "huggingface_hub"]


def test_help_waits_for_no_library():
    """One process for all commands: what it names beside one was loaded by it, or by one before."""
    assert loaded_by([f"try:\n    main({[*command, '--help']})\nexcept SystemExit as stop:\n    assert stop.code == 0"
                      for command in ([], *([command] for command in COMMANDS))],
                     "from senet_viz.cli import main") == [[]] * (1 + len(COMMANDS))


def test_the_list_of_models_waits_for_no_library():
    for options in ([], ["--json"]):
        assert loaded(f"from senet_viz.cli import main\nassert main({['models', '--search', 'resnet', *options]}) == 0"
                      ) == ["huggingface_hub"]


def test_importing_waits_for_no_library():
    modules = ["senet_viz", "senet_viz.models", "senet_viz.training", "senet_viz.__main__"]
    assert loaded_by([f"import {module}" for module in modules]) == [[]] * len(modules)


def test_recording_waits_for_what_it_needs():
    found = loaded("import senet_viz as sv; sv.record")
    assert "torch" in found and {"captum", "pandas", "plotly", "scipy", "timm", "torchvision"}.isdisjoint(found)


# how commands end

def test_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "senet_viz", "train", str(tmp_path / "missing"), str(tmp_path / "out.safetensors")],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=600)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"senet_viz train: no such file or folder: {tmp_path / 'missing'}\n"


def test_as_a_module_for_a_reader_that_goes(tmp_path):
    """As `head` does: no traceback."""
    process = subprocess.Popen([sys.executable, "-m", "senet_viz", "models", "--json"], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()  # before it writes
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_terminated(monkeypatch, capsys):
    """As Ctrl-C; whatever was there before is again there after."""
    def train(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(senet_viz.training, "train", train)
    assert main(["train", "in", "out", "--device", "cpu"]) == 130
    assert capsys.readouterr().err == "senet_viz train: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_a_thread(capsys):
    """Where signals cannot be listened to."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["models", "--search", "demo/"]).result() == 0
    assert "demo/sknet50_slim" in capsys.readouterr().out


def test_interrupted(monkeypatch, capsys):
    def train(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(senet_viz.training, "train", train)
    assert main(["train", "in", "out", "--device", "cpu"]) == 130
    assert capsys.readouterr().err == "senet_viz train: interrupted\n"


@pytest.mark.parametrize(("error", "line"), [
    (RuntimeError("first line\nsecond line"), "first line"), (OSError(), "OSError"),
    (PermissionError(13, "Permission denied", "/x/y"), ": /x/y: Permission denied"), (ValueError("\n"), "ValueError"),
    (ValueError("Caught UnreadableImage in a worker.\nTraceback:\n  line 1\nmodule.Error: a: b\n"), "a: b")])
def test_errors_are_one_line(monkeypatch, capsys, error, line):
    def train(*_, **__):
        raise error

    monkeypatch.setattr(senet_viz.training, "train", train)
    refused(capsys, ["train", "in", "out", "--device", "cpu"], line)


def test_an_endless_name(capsys):
    refused(capsys, ["inspect", "x" * 5_000, "photo.jpg"], f"{'x' * 199}…{'x' * 199}' names no model")


def test_no_memory(capsys, monkeypatch):
    def fail(_):
        raise MemoryError

    monkeypatch.setattr("senet_viz.cli.models.run", fail)
    refused(capsys, ["models"], "there is not enough memory")
