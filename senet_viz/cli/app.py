"""``senet-viz app``: the pages, in a browser."""
import argparse
import importlib.util
import subprocess
import sys


def add(commands: argparse._SubParsersAction) -> None:
    """Its options."""
    command = commands.add_parser(
        "app", help="open the app in a browser",
        description="Start the app with Streamlit and open it in a browser. What stands after -- is for the app: "
                    "--model PACKAGE.MODULE:FACTORY offers a network of one's own, --models PATTERN … no others than "
                    "those that match and it, --statistics FOLDER what collect wrote; --data PATH SPLIT are the "
                    "pictures of that. --memory GB is how much pages keep of what they loaded and computed (2 "
                    "without it).")
    command.add_argument("--port", type=_port, metavar="N",
                         help="to listen at (default: 8501, or the next that is free)")
    command.add_argument("rest", nargs="*", metavar="OPTION", help="of the app, after --")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Start the server and wait until it ends; its settings are those of the app's folder."""
    from ..data.places import APP

    if importlib.util.find_spec("streamlit") is None:
        raise ValueError("the app needs Streamlit: pip install streamlit")
    port = [] if args.port is None else ["--server.port", str(args.port)]
    # watching the folder for changed code would take in .venv beside app.py: every import fills the queue of events
    server = subprocess.Popen([sys.executable, "-m", "streamlit", "run", str(APP / "app.py"), *port,
                               "--server.showEmailPrompt", "false", "--server.fileWatcherType", "none",
                               "--", *args.rest])
    try:
        code = server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        raise
    if code:
        raise RuntimeError(f"Streamlit ended with exit code {code}")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)
