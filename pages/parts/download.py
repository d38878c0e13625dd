"""Weights on their way into the cache, with a button to give up."""
import subprocess
import sys
import tempfile
import time

import streamlit as st

from senet_viz.data.places import APP
from senet_viz.models import cache_folders, catalog, remote
from senet_viz.models.download import reachable_or_cached
from senet_viz.reports.text import plain


class Fetch:
    """Weights on their way into the cache, by a process of its own: unlike a thread it can be ended at any time.

    What it leaves behind when it is ended is not taken for weights: each client writes beside the file's place.
    """

    def __init__(self, name: str, choice: tuple):
        self.choice, self.before = choice, _cached_bytes()
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "senet_viz", "fetch", name], cwd=APP, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.log)

    @property
    def error(self) -> str:
        """The sentence it ended with."""
        self.log.seek(0)
        lines = self.log.read().strip().splitlines() or ["The download ended without a word."]
        return lines[-1].removeprefix("senet_viz fetch: ")

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()


def fetch_weights(name: str, slot: str, choice: tuple) -> None:
    """Put weights into the cache that are not there, and show how much has arrived, with a button to give up."""
    place = remote(name)
    if place is None or place.cached:
        return
    running = st.session_state["fetching"]
    if slot not in running:
        reachable_or_cached(name, place)
        running[slot] = Fetch(name, choice)
    fetch, shown = running[slot], st.empty()
    parameters = catalog().set_index("name")["parameters"].get(name)
    size = "" if parameters is None else f" of about {4 * parameters / 1e6:,.0f}"  # most are in single precision
    with shown.container():
        line = st.empty()
        st.button("Cancel", key=f"{slot}_cancel", on_click=_cancel, args=(slot, name), icon=":material/close:")
    while fetch.process.poll() is None:  # another interaction ends this run here, and the next one goes on waiting
        arrived = (_cached_bytes() - fetch.before) / 1e6
        line.info(f"Fetching the weights of {plain(name)}: {arrived:,.0f}{size} MB.", icon=":material/download:")
        time.sleep(0.5)
    shown.empty()
    del running[slot]
    if fetch.process.returncode:
        raise OSError(fetch.error)


def _cancel(slot: str, name: str) -> None:
    fetch = st.session_state["fetching"].pop(slot, None)
    if fetch is not None:
        fetch.end()
        st.session_state["failed"][slot] = fetch.choice, f"The download of {plain(name)} was cancelled.", True


def _cached_bytes() -> int:
    total = 0
    for folder in cache_folders():
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() and not path.is_symlink() else 0
            except OSError:  # renamed while we look
                continue
    return total
