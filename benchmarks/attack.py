"""Random damage to all that strangers hand in: pictures, checkpoints, archives and links, for as long as one likes.

``python benchmarks/attack.py [--seconds 600] [--seed 0] [--only links]``; nothing is found, or the seed of what was.

Each case follows from its number alone: ``--seed N --seconds 0`` tries case N again. A case passes when what comes of
it is a result or one of the errors that are one sentence, within ``PATIENCE`` seconds and ``MEMORY`` bytes. Cases run
in processes of their own, so that one that ends its process is found as well.
"""
import argparse
import io
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PATIENCE = 60  # seconds; a picture takes up to some
MEMORY = 3 * 2**30  # bytes that one case may add
FORMATS = {  # of Pillow, with the options of what is written
    "PNG": [{}, {"bits": 4}, {"interlace": 1}], "JPEG": [{}, {"progressive": True}, {"quality": 5}], "GIF": [{}],
    "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}], "WEBP": [{}, {"lossless": True}], "BMP": [{}],
    "PPM": [{}], "ICO": [{}], "TGA": [{"compression": "tga_rle"}], "JPEG2000": [{}]}
MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "LA", "F")
HOSTILE = ["", "0", "-1", "1e999", "nan", "inf", "-inf", "10" * 40, "*", "%00", "\u202e\u0000",
           "<script>alert(1)</script>", "../../etc/passwd", "file:/etc/passwd", "timm/" + "x" * 5000, "[](http://x)",
           "SE_9_9", "SE_*=1; *=nan", "=", "🙂", "true", "None", "0x10", "1_000", "１", "a,b,c", "demo/sknet50_slim",
           "SE_5_3", "tabby"]


# what may be damaged, and how

def damaged(content: bytes, rng: random.Random) -> bytes:
    """Some bytes other than they were: flipped, cut, repeated, moved, or numbers at their extremes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        if not data:
            break
        # what a file says of itself stands mostly at its beginning
        at = rng.randrange(min(len(data), rng.choice([16, 200, 2000, len(data)])))
        length = rng.choice([1, 2, 4, 8, 100])
        match rng.randrange(6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at:at + length] = rng.choice([b"\x00", b"\xff", b"\x7f", b"\x80"]) * length
            case 2:
                del data[at:at + rng.choice([1, 10, 1000, len(data)])]
            case 3:
                data[at:at] = data[at:at + length] * rng.choice([1, 3, 1000])
            case 4:
                other = rng.randrange(len(data))
                data[at:at + length], data[other:other + length] = data[other:other + length], data[at:at + length]
            case 5:
                data[at:at + length] = rng.randbytes(length)
    return bytes(data)


def picture(rng: random.Random) -> bytes:
    """A small picture in some format and mode."""
    pixels = np.random.default_rng(rng.randrange(2**32)).integers(
        0, 256, (rng.randrange(1, 60), rng.randrange(1, 60), 3), np.uint8)
    while True:
        form, mode = rng.choice(list(FORMATS)), rng.choice(MODES)
        buffer, image = io.BytesIO(), Image.fromarray(pixels)
        try:
            image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
            image.save(buffer, form, **rng.choice(FORMATS[form]))
        except (OSError, ValueError, KeyError):  # a format without this mode
            continue
        return buffer.getvalue()


def changed(value: object, rng: random.Random, whole: bool = True) -> object:
    """A JSON document with one value somewhere in it replaced by something else; the ``whole`` one stays what it is."""
    if isinstance(value, dict) and value and (whole or rng.random() < 0.9):
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {other: kept for other, kept in value.items() if other != key}
        return value | {key: changed(value[key], rng, False)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], changed(value[at], rng, False), *value[at + 1:]]
    return rng.choice(
        [None, True, -1, 0, 10**30, 1e300, float("nan"), "", "x", "é" * 3000, [], {}, [[]], {"a": 1}, -0.5])


# the attacks: each is given a random generator and a folder of its own

def on_pictures(rng: random.Random, folder: Path) -> str:
    """A damaged picture through the one reader of pictures."""
    import senet_viz as sv

    content = damaged(picture(rng), rng)
    try:
        image = sv.open_image(content)
    except sv.UnreadableImage as error:
        return sentence(error)
    assert image.mode == "RGB" and min(image.size) > 0
    return "read"


def on_checkpoints(rng: random.Random, folder: Path) -> str:
    """A damaged checkpoint, or one that says something else of itself, through ``sv.load``."""
    import torch

    import senet_viz as sv
    from senet_viz.models import slim_resnet50
    from senet_viz.models.checkpoints import save_checkpoint

    options = {"attention": rng.choice(["se", "sk", "none"]), "num_classes": 3, "widths": [4, 4, 8, 8], "min_width": 2}
    torch.manual_seed(0)
    state = slim_resnet50(**options).state_dict()
    metadata = {
        "architecture": {"name": "slim_resnet50", **options}, "classes": ["red", "green", "blue"],
        "transform": {"input_size": [3, 64, 64], "crop_pct": 1.0}, "recipe": {"widths": [4, 4, 8, 8], "epochs": 12},
        "made": {"date": "2024-02-29"}, "data": {"name": "colours", "training": 123, "note": ""},
        "accuracy": {"top1": 0.5, "top5": 1.0, "images": 45}}
    arch = None
    if rng.random() < 0.3:
        path = folder / "weights.safetensors"
        save_checkpoint(path, state, changed(metadata, rng))
    elif rng.random() < 0.5:
        path = folder / "weights.safetensors"
        save_checkpoint(path, state, metadata)
        path.write_bytes(damaged(path.read_bytes(), rng))
    else:
        path, arch = folder / "weights.pt", rng.choice([None, "timm/resnet18", "torchvision/squeezenet1_0"])
        torch.save(rng.choice([state, {"state_dict": state, "epoch": 3}]), path,
                   _use_new_zipfile_serialization=rng.random() < 0.5)
        path.write_bytes(damaged(path.read_bytes(), rng))
    try:
        model = sv.load(f"file:{path}", arch=arch, device="cpu")
    except ValueError as error:
        return sentence(error)
    sv.record(model, model.batch([Image.new("RGB", (80, 70))]))
    return "read"


def on_archives(rng: random.Random, folder: Path) -> str:
    """An archive's file damaged, or its description changed with a checksum that fits, through ``open_statistics``."""
    import shutil

    import senet_viz as sv
    from senet_viz.data.checksums import KEY, write_described
    from senet_viz.statistics import summaries

    out = folder / "archive"
    shutil.copytree(ARCHIVE, out)
    file = rng.choice(sorted(path for path in out.iterdir() if path.is_file()))
    if file.name == "metadata.json" and rng.random() < 0.7:
        said = json.loads(file.read_text(encoding="utf-8"))
        names = list(said.pop(KEY))
        write_described(file, changed(said, rng), [name for name in names if name != KEY and (out / name).is_file()])
    else:
        file.write_bytes(damaged(file.read_bytes(), rng))
    try:
        stats = sv.open_statistics(out)
        stats.images()
        stats.overall_mean(stats.blocks[0])
        summaries.dimension(stats)
    except ValueError as error:
        return sentence(error)
    return "read"


def on_links(rng: random.Random, folder: Path) -> str:
    """A link to a page with parameters of any kind."""
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.testing.v1 import AppTest

    PagesManager.uses_pages_directory = False  # as in a server that has run app.py
    source = "\n".join(file.read_text(encoding="utf-8") for file in ROOT.glob("pages/**/*.py"))
    keys = [*sorted(set(re.findall(r'key="(\w+)", bind="query-params"', source))), "model", "page", "nothing"]
    pages = sorted(file.stem for file in ROOT.glob("pages/*.py"))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    for key in rng.sample(keys, rng.randrange(1, 6)):
        app.query_params[key] = rng.sample(HOSTILE, rng.choice([1, 1, 1, 3]))
    if "page" not in app.query_params:
        app.query_params["page"] = rng.choice(pages)
    app.run()
    assert not app.exception, app.exception[0].stack_trace
    for error in app.error:
        sentence(error.value)
    return "shown"


ATTACKS = {"pictures": on_pictures, "checkpoints": on_checkpoints, "archives": on_archives, "links": on_links}
SHARES = {"pictures": 70, "checkpoints": 15, "archives": 13, "links": 2}  # of the cases
ARCHIVE = Path()


def sentence(error: object) -> str:
    """Raise AssertionError where an error is more than a sentence of some length."""
    said = str(error)
    assert said and "\n" not in said.strip() and "Traceback" not in said and len(said) < 2000, f"said {said[:3000]!r}"
    return "told"


# cases, and the processes that they run in

def attempt(case: int, only: str | None) -> tuple[str, str, str]:
    """Run a case; its kind, what came of it, and the trace of an error that is none of ours."""
    rng = random.Random(case)
    kind = only or rng.choices(list(SHARES), list(SHARES.values()))[0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(PATIENCE)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = ATTACKS[kind](rng, Path(folder))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        return kind, outcome, f"took {grown / 1e9:.1f} GB" if grown > MEMORY else ""
    except BaseException:
        return kind, "failed", traceback.format_exc()
    finally:
        signal.alarm(0)


def _too_slow(*_) -> None:
    raise TimeoutError(f"took more than {PATIENCE} s")


def work(cases: range, only: str | None, archive: Path, sink) -> None:
    """A process: its cases, one after the other, each told before and after."""
    global ARCHIVE
    ARCHIVE = archive
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say of damaged files
    signal.signal(signal.SIGALRM, _too_slow)
    import torch

    torch.set_num_threads(1)
    for case in cases:
        sink.send((case, None))
        sink.send((case, attempt(case, only)))
    sink.close()


def rounds(first: int, seconds: float, only: str | None, archive: Path, found: Callable[[int, str, str], None]
           ) -> dict[tuple[str, str], int]:
    """Cases from ``first`` on until the time is over; ``found`` is given the number, kind and trace of what failed."""
    counts: dict[tuple[str, str], int] = {}
    end, case = time.monotonic() + seconds, first
    while True:
        receive, send = multiprocessing.get_context("spawn").Pipe(False)
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(range(case, case + (1000 if seconds else 1)), only, archive, send), daemon=True)
        process.start()
        send.close()
        begun = None
        while True:
            try:
                # a case that no alarm ends hangs in a library
                if not receive.poll(3 * PATIENCE):
                    raise EOFError
                case, told = receive.recv()
            except EOFError:
                break
            begun = case if told is None else None
            if told is not None:
                kind, outcome, trace = told
                counts[kind, outcome] = counts.get((kind, outcome), 0) + 1
                if trace:
                    found(case, kind, trace)
                if time.monotonic() > end:
                    break
        process.kill()
        process.join()
        if begun is not None:
            found(begun, "process", f"the process ended ({process.exitcode}) or hung in this case")
        case += 1
        if time.monotonic() > end:
            return counts


def main() -> int:
    """Attack, and print what was found and how many cases ended how."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", choices=list(ATTACKS))
    args = parser.parse_args()
    from senet_viz.collecting import Settings, collect
    from senet_viz.models import load

    failures = []

    def found(case: int, kind: str, trace: str) -> None:
        failures.append(case)
        print(f"case {case} ({kind}):\n{trace}\n", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "archive")
        collect(load("demo/se_resnet50_slim", device="cpu"), ROOT / "assets" / "samples", archive,
                Settings(batch_size=4), limit=8, progress=False, workers=0)
        counts = rounds(args.seed, args.seconds, args.only, archive, found)
    print("| what | read or shown | told in a sentence | found |\n| --- | ---: | ---: | ---: |")
    for kind in ATTACKS:
        fine = counts.get((kind, "read"), 0) + counts.get((kind, "shown"), 0)
        print(f"| {kind} | {fine:,} | {counts.get((kind, 'told'), 0):,} | {counts.get((kind, 'failed'), 0):,} |")
    return len(failures) > 0


if __name__ == "__main__":
    sys.exit(main())
