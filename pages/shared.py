"""What all pages share: the model in the sidebar, bounded caches, pictures, and how a section is shown."""
import hashlib
import importlib
import logging
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
import timm
import torch

import senet_viz as sv
from senet_viz.gates import contribution_points
from senet_viz.models import available_devices, cache_folders, catalog, choose_device, embedded_models, remote
from senet_viz.models.download import reachable_or_cached
from senet_viz.report import Section, plain, report
from senet_viz.statistics.archive import METADATA
from senet_viz.statistics.network import weights_hash
from senet_viz.statistics.runs import RUN

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "assets" / "samples"
EMBEDDED = ROOT / "assets" / "statistics"
MAX_PICTURES = 16
OWN_CHECKPOINT = "A checkpoint file of your own"
PAPERS = (  # the papers' own networks first
    "timm/legacy_seresnet50.in1k", "timm/legacy_senet154.in1k", "timm/skresnext50_32x4d.ra_in1k",
    "timm/seresnet50.ra2_in1k")
NO_STAGES = ("In this network no module gives the feature map of a stage, once a forward: there is no place for "
             "Grad-CAM.")
LOG = logging.getLogger(__name__)
RUNS = threading.BoundedSemaphore(2)  # over visitors' own photos, at a time; others wait their turn
# errors whose message is a sentence for the person at the page
SENTENCES = (ValueError, OSError, RuntimeError, ImportError)


@dataclass
class Loaded:
    """A model and how to get it: ``key`` for caches, ``code`` for scripts."""

    model: sv.Model
    key: str
    code: str


# --- the model
# ---------------------------------------------------------------------------------------------------------


def sidebar(factory: str | None) -> Loaded:
    """Choice of model and device, and what the model is; where a choice fails, the page goes on with the last one."""
    embedded = embedded_models()
    with st.sidebar:
        name = _choose_model([*([factory] if factory else []), *embedded, OWN_CHECKPOINT])
        upload, arch = None, ""
        if name == OWN_CHECKPOINT:
            upload = st.file_uploader("Checkpoint", max_upload_size=500, key="checkpoint",
                                      help="safetensors, or a .pt/.pth file of tensors, numbers and text; it may be "
                                           "what a training script wrote, with the optimizer beside the weights.")
            arch = st.text_input("Architecture", key="arch", bind="query-params", placeholder="timm/seresnet50",
                                 help="timm/NAME or torchvision/NAME; the number of classes is the file's. Not needed "
                                      "for files written by python -m senet_viz train.").strip()
        device = st.selectbox("Device", ["auto", *available_devices()], key="device", bind="query-params")
        loaded = None
        if name == OWN_CHECKPOINT and upload is None:
            st.info("Choose a checkpoint file; until then the page shows another model.")
        elif name:
            choice = name, arch, device, upload and upload.file_id
            loaded = _attempt("model", choice, lambda: _obtain(name, arch, device, upload, factory, "model", choice))
        if loaded is None:
            loaded = st.session_state.get("loaded") or _obtain(embedded[0], "", "auto", None, None)
            st.caption(f"The page goes on with {plain(loaded.model.name)}.")
        _facts(loaded.model)
        st.segmented_control("Figures download as", ["png", "svg"], default="png", required=True, key="image_format",
                             bind="query-params", help="With the camera in the tool bar of each figure.")
    return loaded


def _choose_model(first: list[str]) -> str:
    """A name out of the whole catalogue, searched by typing, or any other."""
    table = catalog().set_index("name", drop=False)
    labels = table.apply(_label, axis=1).to_dict()
    rest = sorted(table.index.difference(first), key=lambda name: (not table["downloaded"][name], name not in PAPERS))
    # the address holds the bare name: what bind="query-params" would put there is the label
    chosen = st.session_state.get("model") or st.query_params.get("model")
    if chosen:
        st.session_state["model"] = chosen.partition(" · ")[0].strip()  # a label of before the weights were downloaded
    name = st.selectbox(
        "Model", [*first, *rest], key="model", format_func=lambda name: labels.get(name, name),
        accept_new_options=True,
        help="Type to search: name, number and kind of attention blocks, parameters, published top-1. Embedded models "
             "(demo/…) work without a network, the others are downloaded once. Any other timm or torchvision name can "
             "be typed: timm/NAME or torchvision/NAME.")
    name = (name or first[0]).partition(" · ")[0].strip()
    if name == first[0]:
        st.query_params.pop("model", None)
    elif st.query_params.get("model") != name:
        st.query_params["model"] = name
    return name


def _label(row: pd.Series) -> str:
    parts = [row["name"], f"{row['blocks']} {row['kind']}", f"{row['parameters'] / 1e6:.3g} M"]
    if pd.notna(row["top1"]):
        parts.append(f"{row['top1']:.1f} %")
    if not row["name"].startswith("demo/") and row["downloaded"]:
        parts.append("downloaded")
    return " · ".join(parts)


def _attempt(slot: str, choice: tuple, load: Callable[[], Loaded]) -> Loaded | None:
    """Load, once: a choice that failed or was cancelled waits until it changes or someone asks for it again."""
    failed = st.session_state.setdefault("failed", {})
    running = st.session_state.setdefault("fetching", {})
    if slot in running and running[slot].choice != choice:
        running.pop(slot).end()
    if failed.get(slot, (None,))[0] != choice:
        failed.pop(slot, None)
        try:
            return load()
        except SENTENCES as error:
            failed[slot] = choice, plain(str(error)), False
    _, text, cancelled = failed[slot]
    if cancelled:
        st.info(text, icon=":material/cancel:")
    else:
        st.error(text, icon=":material/error:")
    st.button("Try again", key=f"{slot}_again", on_click=failed.pop, args=(slot, None))
    return None


def loaded(page: str) -> Loaded:
    """What the sidebar loaded, for the page of this file."""
    if "loaded" not in st.session_state:
        # Streamlit runs the files in pages/ by themselves until app.py has told it not to: so for a link to a page that
        # is the first to reach a new server
        st.switch_page("app.py", query_params={"page": Path(page).stem} | {
            key: st.query_params.get_all(key) for key in st.query_params})
    return st.session_state["loaded"]


def obtain(name: str) -> Loaded | None:
    """A model besides the sidebar's, on the same device; None where it cannot be had, which is said."""
    device = str(st.session_state["loaded"].model.device)
    factory = st.session_state.get("factory")
    choice = name, device
    return _attempt("other", choice, lambda: _obtain(name, "", device, None, factory, "other", choice))


def _obtain(name: str, arch: str, device: str, upload, factory: str | None, slot: str = "",
            choice: tuple = ()) -> Loaded:
    digest, data = "", b""
    if upload is not None:
        data = upload.getvalue()
        digest, name = hashlib.sha256(data).hexdigest(), f"file:{Path(upload.name).name}"
    # names are typed by visitors: the server's files are the operator's, and so is what it fetches from anywhere
    for typed in (arch, name if name != factory and upload is None else ""):
        if typed.startswith("file:") or "local-dir:" in typed:
            raise ValueError(f"{typed!r} is a path on the server; upload the checkpoint instead.")
        if "hf-hub:" in typed or "hf_hub:" in typed:
            raise ValueError(f"{typed!r} is not fetched from here; load it with sv.load and --model.")
    device = str(choose_device(device))  # "auto" and "cuda:0" are one
    if name != factory and upload is None:
        _fetch(name, slot, choice)
    with st.spinner("Loading the model"):
        model = _load(name, arch, device, digest, name == factory, data)
    code = f"model = sv.load({name!r}{f', arch={arch!r}' if arch else ''}, device={str(model.device)!r})"
    if name == factory:
        module, _, function = name.partition(":")
        code = f"from {module} import {function}\nmodel = {function}()"
    return Loaded(model, f"{name} {arch} {digest} {model.device}", code)


def in_a_sentence(function):
    """Turn any other exception into one that the page shows: networks of one's own fail wherever they like."""
    @wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except SENTENCES:
            raise
        except Exception as error:
            LOG.exception("shown on the page as one sentence")
            raise ValueError(f"The network fails ({type(error).__name__}: {' '.join(str(error).split())}).") from error
    return wrapped


@st.cache_resource(max_entries=4, show_spinner=False)
@in_a_sentence
def _load(name: str, arch: str, device: str, digest: str, is_factory: bool, _data: bytes) -> sv.Model:
    if is_factory:
        model = call_factory(name)
        model.module.to(choose_device(device))
    elif digest:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name[5:])
            path.write_bytes(_data)
            model = sv.load(f"file:{path}", arch=arch or None, device=device)
    else:
        model = sv.load(name, device=device)
    if not model.blocks:
        raise ValueError(f"{name} has no channel attention, so there is nothing to show.")
    return model


def call_factory(name: str) -> sv.Model:
    """The model that "package.module:factory" returns.

    Raises:
        ImportError, ValueError: one sentence, when there is no such function, it fails, or it returns something else.
    """
    module, _, function = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), function)
    except Exception as error:  # an import runs whatever the module holds
        raise ImportError(f"--model {name}: there is no such function ({error}).") from error
    try:
        model = factory()
    except Exception as error:
        raise ValueError(f"--model {name} failed ({type(error).__name__}: {' '.join(str(error).split())}).") from error
    if not isinstance(model, sv.Model):
        raise ValueError(f"--model {name} returned {type(model).__name__}, not a senet_viz.Model.")
    return model


class Fetch:
    """Weights on their way into the cache, by a process of its own: unlike a thread it can be ended at any time.

    What it leaves behind when it is ended is not taken for weights: each client writes beside the file's place.
    """

    def __init__(self, name: str, choice: tuple):
        self.choice, self.before = choice, _cached_bytes()
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "senet_viz", "fetch", name], cwd=ROOT, stdin=subprocess.DEVNULL,
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


def _fetch(name: str, slot: str, choice: tuple) -> None:
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


def _facts(model: sv.Model) -> None:
    kinds = pd.Series([block.kind for block in model.blocks]).value_counts()
    height, width = model.input_size
    facts = {
        "Parameters": f"{model.parameters:,}",
        "Attention": ", ".join(f"{count} {kind}" for kind, count in kinds.items()) + " blocks",
        "Classes": f"{len(model.classes):,}",
        "Input": f"{height}×{width} pixels",
        **{key: value for key, value in model.info.items() if key != "Note"},
        "Device": str(model.device),
    }
    st.markdown("\n".join(f"- **{key}**: {plain(value)}" for key, value in facts.items()))


# --- pictures
# ----------------------------------------------------------------------------------------------------------


@dataclass
class Picture:
    """An upload or a sample; ``path`` is what a script would open."""

    name: str
    path: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def choose_pictures() -> list[Picture]:
    """Uploads and chosen samples, at most ``MAX_PICTURES``; what does not fit is said."""
    samples = {path.stem.replace("_", " "): path for path in sorted(SAMPLES.glob("*.jpg"))}
    left, right = st.columns(2)
    with left:
        uploads = st.file_uploader(
            f"Your photos (up to {MAX_PICTURES})", accept_multiple_files=True, key="uploads",
            help="JPEG, PNG, WebP, GIF (first frame), BMP or TIFF, at most 20 MB and 50 megapixels each. They stay in "
                 "the memory of the server and are not stored.")
    with right:
        chosen = st.pills("Sample pictures", list(samples), selection_mode="multi", default=list(samples)[:2],
                          key="sample", bind="query-params", wrap=True)
    _remember_uploads([upload.name for upload in uploads])
    pictures = [Picture(upload.name, upload.name, upload.getvalue()) for upload in uploads]
    pictures += [Picture(name, str(samples[name].relative_to(ROOT)), samples[name].read_bytes()) for name in chosen]
    if len(pictures) > MAX_PICTURES:
        st.error(f"{len(pictures)} pictures were given; the page shows the first {MAX_PICTURES}.",
                 icon=":material/error:")
    taken: set[str] = set()
    for picture in pictures:
        name, copy = picture.name, 1
        while picture.name in taken:
            copy += 1
            picture.name = f"{name} ({copy})"
        taken.add(picture.name)
    return pictures[:MAX_PICTURES]


def choose_one(pictures: list[Picture], key: str) -> Picture:
    """One of the pictures; a choice that is gone gives way to the first."""
    names = [picture.name for picture in pictures]
    if st.session_state.get(key) not in names:
        st.session_state.pop(key, None)
    name = st.selectbox("Photo", names, key=key, width=260) if len(names) > 1 else names[0]
    return pictures[names.index(name)]


def _remember_uploads(names: list[str]) -> None:
    """Keep the names of uploads in the link: a picture cannot travel in it, but its reader learns what is missing."""
    if names:
        st.session_state["had_uploads"] = True
        st.query_params["photo"] = names
    elif st.session_state.get("had_uploads"):
        st.query_params.pop("photo", None)
    elif missing := st.query_params.get_all("photo"):
        st.info(f"This link also showed {plain(', '.join(missing))}, which {'was' if len(missing) == 1 else 'were'} "
                f"uploaded and cannot travel in a link: upload {'it' if len(missing) == 1 else 'them'} to see the "
                f"whole page.",
                icon=":material/image_not_supported:")


# --- inspection
# --------------------------------------------------------------------------------------------------------


@dataclass
class Inspected:
    """One picture in one model: the view, the tensor that went in, and the picture as the network saw it."""

    view: sv.View
    tensor: torch.Tensor
    seen: np.ndarray


@st.cache_resource(max_entries=32, show_spinner=False)
@in_a_sentence
def _inspect(key: str, digest: str, _model: sv.Model, _data: bytes) -> Inspected:
    tensor = _model.transform(sv.open_image(_data))
    blocks = _model.blocks
    outputs = [(block.name, "output") for block in blocks if block.has_output]
    view = sv.inspect(_model, tensor[None], layers=[*_model.stages.values(), *outputs],
                      features=contribution_points(blocks), retain_graph=True)
    if view.logits.shape[1] != len(_model.classes):
        raise ValueError(f"The network gives {view.logits.shape[1]} logits, but there are {len(_model.classes)} class "
                         f"names.")
    if not view.logits.isfinite().all():
        raise ValueError("The network's output for this picture is not finite, so its gates say nothing.")
    return Inspected(view, tensor, _model.seen(tensor))


def inspect_all(loaded: Loaded, pictures: list[Picture]) -> dict[str, Inspected]:
    """One forward for each new picture; what cannot be read or run is said in a sentence and left out."""
    results, place = {}, st.empty()
    for number, picture in enumerate(pictures, 1):
        if len(pictures) > 1:
            place.progress(number / len(pictures), f"Looking at picture {number} of {len(pictures)}")
        try:
            results[picture.name] = _inspect(loaded.key, picture.digest, loaded.model, picture.data)
        except SENTENCES as error:
            st.error(f"**{plain(picture.name)}**: {plain(str(error))}", icon=":material/error:")
    place.empty()
    return results


@st.cache_data(max_entries=512, show_spinner=False)
def explain(key: str, digest: str, target: int, _view: sv.View) -> tuple[dict, dict]:
    """Grad-CAM and channel weights for one class, from the graph that the view kept: no forward."""
    cams, weights = _view.grad_cam([target]) if _view.cams else ({}, {})  # a view without layers keeps no graph
    return ({point: cam[0, 0].cpu().numpy() for point, cam in cams.items()},
            {point: weight.cpu() for point, weight in weights.items()})


# --- statistics
# --------------------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=16, show_spinner=False)
def _open(path: str, changed: float) -> sv.Statistics:
    return sv.open_statistics(path)


def statistics() -> dict[str, sv.Statistics]:
    """Every collected data set that this visitor may see, by a name to choose it by: the embedded ones, what lies in
    the folder that the operator named, and runs of one's own; what cannot be opened is said in a sentence.
    """
    folders = _runs(EMBEDDED) if EMBEDDED.is_dir() else []
    if allowed := st.session_state.get("allowed"):
        folders += _runs(Path(allowed)) or [Path(allowed)]
    folders += [Path(folder) for folder in st.session_state.get("collected", [])]
    found: dict[str, sv.Statistics] = {}
    for folder in folders:
        try:
            stats = _open(str(folder), changed(folder))
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            continue
        about = stats.metadata
        name = title = f"{about['model']} on {about['data']}, {about['images']:,} pictures"
        if allowed and folder.is_relative_to(Path(allowed)):  # of the same data there may be several
            name = title = f"{folder.name}: {title}"
        copy = 1
        while name in found:
            copy += 1
            name = f"{title} ({copy})"
        found[name] = stats
    return found


def _runs(folder: Path) -> list[Path]:
    """The folders of runs, finished or not: this one and those in it."""
    return [each for each in (folder, *sorted(folder.glob("*/")))
            if any((each / name).is_file() for name in (METADATA, RUN))]


def changed(folder: Path) -> float:
    """When statistics were last written: an operator may collect anew into the same folder."""
    return (folder / METADATA).stat().st_mtime if (folder / METADATA).is_file() else 0.0


@st.cache_data(max_entries=16, show_spinner=False)
def weights(key: str, _model: sv.Model) -> str:
    """What the weights of the model in the sidebar are known by."""
    return weights_hash(_model.module)


# --- showing
# -----------------------------------------------------------------------------------------------------------


def clear(*keys: str) -> None:
    """Take sections out of the report until they are shown again; they keep their places in it."""
    st.session_state["sections"].update(dict.fromkeys(keys))


def show(section: Section, key: str, *, on_select="ignore", text: bool = True,
         headings: dict[str, str] | None = None) -> None:
    """A section on the page: its text, figure, and below it the table to download and the script. Kept for the report.

    Args:
        section: what to show.
        key: unique on the page; names the downloads.
        on_select: see ``st.plotly_chart``.
        text: show the text here too, or keep it for the report.
        headings: show the table here too, with these names for some of its columns; None only offers it as a download.
    """
    st.session_state.setdefault("sections", {})[key] = section
    if section.text and text:
        st.markdown(section.text)
    if headings is not None:
        st.dataframe(section.table, hide_index=True, column_config=headings, alt=section.text)
    if section.figure is not None:
        image = {"format": st.session_state.get("image_format", "png"), "filename": key, "scale": 2}
        st.plotly_chart(
            section.figure, key=f"{key}_figure", on_select=on_select, selection_mode="points",
            width="content" if section.figure.layout.width else "stretch",
            alt=section.figure.layout.meta["alt"],
            config={"displaylogo": False, "toImageButtonOptions": image})
    if section.table is None and not section.script:
        return
    with st.container(horizontal=True):
        if section.table is not None:
            st.download_button("Table as CSV", partial(section.table.to_csv, index=False), f"{key}.csv", "text/csv",
                               key=f"{key}_csv", on_click="ignore", icon=":material/download:")
        if section.script:
            with st.popover("Reproduce this", icon=":material/code:"):
                st.code(section.script, language="python")


@st.fragment
def downloads(title: str, facts: dict[str, str], name: str) -> None:
    """The whole page as one file.

    Args:
        title: of the report.
        facts: further lines at its head, behind those of the model.
        name: of the file.
    """
    st.header("The whole page", anchor="report")
    model = st.session_state["loaded"].model
    facts = {
        "Model": model.name, **model.info, "Parameters": f"{model.parameters:,}", "Device": str(model.device), **facts,
        "Software": f"Python {platform.python_version()}, torch {torch.__version__}, timm {timm.__version__}",
    }
    sections = st.session_state["sections"]
    st.download_button(
        "Report as one HTML file", lambda: report(title, facts, filter(None, sections.values())),
        f"{name}.html", "text/html", key="report", on_click="ignore", icon=":material/article:",
        help="Every figure, table and script of this page, interactive, in a file that opens without a network.")
