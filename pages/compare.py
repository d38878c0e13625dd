"""Compare: two networks side by side, over what was collected of them, and on one's own photos."""
from collections.abc import Callable, Hashable

import streamlit as st

import senet_viz as sv
from pages.parts.archives import beside_app, collected, last_written
from pages.parts.choices import one_of
from pages.parts.keeping import kept
from pages.parts.model import Loaded, loaded_model, obtain
from pages.parts.pictures import choose_pictures, inspect_all
from pages.parts.sections import clear, downloads, heading, keep, show
from pages.parts.sentences import SENTENCES
from senet_viz.collecting.beside import evaluations_of
from senet_viz.experiments.compare import static_findings, static_gates
from senet_viz.experiments.compare_sections import HEADS as ON_PHOTOS
from senet_viz.experiments.compare_sections import PhotoComparison, static
from senet_viz.models import embedded_models
from senet_viz.reports.text import plain
from senet_viz.statistics.comparison_sections import HEADS, ComparisonSections, run_names
from senet_viz.statistics.sections import Finding

NO_OTHER = "no other network"
OVER_DATA = "Runs"


def main() -> None:
    """The page, top to bottom; each part is a fragment and redraws alone."""
    st.title("Compare")
    st.markdown("Two networks side by side: SE beside SK, before beside after fine-tuning, this checkpoint beside that "
                "one. Over what was collected of them, and on your own photos.")
    loaded = loaded_model(__file__)
    st.session_state["sections"] = {}
    sections = choose_runs()
    if sections is not None:
        over_data(sections)
    photos(loaded)
    names = list(sections.runs) if sections is not None else [loaded.model.name]
    downloads(f"Compare {' and '.join(names)}", {OVER_DATA: ", ".join(names)} if sections is not None else {},
              "compare")


def choose_runs() -> ComparisonSections | None:
    """Two of the collected data sets; None where there are none to compare."""
    found = collected()
    if len(found) < 2:
        st.info("It takes two collected runs to compare networks over a data set, and there are fewer here. On Classes "
                "a small run over your own photos can be started.", icon=":material/info:")
        return None
    names = list(found)
    for key in ("compare_first", "compare_second"):
        if st.session_state.get(key) not in found:
            st.session_state.pop(key, None)
    with st.container(horizontal=True):
        first = st.selectbox("First", names, index=0, key="compare_first", bind="query-params", width=480,
                             help="What the other one is compared with. Runs are what `senet-viz collect` writes; the "
                                  "operator of this server can offer others with `--statistics FOLDER`.")
        second = st.selectbox("Second", names, index=1, key="compare_second", bind="query-params", width=480)
    chosen = [found[first], found[second]]
    zooms = {f"{zoom:g}×": zoom for zoom in chosen[0].zooms if zoom in chosen[1].zooms}
    if not zooms:
        st.info("The two looked at their pictures with different zooms, so that they are not compared.",
                icon=":material/info:")
        return None
    zoom = next(iter(zooms.values()))
    if len(zooms) > 1:
        zoom = zooms[one_of("Zoom", list(zooms), key="compare_zoom", bind="query-params",
                            help="How much the pictures were enlarged.")]
    key = " ".join(f"{stats.path} {last_written(stats.path)}" for stats in chosen)
    return _sections(key, zoom, chosen)


@kept(grows=True)
def _sections(key: str, zoom: float, _stats: list[sv.Statistics]) -> ComparisonSections:
    """What is measured stays with it, for all visitors."""
    names = run_names(_stats)
    return ComparisonSections(dict(zip(names, _stats)),
                              {name: beside_app(stats.path) for name, stats in zip(names, _stats)}, zoom)


def over_data(sections: ComparisonSections) -> None:
    """The parts over collected runs."""
    pair, key = sections.beside(), _key(sections)
    st.caption(f"*{sections.source()}.*")
    _heading("curves")
    _found("curves", key, sections.curves)
    _heading("differences")
    _found("differences", key, pair.differences)
    _heading("classes")
    _classes(key, pair)
    _heading("pictures")
    _found("pictures", key, pair.pictures)
    _heading("channels")
    _found("channels", key, pair.channels)
    _static(sections)


def _key(sections: ComparisonSections) -> Hashable:
    """What the sections are of."""
    return tuple((str(stats.path), last_written(stats.path)) for stats in sections.runs.values()), sections.zoom


def _heading(name: str) -> None:
    head = HEADS[name]
    heading(head.title, name, head.lead, head.more)


def _found(name: str, key: Hashable, make: Callable[[], Finding]) -> None:
    """A section and what was found; where it cannot be had, the reason."""
    try:
        with st.spinner("Comparing"):
            section = keep(key, make)
    except SENTENCES as error:
        _reason(error)
        return
    _shown(section, name)


def _shown(section: Finding, key: str) -> None:
    show(section, f"compare_{key}", text=False)
    st.markdown("".join(f"\n- {finding}" for finding in section.found))


def _reason(error: Exception) -> None:
    text = str(error)
    st.info(f"{plain(text[0].upper() + text[1:])}.", icon=":material/info:")


def _classes(key: Hashable, pair) -> None:
    try:
        with st.spinner("Comparing"):
            section, matrix = keep(key, pair.classes)
    except SENTENCES as error:
        _reason(error)
        return
    _shown(section, "classes")
    st.subheader(matrix.title, anchor="matrix")
    show(matrix, "compare_matrix", text=False)


def _static(sections: ComparisonSections) -> None:
    head = ON_PHOTOS["static"]
    heading(head.title, "static", head.lead, head.more)
    try:
        table = keep(_key(sections), lambda: static_gates({
            name: (each, sections.runs[name].blocks) for name, each in evaluations_of(sections.runs).items()}))
    except SENTENCES as error:
        _reason(error)
        return
    if not (table["level"] == "stage").any():
        st.info(" ".join(static_findings(table, list(sections.runs))), icon=":material/info:")
        return
    _shown(keep(_key(sections), lambda: static(table, sections.paths)), "static")


@st.fragment
def photos(loaded: Loaded) -> None:
    """The model in the sidebar and another one, live."""
    head = ON_PHOTOS["photos"]
    heading(head.title, "photos", head.lead, head.more)
    clear("compare_photos", "compare_distances")
    options = [*(name for name in embedded_models() if name != loaded.model.name), NO_OTHER]
    other = st.selectbox(f"Beside {plain(loaded.model.name)}", options, key="compare_other", bind="query-params",
                         accept_new_options=True, width=320,
                         help="timm/NAME or torchvision/NAME can be typed; such weights are downloaded once.")
    pictures = choose_pictures()
    if other in (NO_OTHER, None):
        return
    if not pictures:
        st.info("Upload photos or choose a sample picture to see its gates in both networks.",
                icon=":material/add_photo_alternate:")
        return
    second = obtain(other)
    if second is None:
        return
    models = {loaded.model.name: loaded, **({second.model.name: second} if second.key != loaded.key else {})}
    looks = {name: inspect_all(each, pictures) for name, each in models.items()}
    common = [picture for picture in pictures if all(picture.name in of for of in looks.values())]
    if not common:
        return
    views = {name: {picture.name: of[picture.name].view for picture in common} for name, of in looks.items()}
    section = PhotoComparison(views, {name: each.code for name, each in models.items()},
                              {picture.name: picture.path for picture in common})
    key = (tuple((name, each.key) for name, each in models.items()),
           tuple((picture.name, picture.path, picture.digest) for picture in common))
    _shown(keep(key, section.gates), "photos")
    if (apart := keep(key, section.distances)) is not None:
        show(apart, "compare_distances")


main()
