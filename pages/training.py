"""Training: what a monitor saw of a network's attention while it trained; two runs side by side."""
from hashlib import sha256

import streamlit as st

from pages.parts.choices import one_of
from pages.parts.keeping import kept
from pages.parts.model import loaded_model
from pages.parts.sections import clear, downloads, heading, show
from senet_viz.data.places import APP
from senet_viz.reports.text import file_name, plain
from senet_viz.training.log import MEASURES, LogError, embedded_logs, read_log
from senet_viz.training.log_sections import HEADS, LogSections

NO_OTHER = "no other run"
MAX_SIZE = 64 << 20  # bytes of an uploaded log


def main() -> None:
    """The page, top to bottom."""
    st.title("Training")
    st.markdown("Does the attention of a network live while it trains, or does it collapse? Neither the loss nor the "
                "accuracy tells. A monitor (`sv.Monitor`) measures it in the training's own forwards; its log opens "
                "here.")
    loaded_model(__file__)
    st.session_state["sections"] = {}
    runs = choose_runs()
    if runs is None:
        return
    heading(HEADS["map"][0], "map", *HEADS["map"][1:])
    measure = one_of("Measure", list(MEASURES), default="dimension", key="measure", bind="query-params",
                     format_func=lambda column: MEASURES[column][0])
    for number, name in enumerate(runs.runs):
        show(runs.map(name, measure), f"training_map_{number}")
        st.markdown("".join(f"\n- {finding}" for finding in runs.findings(name)))
    curves(runs, measure)
    downloads("Training", {"Logs": ", ".join(runs.runs)}, f"{file_name(next(iter(runs.runs)))}_training")


def choose_runs() -> LogSections | None:
    """One or two logs: those that come with the program, and uploads."""
    uploads = st.file_uploader("Logs of a monitor", type=["parquet"], accept_multiple_files=True, key="logs",
                               max_upload_size=MAX_SIZE >> 20, on_change=_show_the_last,
                               help="Parquet files that `Monitor.save` wrote. `python -m senet_viz train` puts one "
                                    "beside the weights.")
    sources: dict[str, bytes | str] = {name: str(path) for name, path in embedded_logs().items()}
    for upload in uploads:
        if upload.size > MAX_SIZE:
            st.error(f"**{plain(upload.name)}**: a log of more than {MAX_SIZE >> 20} MB is not opened.",
                     icon=":material/error:")
        else:
            sources[upload.name] = upload.getvalue()
    if not sources:
        st.info("Upload the log of a training to see it. `docs/training.md` shows how a monitor is put into a training "
                "loop, Lightning, or timm's script: three lines each.", icon=":material/info:")
        return None
    names = list(sources)
    with st.container(horizontal=True):
        first = st.selectbox("Run", names, key="run", width=300)
        others = [NO_OTHER, *(name for name in names if name != first)]
        second = st.selectbox("Beside", others, index=min(1, len(others) - 1), key="beside", width=300)
    runs, paths = {}, {}
    for name in dict.fromkeys((first, second)):
        if name == NO_OTHER:
            continue
        source = sources[name]
        try:
            runs[name] = _read(sha256(source).hexdigest() if isinstance(source, bytes) else source, source)
        except (LogError, OSError) as error:
            st.error(f"**{plain(name)}**: {plain(str(error))}", icon=":material/error:")
        paths[name] = name if isinstance(source, bytes) else source.removeprefix(f"{APP}/")
    return LogSections(runs, paths) if runs else None


def _show_the_last() -> None:
    """A log that was just uploaded is the one to look at."""
    if uploads := st.session_state.get("logs"):
        st.session_state["run"] = uploads[-1].name


@kept()
def _read(key: str, _source: bytes | str):
    return read_log(_source)


@st.fragment
def curves(runs: LogSections, measure: str) -> None:
    """One block, of both runs."""
    heading(HEADS["curves"][0], "curves", HEADS["curves"][1])
    clear("training_curves")
    label = st.selectbox("Block", runs.labels, index=runs.labels.index(runs.telling()), key="training_block",
                         bind="query-params", width=160)
    show(runs.curves(label, measure), "training_curves")


main()
