"""The real thing: ``streamlit run app.py`` on a free port, driven by Chromium."""
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

import senet_viz as sv
from senet_viz.collecting import Settings, collect
from senet_viz.data.datasets import Pictures
from tests import hub

ROOT = Path(__file__).resolve().parents[2]
START, SETTLE = 180, 120  # seconds, for machines that are busy with something else
# chromium in a container has no sandbox and no GPU, and must not call home
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def missing(reason: str):
    """Skip, or fail where a browser is said to be there."""
    if os.environ.get("SENET_VIZ_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{reason}, and SENET_VIZ_REQUIRE_BROWSER=1", pytrace=False)
    pytest.skip(reason)


def chromium(own: str) -> str | None:
    """The one that is named, the system's, or the one that ``playwright install`` fetched."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    candidates = (os.environ.get("SENET_VIZ_CHROMIUM"), "/usr/bin/chromium", *map(shutil.which, names), own)
    return next((path for path in candidates if path and Path(path).exists()), None)


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    with sync_playwright() as playwright:
        path = chromium(playwright.chromium.executable_path)
        if path is None:
            missing("no Chromium: install one, or name it in SENET_VIZ_CHROMIUM")
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@contextmanager
def serving(log: Path, command: Callable[[str], list[str]], folder: Path, **environment: str):
    """The address of what is started from a folder: a module, on the port that it is given, with its arguments."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {"STREAMLIT_SERVER_HEADLESS": "true", "STREAMLIT_SERVER_ADDRESS": "127.0.0.1"} | environment
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, "-m", *command(str(port))], cwd=folder, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, env=os.environ | environment)
    try:
        deadline = time.monotonic() + START
        while True:
            try:
                with urlopen(f"{address}/_stcore/health", timeout=5) as answer:
                    if answer.status == 200:
                        break
            except (URLError, OSError):
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield address
        assert "Traceback" not in log.read_text(), log.read_text()[-4000:]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Operated:
    """The server that all tests visit, and what its operator gave it: a hub of models, a folder for temporary files."""

    address: str
    hub: hub.Hub
    temporary: Path


@pytest.fixture(scope="session")
def operated(tmp_path_factory):
    """With a run over four photos to offer, and without what visitors have left at its end."""
    runs, temporary, folder = map(tmp_path_factory.mktemp, ("runs", "temporary", "server"))
    content = [path.read_bytes() for path in sorted((ROOT / "assets" / "samples").glob("*.jpg"))[:4]]
    collect(sv.load("demo/se_resnet50_slim", device="cpu"),
            Pictures(content.__getitem__, [0, 0, 1, 1], ["left", "right"]), runs / "tiny",
            Settings(batch_size=4, shard_size=4), workers=0, progress=False)

    def command(port: str) -> list[str]:
        """As the README starts the app."""
        return ["streamlit", "run", "app.py", "--server.port", port, "--server.fileWatcherType", "none", "--",
                "--statistics", str(runs)]

    with hub.running(folder) as models, serving(folder / "log", command, ROOT, TMPDIR=str(temporary),
                                                **models.environment) as address:
        yield Operated(address, models, temporary)
    assert not list(temporary.glob("senet_viz_*"))


@pytest.fixture(scope="session")
def server(operated) -> str:
    """Its address."""
    return operated.address


class Tab:
    """A tab of the browser, what its console said and where it wanted to go."""

    def __init__(self, page, server: str):
        self.page, self.server = page, server
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self._listeners = {
            "console": self._heard, "pageerror": lambda error: self.errors.append(str(error)),
            "requestfailed": lambda request: self.errors.append(f"{request.url} {request.failure}"),
            "request": lambda request: None if request.url.startswith(
                (server, server.replace("http", "ws"), "data:", "blob:")) else self.strangers.append(request.url)}
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def leave(self) -> bool:
        """Forget the visitor; whether the tab is there for another one."""
        if self.page.is_closed():
            return False
        self.page.evaluate("sessionStorage.clear()")
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self.page.mouse.move(0, 0)
        self.page.goto("about:blank")
        return True

    def _heard(self, message) -> None:
        # Streamlit first looks for itself below the address of a page, where it is not
        beneath = re.fullmatch(rf"{re.escape(self.server)}/[a-z_]+/_stcore/[a-z-]+",
                               message.location["url"])
        if message.type == "error" and not beneath:
            self.errors.append(f"{message.text} {message.location['url']}")

    def open(self, path: str = "", **parameters) -> "Tab":
        """The app by a link to one of its pages, with these parameters."""
        self.page.bring_to_front()  # behind others it is slow, and takes no folder of files
        self.page.goto(f"{self.server}/{path}?{urlencode(parameters, doseq=True)}", timeout=START * 1000)
        return self.settle()

    def settle(self) -> "Tab":
        """Wait until the script has ended, nothing is stale and every chart is drawn, and stays so for a moment."""
        self.page.bring_to_front()
        self.page.wait_for_timeout(300)  # what was typed or clicked is on its way to the server
        calm, deadline = 0, time.monotonic() + SETTLE
        while calm < 3:
            calm = calm + 1 if self.page.evaluate(CALM) else 0
            assert time.monotonic() < deadline, "the page did not come to rest"
            self.page.wait_for_timeout(100)
        return self

    def until(self, condition: str, argument=None) -> "Tab":
        """Wait for a condition in JavaScript, and for the page to come to rest."""
        self.page.wait_for_function(condition, arg=argument, timeout=SETTLE * 1000)
        return self.settle()

    def fits(self) -> "Tab":
        """Wait until nothing is wider than the window, which charts are for a moment after it has become narrower."""
        return self.until("""() => (main => main.scrollWidth <= main.clientWidth)(
            document.querySelector('[data-testid=stMain]'))""")

    def top_of(self, anchor: str) -> float:
        """Where on the screen a section begins."""
        return self.page.locator(f"[id='{anchor}']").bounding_box()["y"]

    def contents_lead_to_sections(self) -> None:
        """The table of contents names every section of the page; clicks on its first ones lead there."""
        self.page.wait_for_function(NAMED, timeout=30_000)
        anchors = self.page.locator("h2[id]").evaluate_all("all => all.map(e => e.id)")
        link = self.page.url.partition("#")[0]
        assert len(anchors) >= 3
        for anchor in anchors[:3]:
            self.page.locator(f"{CONTENTS} a[href='#{anchor}']").click()
            self.until(f"anchor => document.querySelector('{CONTENTS} [aria-current]')?.hash === anchor", f"#{anchor}")
            assert self.page.url == f"{link}#{anchor}"
            ended = self.page.get_by_test_id("stMain").evaluate(
                "main => main.scrollTop + main.clientHeight >= main.scrollHeight - 2")
            assert 55 <= self.top_of(anchor) <= (1200 if ended else 120)  # below the bar, not under it

    def widget(self, key: str):
        """The element with a key."""
        return self.page.locator(f".st-key-{key}")

    def chart(self, key: str):
        """The chart of a section."""
        return self.page.locator(f".st-key-{key}_figure .js-plotly-plot")

    def traces(self, key: str) -> list[dict]:
        """What Plotly drew: name, x, y, z and opacity of each trace."""
        return self.chart(key).evaluate(TRACES)

    def point(self, key: str, trace: int, index: int) -> tuple[float, float]:
        """Where on the screen a point of a chart is, scrolled into view."""
        self.chart(key).scroll_into_view_if_needed()
        self.page.wait_for_timeout(200)
        return tuple(self.chart(key).evaluate(POINT, [trace, index]))

    def choose(self, key: str, text: str) -> "Tab":
        """Type into a select box, and confirm."""
        box = self.widget(key).get_by_role("combobox")
        box.click()
        box.fill(text)
        self.page.get_by_role("option").first.wait_for()
        box.press("Enter")
        return self.settle()

    def download(self, button, path: Path) -> Path:
        """Press a button, and keep what it sends under its own name in a folder."""
        with self.page.expect_download(timeout=SETTLE * 1000) as started:
            button.click()
        started.value.save_as(path / started.value.suggested_filename)
        return path / started.value.suggested_filename

    def errors_shown(self) -> list[str]:
        return self.page.get_by_test_id("stAlertContentError").all_inner_texts()

    def notes_shown(self) -> list[str]:
        return self.page.get_by_test_id("stAlertContentInfo").all_inner_texts()


def swipe(page, x: float, y: float, across: float, down: float) -> None:
    """Move a finger in a window that has fingers: where it begins, and how far it goes, in pixels."""
    session, steps = page.context.new_cdp_session(page), 10
    for step in range(steps + 1):
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": [
            {"x": x + across * step / steps, "y": y + down * step / steps}]})
        page.wait_for_timeout(20)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


CALM = """() => document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'notRunning'
    && !document.querySelector('[data-stale="true"], [data-testid="stSkeleton"], [data-testid="stSpinner"]')
    && !document.querySelector('.st-key-up_to_first_chart')
    && [...document.querySelectorAll('[data-testid="stPlotlyChart"]')].every(
        chart => chart.querySelector('.js-plotly-plot .main-svg'))"""
TRACES = """graph => {
    const list = values => Array.from(values, row => ArrayBuffer.isView(row) ? Array.from(row) : row)
    return graph._fullData.map(trace => ({
        name: trace.name, type: trace.type, colorscale: trace.colorscale, opacity: trace.opacity,
        visible: trace.visible, zsmooth: trace.zsmooth,
        ...Object.fromEntries(['x', 'y', 'z', 'customdata'].filter(key => trace[key]).map(
            key => [key, list(trace[key])]))}))
}"""
CONTENTS = ".st-key-contents nav"
# a section that has just come is in the list a moment later
NAMED = f"""() => {{
    const pairs = (all, of) => JSON.stringify([...document.querySelectorAll(all)].map(of))
    return pairs('h2[id]', e => ['#' + e.id, e.innerText.trim()])
        === pairs("{CONTENTS} a[data-level='2']", e => [e.hash, e.innerText])
}}"""
POINT = """(graph, [index, point]) => {
    const trace = graph._fullData[index], {xaxis, yaxis} = graph._fullLayout, box = graph.getBoundingClientRect()
    return [box.left + xaxis._offset + xaxis.d2p(trace.x[point]), box.top + yaxis._offset + yaxis.d2p(trace.y[point])]
}"""


# before any script of the app, in a tab of which no visitor is known
FORGET = """if (location.origin !== 'null' && !sessionStorage.visitor) {
    localStorage.clear()
    sessionStorage.visitor = 'new'
}"""


@pytest.fixture(scope="session")
def tabs(browser):
    """Where tabs are opened, and those that are free again. A second visitor in a tab costs a third of a first one: the
    app's scripts, some megabytes, are compiled already.
    """
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(SETTLE * 1000)
    context.add_init_script(FORGET)
    yield context, []
    context.close()


@contextmanager
def opening(tabs, server: str):
    """What opens tabs, and leaves them at the end: no visitor has then seen an error or another host."""
    (context, free), opened = tabs, []

    def new(theme: str = "light", address: str = server, width: int = 1440, height: int = 1200, **media) -> Tab:
        page = free.pop() if free else context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=theme, **{"reduced_motion": "no-preference", **media})
        opened.append(Tab(page, address))
        return opened[-1]

    yield new
    free += [one.page for one in opened if one.leave()]
    for one in opened:
        assert one.errors == [] and one.strangers == []


@pytest.fixture
def tab(tabs, server):
    """``tab(theme="dark", width=420)``: a new visitor."""
    with opening(tabs, server) as new:
        yield new


@pytest.fixture(scope="module")
def shared_tab(tabs, server):
    """The same, for a page that several tests of a file look at."""
    with opening(tabs, server) as new:
        yield new
