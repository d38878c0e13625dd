"""What the pages cost the server, and how soon their charts are there, in a real Chromium.

``python benchmarks/page_speed.py [--pages explore kernels] [--repeats 3] [--out FILE] [--before FILE]``; see README.md.

The app runs on 127.0.0.1, and its processor time is read from /proc (Linux), whatever else the machine does. Each page
is visited once to warm it, then again and again by new visitors, who then come again: their browsers keep the scripts,
10 MB of Plotly and Streamlit. A rerun changes one widget of the sidebar on which no result depends. A change (of a
block, a class, an opacity …) takes a value that was not shown before in each repeat.
"""
import argparse
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import plotly
import streamlit
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
TICK = os.sysconf("SC_CLK_TCK")
SK = "?model=demo/sknet50_slim"
# CSS classes of widgets, and what is chosen there; a number is how often → is pressed
CHANGES = {
    "explore": ("", {"block": ["SE_4_2", "SE_3_3", "SE_2_2", "SE_4_5", "SE_5_1"],
                     "class": ["goldfish", "teapot", "pizza", "bullfrog", "school bus"], "opacity": 1}),
    "classes": ("", {"class_block": ["SE_4_2", "SE_3_3", "SE_2_2", "SE_4_5", "SE_5_1"],
                     "class_second": ["teapot", "pizza", "school bus", "bullfrog", "espresso"]}),
    "anatomy": ("", {"se_block": ["SE_4_2", "SE_3_3", "SE_2_2", "SE_4_5", "SE_5_1"],
                     "variant_block": ["SE_4_2", "SE_3_3", "SE_2_2", "SE_4_5", "SE_5_1"]}),
    "kernels": (SK, {"kernel_unit": ["SK_4_2", "SK_3_3", "SK_2_2", "SK_4_5", "SK_5_1"],
                     "decided_unit": ["SK_4_2", "SK_3_3", "SK_2_2", "SK_4_5", "SK_5_1"], "size": 1}),
    "what_if": ("", {"what_channels_block": ["SE_4_2", "SE_3_3", "SE_2_2", "SE_4_5", "SE_5_1"],
                     "what_class": ["goldfish", "teapot", "pizza", "bullfrog", "school bus"]}),
    "compare": ("", {}),
    "training": ("", {"training_block": ["SE_4_2", "SE_3_3", "SE_2_2", "SE_4_5", "SE_5_1"]}),
}
ABOUT = """Seconds of processor time of the server, its threads together, kB that it sent, and seconds from the start of
a visit until its first and its last chart stand in a Chromium without a GPU on the same cores. *Warm visit* is
somebody new, whose browser fetches 10 MB of scripts too; *visit again* is the same browser, which kept them. Aims are
of the server. No page can be faster than one of Streamlit with one chart of three points, the last.
"""
ONE_CHART = "*Streamlit, one chart*"
QUANTITIES = ("server, s", "sent, kB", "first chart, s", "last chart, s")
AIMS, CHANGE = {"warm visit": "0.5", "visit again": "0.5", "rerun": "0.2"}, "0.1"  # seconds of the server
CALM = """() => document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'notRunning'
    && !document.querySelector('[data-stale="true"], [data-testid="stSkeleton"], [data-testid="stSpinner"]')
    && !document.querySelector('.st-key-up_to_first_chart')
    && [...document.querySelectorAll('[data-testid="stPlotlyChart"]')].every(
        chart => chart.querySelector('.js-plotly-plot .main-svg'))"""
# when the first chart was there, and when the last one came
WATCH = """window.charts = {count: 0}
setInterval(() => {
    const count = document.querySelectorAll('.js-plotly-plot:has(.main-svg)').length
    if (count > window.charts.count) {
        window.charts = {count, first: window.charts.first ?? performance.now(), last: performance.now()}
    }
}, 50)"""


class Server:
    """An app in a process of its own, by default this one."""

    def __init__(self, log: Path, app: Path = ROOT / "app.py"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", app.name, "--server.port", str(port), "--server.address",
                 "127.0.0.1", "--server.headless", "true", "--server.fileWatcherType", "none"],
                cwd=app.parent, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 180
        while True:
            try:
                with urlopen(f"{self.address}/_stcore/health", timeout=5):
                    return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    sys.exit(f"The server did not start; see {log}.")
                time.sleep(0.2)

    def cpu(self) -> float:
        """Seconds of processor time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Visit:
    """A visit of a page, what it cost, and what was sent: by somebody new, or in a browser that was there before."""

    def __init__(self, server: Server, address: str, browser: BrowserContext):
        self.server, self.received, self.context = server, 0, browser
        self.page: Page = self.context.new_page()
        self.page.add_init_script(WATCH)
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._received))
        self.cost, self.sent = self._costs(lambda: self.page.goto(f"{server.address}/{address}", timeout=180_000))
        charts = self.page.evaluate("window.charts")
        self.first, self.last = charts["first"] / 1000, charts["last"] / 1000  # seconds from the start of the visit

    def _received(self, payload: bytes | str) -> None:
        self.received += len(payload)

    def _costs(self, act: Callable[[], object]) -> tuple[float, int]:
        """Seconds of the server and bytes received until the page is at rest again."""
        cpu, received = self.server.cpu(), self.received
        act()
        self.page.wait_for_timeout(400)
        calm = 0
        while calm < 3:
            calm = calm + 1 if self.page.evaluate(CALM) else 0
            self.page.wait_for_timeout(200)
        return self.server.cpu() - cpu, self.received - received

    def rerun(self) -> tuple[float, int]:
        return self._costs(self.page.locator(".st-key-image_format").get_by_text("svg").click)

    def change(self, key: str, value: str | int) -> tuple[float, int]:
        """Choose in a select box, or move a slider."""
        widget = self.page.locator(f".st-key-{key}")
        if isinstance(value, int):
            slider = widget.get_by_role("slider").first
            slider.focus()
            return self._costs(lambda: slider.press("ArrowRight"))
        box = widget.get_by_role("combobox")
        box.click()
        box.fill(value)
        self.page.get_by_role("option", name=value).first.wait_for()
        return self._costs(lambda: box.press("Enter"))

    def close(self) -> None:
        self.page.close()
        time.sleep(1)  # the server closes the session


def measure(browser: Browser, server: Server, name: str, repeats: int) -> dict[str, tuple]:
    """What was measured of a page → medians: seconds of the server, bytes sent, of a visit also of the charts."""
    query, changes = CHANGES.get(name, ("", {}))
    address = f"{'' if name in ('explore', ONE_CHART) else name}{query}"
    rows: dict[str, list[tuple]] = {}
    for repeat in range(-1, repeats):
        context = browser.new_context(viewport={"width": 1440, "height": 1200})
        visit = Visit(server, address, context)
        if repeat < 0:  # to warm the page
            context.close()
            continue
        rows.setdefault("warm visit", []).append((visit.cost, visit.sent, visit.first, visit.last))
        for key, values in changes.items():
            value = values if isinstance(values, int) else values[repeat % len(values)]
            rows.setdefault(key, []).append(visit.change(key, value))
        if name != ONE_CHART:
            rows.setdefault("rerun", []).append(visit.rerun())
        visit.close()
        again = Visit(server, address, context)
        rows.setdefault("visit again", []).append((again.cost, again.sent, again.first, again.last))
        again.close()
        context.close()
    return {what: tuple(map(statistics.median, zip(*found))) for what, found in rows.items()}


def measure_streamlit(browser: Browser, repeats: int) -> dict[str, tuple]:
    """The same visits of a page of one chart with three points: what no page can be faster than."""
    with TemporaryDirectory() as folder:
        app = Path(folder) / "one_chart.py"
        app.write_text("import streamlit as st\nst.plotly_chart({'data': [{'y': [1, 3, 2]}]})\n")
        server = Server(Path(folder) / "log", app)
        try:
            return measure(browser, server, ONE_CHART, repeats)
        finally:
            server.stop()


def read(file: Path | None) -> dict[tuple[str, str], list[str]]:
    """The numbers of a table that this script wrote, not those from before, by page and what was measured."""
    lines = [] if file is None else file.read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    titles, found = rows[0] if rows else [], rows[2:]
    wanted = [index for index, title in enumerate(titles) if title.startswith(QUANTITIES) and "before" not in title]
    return {(cells[0], cells[1]): [cells[index] for index in wanted] for cells in found}


def row(page: str, what: str, numbers: list[str], before: list[str] | None) -> str:
    """A line of the table; ``before`` is None in a table that has no such columns."""
    cells = numbers if before is None else [
        cell for pair in zip_longest(before, numbers, fillvalue="") for cell in pair]
    return f"| {' | '.join([page, what, AIMS.get(what, CHANGE), *cells])} |"


def main() -> None:
    """Measure, and write Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a file to write, beside printing")
    parser.add_argument("--before", type=Path, help="a file that --out wrote: its numbers stand beside")
    args = parser.parse_args()
    before = read(args.before)
    titles = [title for name in QUANTITIES for title in ([f"{name} before", name] if before else [name])]
    said = [ABOUT, f"Medians of {args.repeats} repeats: `python benchmarks/page_speed.py`.", "",
            f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, Streamlit "
            f"{streamlit.__version__}, Plotly {plotly.__version__}.", "",
            f"| page | what | aim | {' | '.join(titles)} |", "| --- | --- | ---: |" + " ---: |" * len(titles)]
    print("\n".join(said), flush=True)
    server = Server(Path(os.environ.get("TMPDIR", "/tmp")) / "page_speed.log")
    try:
        with sync_playwright() as playwright:
            path = os.environ.get("SENET_VIZ_CHROMIUM") or shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=path, args=[
                "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
            for page in [*args.pages, ONE_CHART]:
                found = measure_streamlit(browser, args.repeats) if page == ONE_CHART else measure(
                    browser, server, page, args.repeats)
                for what, (cost, sent, *charts) in found.items():
                    numbers = [f"{cost:.2f}", f"{sent / 1000:,.0f}", *(f"{seconds:.1f}" for seconds in charts)]
                    numbers += [""] * (len(QUANTITIES) - len(numbers))
                    said.append(row(page, what, numbers, before.get((page, what), []) if before else None))
                    print(said[-1], flush=True)
                if args.out:
                    args.out.write_text("\n".join(said) + "\n")
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
