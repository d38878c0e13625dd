"""Ablations that come with the program, trained, beside what was published of them."""
import pandas as pd
import streamlit as st

from pages.parts.keeping import kept
from pages.parts.sections import clear, heading, show
from pages.parts.sentences import SENTENCES
from senet_viz.reports.html import Section
from senet_viz.reports.text import plain
from senet_viz.training import ablation_sections

ANCHOR = "ablations"
NUMBER = st.column_config.NumberColumn
POINTS = {"format": "%+.2f"}
HEADINGS = {
    "label": "variant", "trained": NUMBER("seeds", width=60),
    "top1": NUMBER("top-1, %", format="%.1f"), "top5": NUMBER("top-5, %", format="%.1f"),
    "difference": NUMBER("change", **POINTS, help=(
        "Of top-1 from the reference, in points, over the seeds that both have. Where the reference has more seeds, it "
        "is not the difference of the two accuracies in this table.")),
    "low_both": NUMBER("from", **POINTS, help="95 % interval over pictures and seeds, in points."),
    "high_both": NUMBER("to", **POINTS, help="95 % interval over pictures and seeds, in points."),
    "published": NUMBER("published", **POINTS, help=(
        "Change of top-1 in the SE paper, in points, of SE-ResNet-50 on ImageNet.")),
    "parameters": NUMBER("params", format="%,d"), "macs": NUMBER("MACs", format="%,d"),
    "dimension": NUMBER("directions", format="%.1f", help=(
        "In how many directions the median block's gate moves from picture to picture at the end of the training; 1 "
        "where all its channels move as one number."))}


@kept()
def _embedded() -> Section | None:
    """Kept as it is drawn: what is said of it reads the answers of its trainings."""
    found = ablation_sections.embedded_ablation()
    return None if found is None else ablation_sections.trained(found)


def there() -> bool:
    """Whether there is an ablation to show."""
    try:
        return _embedded() is not None
    except SENTENCES:
        return True  # and what is wrong with it


def link() -> str:
    """A sentence that leads to the trained variants; "" where there are none."""
    return f"Trained from the start with such gates: [Ablations trained here](#{ANCHOR})." if there() else ""


def ablations() -> None:
    """The section; nothing where no ablation comes with the program."""
    clear("ablations")
    if not there():
        return
    heading("Ablations trained here", ANCHOR, "Which r, squeeze, excitation and place is best, and what do the wrong "
            "structures cost? Small networks were trained alike with each.", ablation_sections.HOW)
    try:
        section = _embedded()
    except SENTENCES as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    show(section, "ablations")
    st.markdown("\n".join(f"- {point}" for point in section.points))
    with st.expander("All variants in numbers, beside the published ones"):
        st.dataframe(_in_points(section), hide_index=True, column_config=HEADINGS, alt=section.text, height="content",
                     placeholder="")


def _in_points(section: Section) -> pd.DataFrame:
    percent = ["top1", "top5", "difference", "low_both", "high_both", "published"]
    return section.table[ablation_sections.SHOWN].assign(**{name: 100 * section.table[name] for name in percent})
