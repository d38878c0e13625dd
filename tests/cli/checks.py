"""What several tests of commands use."""
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet_viz.cli import main

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--widths", "4", "4", "8", "8", "--image-size", "16", "--start-size", "16", "--epochs", "1",
        "--batch-size", "4", "--min-width", "2", "--precision", "fp32", "--device", "cpu", "--workers", "0"]
QUICK = ["--device", "cpu", "--workers", "0", "--threads", "1", "--shard-size", "3", "--batch-size", "2"]


def picture(seed: int, side: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def refused(capsys, arguments: list, message: str, code: int = 2) -> None:
    assert main([str(a) for a in arguments]) == code
    shown = capsys.readouterr().err.rpartition("\r")[2]  # what stays when a progress bar has been wiped
    assert shown.count("\n") == 1, shown
    assert shown.startswith(f"senet_viz {arguments[0]}: ")
    assert message in shown


def usage(capsys, arguments: list[str], message: str = "error: ") -> None:
    """Refused by what reads the options: how the command is used, and one line."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.splitlines()[-1]
    assert "error: " in last and message in last


def printed(capsys, *arguments) -> str:
    """What a command printed; it has to succeed."""
    assert main([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


def document(capsys, *arguments) -> dict | list:
    """The one JSON document that a command printed, without numbers that JSON does not know."""
    def refuse(constant: str):
        raise AssertionError(constant)

    return json.loads(printed(capsys, *arguments, "--json"), parse_constant=refuse)
