"""The model in the sidebar, and others beside it."""
import hashlib
import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

import senet_viz as sv
from pages.parts.choices import one_of
from pages.parts.download import fetch_weights
from pages.parts.keeping import kept
from pages.parts.sentences import SENTENCES, in_a_sentence
from senet_viz.gates.answers import OTHER, SEGMENTATION
from senet_viz.models import available_devices, catalog, choose_device, embedded_models, for_and_against
from senet_viz.models.binary import TwoSided
from senet_viz.reports import scripts
from senet_viz.reports.text import plain

OWN_CHECKPOINT = "A checkpoint file of your own"
MAX_CHECKPOINT = 500  # MB; the server's own limit, server.maxUploadSize, must not be below it
PAPERS = (  # the papers' own networks first
    "timm/legacy_seresnet50.in1k", "timm/legacy_senet154.in1k", "timm/skresnext50_32x4d.ra_in1k",
    "timm/seresnet50.ra2_in1k")


@dataclass
class Loaded:
    """A model and how to get it: ``key`` for caches, ``code`` for scripts."""

    model: sv.Model
    key: str
    code: str


@dataclass
class Upload:
    """A checkpoint file of a visitor, and how it is to be read."""

    file: UploadedFile
    arch: str
    ignore_unexpected: bool


def offered(name: str) -> bool:
    """Whether visitors may have a network of this name, or with "file:" one of their own files: what the operator's
    ``--models`` match; all of them without it.
    """
    patterns = st.session_state.get("patterns")
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def sidebar(factory: str | None) -> Loaded | None:
    """Choice of model and device, and what the model is; where a choice fails, the page goes on with the last one.

    None where there is no last one and no embedded model is offered.
    """
    embedded = [name for name in embedded_models() if offered(name)]
    own = [OWN_CHECKPOINT] if offered("file:") else []
    with st.sidebar:
        name = _choose_model([*([factory] if factory else []), *embedded, *own])
        upload = _choose_checkpoint() if name in own else None
        device = st.selectbox("Device", ["auto", *available_devices()], key="device", bind="query-params")
        loaded = None
        if name in own and upload is None:
            st.info("Choose a checkpoint file; until then the page shows another model.")
        elif name:
            choice = name, device, *((upload.file.file_id, upload.arch, upload.ignore_unexpected) if upload else ())
            loaded = _attempt("model", choice, lambda: _obtain(name, device, factory, upload, "model", choice))
        if loaded is None:
            loaded = st.session_state.get("loaded")
            if loaded is None and embedded:
                loaded = _obtain(embedded[0], "auto", None)
            if loaded is None:
                return None
            st.caption(f"The page goes on with {plain(loaded.model.name)}.")
        elif name in own:
            st.caption(plain(loaded.model.name))
        _facts(loaded.model)
        one_of("Figures download as", ["png", "svg"], key="image_format", bind="query-params",
               help="With the camera in the tool bar of each figure.")
    return loaded


def _choose_checkpoint() -> Upload | None:
    """A file of one's own; None before there is one."""
    file = st.file_uploader("Checkpoint", max_upload_size=MAX_CHECKPOINT, key="checkpoint",
                            help="safetensors, or a .pt/.pth file of tensors, numbers and text; it may be what a "
                                 "training script wrote, with the optimizer beside the weights.")
    arch = st.text_input("Architecture", key="arch", bind="query-params", placeholder="timm/seresnet50",
                         help="timm/NAME or torchvision/NAME; the number of classes is the file's. Not needed for "
                              "files written by python -m senet_viz train.")
    ignore_unexpected = st.checkbox("Ignore unexpected tensors", key="ignore_unexpected", bind="query-params",
                                    help="Leave out what the architecture has no place for, such as another head's.")
    return Upload(file, arch.strip(), ignore_unexpected) if file else None


def _choose_model(first: list[str]) -> str:
    """A name out of the whole catalogue, searched by typing, or any other."""
    table, patterns = catalog(), st.session_state.get("patterns")
    labels, rest = _listed(tuple(first), tuple(patterns or ()), tuple(table["downloaded"]), table)
    others = (f"This server offers {', '.join(map(plain, patterns))}, listed or not." if patterns else
              "Any other timm or torchvision name can be typed: timm/NAME or torchvision/NAME.")
    # the address holds the bare name: what bind="query-params" would put there is the label
    chosen = st.session_state.get("model") or st.query_params.get("model")
    if chosen:
        st.session_state["model"] = chosen.partition(" · ")[0].strip()  # a label of before the weights were downloaded
    name = st.selectbox(
        "Model", [*first, *rest], key="model", format_func=lambda name: labels.get(name, name),
        accept_new_options=True,
        help="Type to search: name, number and kind of attention blocks, parameters, published top-1. Embedded models "
             f"(demo/…) work without a network, the others are downloaded once. {others}")
    default = next(iter([*first, *rest]), "")
    name = (name or default).partition(" · ")[0].strip()
    # the box cuts what is longer than it is wide: below it stands the whole
    st.html("<style>.stSelectbox input { text-overflow: ellipsis; }</style>")
    if name in labels:
        st.caption(" · ".join(plain(part) for part in labels[name].split(" · ")))
    if name == default:
        st.query_params.pop("model", None)
    elif st.query_params.get("model") != name:
        st.query_params["model"] = name
    return name


@kept()
def _listed(first: tuple[str, ...], patterns: tuple[str, ...], downloaded: tuple[bool, ...], _table: pd.DataFrame
            ) -> tuple[dict[str, str], list[str]]:
    """How each network of the catalogue is shown, and those that come behind the first ones, in their order."""
    table = _table.set_index("name", drop=False)
    rest = sorted(filter(offered, table.index.difference(first)),
                  key=lambda name: (not table["downloaded"][name], name not in PAPERS))
    return table.apply(_label, axis=1).to_dict(), rest


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


def loaded_model(page: str) -> Loaded:
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
    return _attempt("other", choice, lambda: _obtain(name, device, factory, None, "other", choice))


def _obtain(name: str, device: str, factory: str | None, upload: Upload | None = None, slot: str = "",
            choice: tuple = ()) -> Loaded:
    digest, arch, ignore_unexpected = "", "", False
    if upload:
        digest, arch, ignore_unexpected = _digest(upload.file), upload.arch, upload.ignore_unexpected
        name = f"file:{Path(upload.file.name).name}"
    # names are typed by visitors: the server's files are the operator's, and so is what it fetches from anywhere
    for typed in (arch, name if name != factory and not upload else ""):
        if typed.startswith("file:") or "local-dir:" in typed:
            raise ValueError(f"{typed!r} is a path on the server; upload the checkpoint instead.")
        if "hf-hub:" in typed or "hf_hub:" in typed:
            raise ValueError(f"{typed!r} is not fetched from here; load it with sv.load and --model.")
        if typed and not offered(typed):
            raise ValueError(f"This server does not offer {typed!r}.")
    device = str(choose_device(device))  # "auto" and "cuda:0" are one
    if name != factory and not upload:
        fetch_weights(name, slot, choice)
    with st.spinner("Loading the model"):
        model = _load(name, device, digest, arch, ignore_unexpected, name == factory, upload and upload.file)
    code = scripts.load_model(name, str(model.device), arch=arch, ignore_unexpected=ignore_unexpected)
    if name == factory:
        module, _, function = name.partition(":")
        code = f"from {module} import {function}\nmodel = {function}()"
    if isinstance(model.output, TwoSided):
        code = scripts.for_and_against(code)
    return Loaded(model, f"{name} {arch} {digest} {ignore_unexpected} {model.device}", code)


def _digest(upload: UploadedFile) -> str:
    """Of an uploaded file, taken once: a checkpoint may be large."""
    known = st.session_state.setdefault("digests", {})
    if upload.file_id not in known:
        known.clear()
        known[upload.file_id] = hashlib.sha256(upload.getbuffer()).hexdigest()
    return known[upload.file_id]


@kept()
@in_a_sentence
def _load(name: str, device: str, digest: str, arch: str, ignore_unexpected: bool, is_factory: bool,
          _file: UploadedFile | None) -> sv.Model:
    if is_factory:
        model = call_factory(name)
        model.module.to(choose_device(device))
    elif _file:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name[5:])
            path.write_bytes(_file.getbuffer())
            model = sv.load(f"file:{path}", arch=arch or None, device=device, ignore_unexpected=ignore_unexpected)
    else:
        model = sv.load(name, device=device)
    model.check_pictures()
    if not model.blocks:
        raise ValueError(f"{name} has no channel attention, so there is nothing to show.")
    return for_and_against(model) if model.answer.binary else model


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


def _facts(model: sv.Model) -> None:
    kinds = pd.Series([block.kind for block in model.blocks]).value_counts()
    height, width = model.input_size
    given = {SEGMENTATION: "a class for each pixel", OTHER: "no logits of classes"}.get(model.answer.task)
    if isinstance(model.output, TwoSided):
        given = "one logit, for and against"
    facts = {
        "Parameters": f"{model.parameters:,}",
        "Attention": ", ".join(f"{count} {kind}" for kind, count in kinds.items()) + " blocks",
        "Classes": f"{len(model.classes):,}",
        **({"Output": given} if given else {}),
        "Input": f"{height}×{width} pixels",
        **{key: value for key, value in model.info.items() if key != "Note"},
        "Device": str(model.device),
    }
    st.markdown("\n".join(f"- **{key}**: {plain(value)}" for key, value in facts.items()))
