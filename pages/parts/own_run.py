"""A run over folders of one's own photos, whose statistics then stand among those that a visitor may choose."""
from collections import Counter

import streamlit as st
import torch

from pages.parts.archives import RUNS
from pages.parts.model import Loaded
from pages.parts.sections import heading
from pages.parts.sentences import lacking
from senet_viz.collecting import Settings
from senet_viz.collecting.background import Held, Job, labels_of, uploaded
from senet_viz.data.images import MAX_BYTES
from senet_viz.reports.text import number, plain

MAX_PHOTOS = 500  # in a run that a visitor starts
SHARD = 8  # photos between two looks at the cancel button
THREADS = torch.get_num_threads()  # told as the server starts: later a thread is given what a run has set


def take_in() -> None:
    """Add the runs that have ended well to the statistics that this visitor may choose."""
    held: list[Held] = st.session_state.get("jobs", [])
    st.session_state["collected"] = [one.job.out for one in held if one.job.succeeded]


def collecting(loaded: Loaded) -> None:
    """Start a run, follow it, cancel it."""
    heading("Statistics over your own photos", "collect",
            f"Choose a folder with one sub-folder a class, up to {MAX_PHOTOS} photos in all. The run is over "
            f"**{plain(loaded.model.name)}**, the model in the sidebar; its result appears among the statistics at the "
            f"top, for you and until you leave.")
    if lacking(loaded.model, "a run takes logits of classes"):
        return
    held: list[Held] = st.session_state.setdefault("jobs", [])  # the folders live as long as these
    job = held[-1].job if held else None
    uploads = st.file_uploader("Photos in folders", accept_multiple_files="directory", key="folders",
                               type=["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"],
                               disabled=job is not None and job.running, max_upload_size=MAX_BYTES >> 20,
                               help="For more photos, there is `python -m senet_viz collect`.")
    if job is not None:
        if job.running:
            _follow()
            return
        _ended(job)
    if not uploads:
        return
    files = [upload.name for upload in uploads]
    st.markdown(_counted(labels_of(files)))
    if len(files) > MAX_PHOTOS:
        st.error(f"{len(files)} photos are too many for a run from here; the most is {MAX_PHOTOS}.",
                 icon=":material/error:")
        return
    control = st.toggle("With the network with random weights as a control (four times the time)", value=True,
                        key="control")
    if st.button("Collect", icon=":material/play_arrow:", type="primary", key="collect"):
        pictures = uploaded(files, [upload.getvalue() for upload in uploads])
        settings = Settings(batch_size=SHARD, shard_size=SHARD, threads=THREADS,
                            random_weights=3 if control else 0)
        held.append(Job(len(files)).start(loaded.model, pictures, settings, RUNS))
        st.rerun()


def _counted(labels: list[str]) -> str:
    """What was chosen: photos and classes, in one sentence."""
    counts = Counter(filter(None, labels))
    classes = sorted(counts)
    facts = [f"{plain(name)} ({counts[name]})" for name in classes[:12]] + ["…"] * (len(classes) > 12)
    if unlabelled := len(labels) - counts.total():
        facts.append(f"{unlabelled} in no sub-folder, without a class")
    return (f"{len(labels)} photo{'s' * (len(labels) != 1)}, {len(classes)} class{'es' * (len(classes) != 1)}: "
            f"{', '.join(facts)}.")


def _ended(job: Job) -> None:
    if job.error:
        st.error(plain(job.error), icon=":material/error:")
    elif job.stopped:
        st.info(f"Cancelled after {job.done} of {job.total} photos.", icon=":material/cancel:")
    elif job.out not in st.session_state["collected"]:  # it ended while the page was being drawn
        st.rerun()
    else:
        left_out = f", {job.total - job.used} could not be used" if job.used < job.total else ""
        st.success(f"Done: {number(job.used, 'photo')}{left_out}. Choose the result among the statistics at the top.",
                   icon=":material/check:")


@st.fragment(run_every=1.0)
def _follow() -> None:
    job = st.session_state["jobs"][-1].job
    if not job.running:
        st.rerun()
    st.progress(job.done / job.total, f"{job.done} of {job.total} photos")
    st.button("Cancel", icon=":material/cancel:", key="cancel", on_click=job.cancelled.set,
              disabled=job.cancelled.is_set())
