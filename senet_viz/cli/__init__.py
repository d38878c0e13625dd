"""The command line, ``senet-viz`` or ``python -m senet_viz``: one file a command.

A command is a file of this folder with two functions: ``add(commands)`` says what the command is called and which
options it takes, ``run(args)`` does it, and imports what it needs only then, so that ``--help`` waits for nothing.
Files whose name begins with an underscore are shared by commands.
"""
import argparse
import importlib
import io
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..reports.text import shortened


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    script = Path(sys.argv[0]).stem == "senet-viz"
    program = argparse.ArgumentParser(prog="senet-viz" if script else "python -m senet_viz",
                                      description="Make channel attention visible.")
    commands = program.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands",
                                      description="Each has --help.")
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}").add(commands)
    return program


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one line on bad input, 130 when interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that the terminal cannot show
    args = parser().parse_args(argv)
    try:
        with _terminate_as_interrupt():
            args.run(args)
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be written at the end
        return 141  # as of other programs that SIGPIPE ends
    except (ValueError, OSError, RuntimeError) as error:
        print(f"senet_viz {args.command}: {shortened(_sentence(error))}", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"senet_viz {args.command}: there is not enough memory", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"senet_viz {args.command}: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Inside, SIGTERM interrupts as Ctrl-C does, so that partial files are cleared away."""
    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # an error of a process that decodes pictures arrives with its traceback, whose last line is "class: message"
    return lines[-1].partition(": ")[2] if lines[0].startswith("Caught ") else lines[0]
