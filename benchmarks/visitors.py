"""Many visitors of the app at once: are their answers right, how long do they wait, does the server's memory grow?

``python benchmarks/visitors.py [--visitors 30] [--seconds 300] [--pause 10] [--out FILE] [-- --memory 2]``; see
README.md.

The app runs on 127.0.0.1. Visitors are websocket clients that speak Streamlit's protocol, not browsers: what is timed
is the server, from a question to the end of its run. Like a browser they get a page up to its first chart first, and
ask for all of it then: that is one answer. Each visitor takes a walk (a link, a photo of its own perhaps, two
changes of a widget), lets a while pass before each question, leaves, and comes back as a new one with another walk.
Every walk is taken alone beforehand. What it shows, texts, tables, figures and pictures, has to be the same in the
crowd, byte for byte. Processor time and memory are read from /proc (Linux).
"""
import argparse
import asyncio
import hashlib
import io
import json
import os
import platform
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import streamlit
import torch
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLsRequest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

ROOT = Path(__file__).resolve().parents[1]
TICK, BLOCK = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
LONGEST = 300  # seconds for one answer
# what of an element a visitor reads; others hold nothing that is computed
READ = {
    "markdown": ("body",), "text": ("body",), "html": ("body",), "alert": ("body",), "metric": ("body", "delta"),
    "plotly_chart": ("spec",), "arrow_data_frame": ("data",), "arrow_table": ("data",), "imgs": ("imgs",),
    "code": ("code_text",), "heading": ("body",)}


@dataclass(frozen=True)
class Walk:
    """A link, and what is changed there.

    Attributes:
        page: its name in the address, "" for the first.
        link: what the link says.
        changes: widget's key → the beginning of the option to choose, in order.
        photo: the seed of a photo to upload first; None for none.
    """

    page: str
    link: tuple[tuple[str, str], ...]
    changes: tuple[tuple[str, str], ...] = ()
    photo: int | None = None


def walks() -> list[Walk]:
    """Both embedded models, all pages, samples and photos of one's own."""
    found = []
    for model, letters in ((SE, "SE"), (SK, "SK")):
        def link(model: str = model, **more: str) -> tuple[tuple[str, str], ...]:
            return ("model", model), *more.items()

        found += [
            Walk("", link(sample="teapot"), (("block", f"{letters}_3_2"), ("class", "lemon"))),
            Walk("", link(), (("block", f"{letters}_5_1"), ("class", "school bus"))),
            Walk("", link(sample="ladybug"), (("block", f"{letters}_4_2"), ("change", f"{letters}_4_2"))),
            Walk("", link(), (("block", f"{letters}_2_1"),), photo=len(found)),
            Walk("", link(), (("model", SE if model == SK else SK),)),
            Walk("classes", link(), (("class_block", f"{letters}_4_1"), ("class_second", "pizza"))),
            Walk("anatomy", link(sample="teapot"), (
                (f"{letters.lower()}_block", f"{letters}_3_1"), ("variant_block", f"{letters}_4_1"))),
            Walk("what_if", link(sample="teapot"), (("what_channels_block", f"{letters}_4_3"),)),
        ]
    return [*found, Walk("kernels", (("model", SK), ("sample", "teapot")), (("kernel_unit", "SK_4_2"),)),
            Walk("kernels", (("model", SK),), (("decided_unit", "SK_3_3"),), photo=100),
            Walk("compare", (("model", SE),)), Walk("training", (("model", SE),), (("training_block", "SE_4_2"),))]


def photo(seed: int) -> bytes:
    """A picture of soft coloured shapes, as JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


@dataclass
class Answer:
    """What came of one question.

    Attributes:
        seconds: until the run ended.
        first: until the first chart was there, None without one.
        shown: digests of what is to be read, in the page's order.
        wrong: what must not be there: exceptions, errors.
    """

    seconds: float
    first: float | None
    shown: list[str]
    wrong: list[str]


@dataclass
class Visitor:
    """One session."""

    address: str
    query: str
    page: str
    connection: object = None
    session: str = ""
    states: dict[str, object] = field(default_factory=dict)  # widgets that were changed, by their ids
    widgets: dict[str, tuple[str, str, list[str]]] = field(default_factory=dict)  # key → id, fragment, options

    async def __aenter__(self) -> "Visitor":
        self.connection = await connect(f"ws://{self.address}/_stcore/stream", subprotocols=["streamlit"],
                                        origin=f"http://{self.address}", max_size=None, open_timeout=LONGEST,
                                        user_agent_header="Mozilla/5.0 (like a browser)",
                                        ping_interval=None, compression=None)
        return self

    async def __aexit__(self, *error) -> None:
        await self.connection.close()

    def _question(self, fragment: str = "") -> BackMsg:
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.page_name, asked.fragment_id = self.query, self.page, fragment
        for state in self.states.values():
            asked.widget_states.widgets.add().CopyFrom(state)
        return message

    async def ask(self, fragment: str = "") -> Answer:
        """Run the page, or a part of it, and read what comes."""
        start, first, placed, wrong, ended = time.perf_counter(), None, {}, [], None
        await self.connection.send(self._question(fragment).SerializeToString())
        while True:
            message = ForwardMsg.FromString(await asyncio.wait_for(self.connection.recv(), LONGEST))
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.session = message.new_session.initialize.session_id
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                element = message.delta.new_element
                placed[tuple(message.metadata.delta_path)] = element
                self._widget(element, message.delta.fragment_id)
                if first is None and element.WhichOneof("type") == "plotly_chart":
                    first = time.perf_counter() - start
                if "-first_chart_" in (component := element.bidi_component.id) and component not in self.states:
                    ended = component
            elif kind == "script_finished":
                if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                    wrong.append("a page does not compile")
                if message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    continue
                if ended is None:
                    break
                self._state(ended).json_value = json.dumps({"stands": True})
                await self.connection.send(self._question().SerializeToString())
                placed, ended = {}, None
        shown = []
        for path in sorted(placed):
            element = placed[path]
            kind = element.WhichOneof("type")
            if kind == "exception" or (kind == "alert" and element.alert.format == element.alert.ERROR):
                wrong.append(f"{kind}: {str(getattr(element, kind))[:300]}")
            for name in READ.get(kind, ()):
                value = getattr(getattr(element, kind), name)
                shown.append(f"{kind} {hashlib.sha256(str(value).encode()).hexdigest()[:16]}")
        return Answer(time.perf_counter() - start, first, shown, wrong)

    def _widget(self, element, fragment: str) -> None:
        kind = element.WhichOneof("type")
        widget = getattr(element, kind) if kind in ("selectbox", "file_uploader") else None
        if widget is not None and (named := re.fullmatch(r"\$\$ID-\w+-(\w+)", widget.id)):
            self.widgets[named[1]] = widget.id, fragment, list(getattr(widget, "options", ()))

    def _state(self, widget: str):
        message = BackMsg()
        state = self.states[widget] = message.rerun_script.widget_states.widgets.add()
        state.id = widget
        return state

    async def change(self, key: str, option: str) -> Answer:
        """Choose the option of a select box that begins so."""
        widget, fragment, options = self.widgets[key]
        self._state(widget).string_value = next(each for each in options if each.startswith(option))
        return await self.ask(fragment)

    async def upload(self, name: str, data: bytes) -> Answer:
        """Add a photo to those of the page."""
        widget, fragment, _ = self.widgets["uploads"]
        asked = BackMsg(file_urls_request=FileURLsRequest(request_id="0", file_names=[name], session_id=self.session))
        await self.connection.send(asked.SerializeToString())
        while True:
            message = ForwardMsg.FromString(await asyncio.wait_for(self.connection.recv(), LONGEST))
            if message.WhichOneof("type") == "file_urls_response":
                break
        urls = message.file_urls_response.file_urls[0]
        end = b"visitors"
        body = (b"--" + end + b'\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode()
                + b'"\r\nContent-Type: image/jpeg\r\n\r\n' + data + b"\r\n--" + end + b"--\r\n")
        request = Request(f"http://{self.address}{urls.upload_url}", body, method="PUT",
                          headers={"Content-Type": f"multipart/form-data; boundary={end.decode()}"})
        await asyncio.to_thread(lambda: urlopen(request, timeout=LONGEST).close())
        info = self._state(widget).file_uploader_state_value.uploaded_file_info.add()
        info.name, info.size = name, len(data)
        info.file_id = urls.file_id
        info.file_urls.CopyFrom(urls)
        return await self.ask(fragment)


async def take(walk: Walk, address: str, pause: Callable[[], float] = lambda: 0.0) -> AsyncIterator[Answer]:
    """The answers along a walk; ``pause`` gives the seconds to wait before each further question."""
    async with Visitor(address, urlencode(walk.link), walk.page) as visitor:
        yield await visitor.ask()
        if walk.photo is not None:
            await asyncio.sleep(pause())
            yield await visitor.upload(f"photo_{walk.photo}.jpg", photo(walk.photo))
        for key, option in walk.changes:
            await asyncio.sleep(pause())
            yield await visitor.change(key, option)


class Server:
    """The app in a process of its own, watched."""

    def __init__(self, log: Path, options: list[str]):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address, self.log = f"127.0.0.1:{port}", log
        self.began = time.monotonic()
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.address",
                 "127.0.0.1", "--server.headless", "true", "--server.fileWatcherType", "none",
                 "--server.enableXsrfProtection", "false",  # whose cookie these visitors would have to carry
                 "--", *options], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        while True:
            try:
                with urlopen(f"http://{self.address}/_stcore/health", timeout=5):
                    return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(log.read_text()[-2000:]) from None
                time.sleep(0.1)

    @property
    def cpu(self) -> float:
        """Seconds of processor time."""
        used = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(used[11]) + int(used[12])) / TICK

    @property
    def memory(self) -> float:
        """GB in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * BLOCK / 1e9

    async def calm(self) -> None:
        """Wait until it has done what it does by itself after its start."""
        while True:
            before = self.cpu
            await asyncio.sleep(3)
            if self.cpu - before < 0.3:
                return

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Found:
    """What the crowd saw."""

    answers: list[Answer] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds since the beginning, GB


async def crowd(server: Server, alone: dict[Walk, list[Answer]], visitors: int, seconds: float, pause: float) -> Found:
    """Visitors walk until the time is over; who waits for an answer then gets none."""
    found, began = Found(), time.monotonic()

    async def visit(number: int) -> None:
        chance = random.Random(number)
        await asyncio.sleep(chance.uniform(0, pause))  # nobody comes at the same moment
        while time.monotonic() - began < seconds:
            walk, step = chance.choice(list(alone)), 0
            try:
                async for answer in take(walk, server.address, lambda: chance.uniform(0.5, 1.5) * pause):
                    found.answers.append(answer)
                    found.wrong += [f"{walk}, answer {step}: {said}" for said in answer.wrong]
                    if answer.shown != alone[walk][step].shown:
                        differ = Counter(answer.shown)
                        differ.subtract(alone[walk][step].shown)
                        kinds = Counter(each.split()[0] for each, count in differ.items() if count)
                        found.wrong.append(f"{walk}, answer {step}: other than alone in {dict(kinds)}")
                    step += 1
            except Exception as error:  # of the connection, or a widget that is not there
                found.wrong.append(f"{walk}: {type(error).__name__} {error}")
            await asyncio.sleep(chance.uniform(0.5, 1.5) * pause)

    async def watch() -> None:
        while True:
            found.memory.append((time.monotonic() - began, server.memory))
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(each) for each in (watch(), *map(visit, range(visitors)))]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=20)  # a connection that is just being opened may not hear of it
    return found


def others(own: set[int]) -> float:
    """Processors that other processes use, over three seconds."""
    def used() -> float:
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            if int(stat.parent.name) not in own:
                try:
                    fields = stat.read_text().rpartition(")")[2].split()
                    total += int(fields[11]) + int(fields[12])
                except OSError:  # it ended meanwhile
                    continue
        return total / TICK

    before = used()
    time.sleep(3)
    return max(0.0, (used() - before) / 3)


def percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, 100 * share))


async def run(args: argparse.Namespace, log: Path) -> str:
    """Everything, as Markdown."""
    busy = others({os.getpid()})
    server = Server(log, args.options)
    try:
        up, cpu = time.monotonic() - server.began, server.cpu
        await server.calm()
        warm, warm_cpu = time.monotonic() - server.began - 3, server.cpu
        before = server.cpu
        first = [answer async for answer in take(Walk("", ()), server.address)]
        first_cpu = server.cpu - before
        alone: dict[Walk, list[Answer]] = {}
        for walk in random.Random(args.seed).sample(walks(), min(args.walks, len(walks()))):
            alone[walk] = [answer async for answer in take(walk, server.address)]
            print(walk, [f"{answer.seconds:.1f}" for answer in alone[walk]], file=sys.stderr)
        wrong = [f"alone, {walk}: {said}" for walk, answers in alone.items() for a in answers for said in a.wrong]
        before = server.cpu, time.monotonic()
        found = await crowd(server, alone, args.visitors, args.seconds, args.pause)
        used, lasted = server.cpu - before[0], time.monotonic() - before[1]
    finally:
        server.end()
    seconds = [answer.seconds for answer in found.answers]
    calm = [answer.seconds for answers in alone.values() for answer in answers]
    settled = [gigabytes for moment, gigabytes in found.memory if 60 <= moment < 120]
    last = [gigabytes for moment, gigabytes in found.memory if moment >= found.memory[-1][0] - 60]
    wrong += found.wrong
    if "Traceback" in (said := log.read_text()):
        wrong.append(f"the server's log has a traceback: {said[said.index('Traceback'):][-1500:]}")
    for each in wrong:
        print(each, file=sys.stderr)
    minutes = [[gigabytes for moment, gigabytes in found.memory if minute <= moment / 60 < minute + 1]
               for minute in range(int(found.memory[-1][0]) // 60 + 1)]
    every = [f"| {minute} | {statistics.mean(part):.2f} | {max(part):.2f} |" for minute, part in enumerate(minutes, 1)]
    return "\n".join([
        f"{args.visitors} visitors for {args.seconds:.0f} s, {args.pause:g} s of looking between an answer and the "
        f"next question (half to one and a half times that), {len(alone)} of {len(walks())} walks "
        f"({', '.join(sorted({walk.page or 'explore' for walk in alone}))}; {len({walk.link[0] for walk in alone})} "
        f"models; {sum(walk.photo is not None for walk in alone)} with an uploaded photo), all taken once before; "
        f"options of the app: {' '.join(args.options) or 'none'}.",
        "",
        f"{platform.machine()}, {os.cpu_count()} processors, of which other programs used {busy:.1f} when it began "
        f"({', '.join(f'{load:.1f}' for load in os.getloadavg())} processes waited in the mean over 1, 5 and 15 "
        f"minutes when it ended, with these); Python {platform.python_version()}, Streamlit {streamlit.__version__}, "
        f"torch {torch.__version__}, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}.",
        "",
        "| what | measured | aim |", "| --- | ---: | --- |",
        f"| answers | {len(seconds):,} | |",
        f"| exceptions, errors, answers other than alone | {len(wrong)} | 0 |",
        f"| median answer | {statistics.median(seconds):.2f} s | < 5 s |",
        f"| 95 % of answers within | {percentile(seconds, 0.95):.2f} s | |",
        f"| longest answer | {max(seconds):.2f} s | |",
        f"| median answer alone, the same questions for the first time | {statistics.median(calm):.2f} s | |",
        f"| processor time of the server an answer | {used / len(seconds):.2f} s | |",
        f"| processors that the server used | {used / lasted:.2f} | |",
        f"| memory in the second minute, mean | {statistics.mean(settled):.2f} GB | |" if settled else "",
        f"| memory in the last minute, mean | {statistics.mean(last):.2f} GB | as in the second |",
        "",
        "| minute | memory, mean GB | most |", "| ---: | ---: | ---: |", *every,
        "",
        "First visit:", "",
        "| what | wall s | processor s |", "| --- | ---: | ---: |",
        f"| the server answers | {up:.1f} | {cpu:.1f} |",
        f"| all that it does by itself is done | {warm:.1f} | {warm_cpu:.1f} |",
        f"| first visitor after that: first chart | {first[0].first or float('nan'):.2f} | |",
        f"| the whole page | {first[0].seconds:.2f} | {first_cpu:.2f} |", ""]).replace("\n\n\n", "\n\n")


def main() -> None:
    """Run it and print Markdown; exit code 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=10, help="seconds between an answer and the next question")
    parser.add_argument("--walks", type=int, default=99, help="how many different ones, drawn with --seed; else all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the Markdown here")
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir(), "visitors.log"),
                        help="what the server says")
    parser.add_argument("options", nargs="*", help="of the app, after --")
    args = parser.parse_args()
    said = asyncio.run(run(args, args.log))
    print(said)
    if args.out:
        args.out.write_text(said, encoding="utf-8")
    sys.exit("answers other than alone, exceptions, errors | 0 |" in said)


if __name__ == "__main__":
    main()
