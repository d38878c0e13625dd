"""How a section is shown, and the whole page as one file."""
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import streamlit as st

from pages.parts.first_chart import drawn
from pages.parts.keeping import kept
from senet_viz.experiments.picture_report import model_facts
from senet_viz.reports.html import Section, report
from senet_viz.reports.made import made

# a figure wider than the window scrolls sideways; its edge fades while there is more, where the browser can tell
FADE = "@keyframes more { from, 98% { mask-image: linear-gradient(to right, #000 calc(100% - 3rem), transparent); } }"
SCROLLS = "overflow-x: auto; animation: more linear; animation-timeline: scroll(self inline);"
WHOLE = 20  # rows of a table that is shown whole; a longer one scrolls
T = TypeVar("T")


def keep(key: Hashable, make: Callable[..., T], *arguments: Hashable, **named: Hashable) -> T:
    """What a function gives for some arguments, a section for instance; made once, for all reruns and visitors.

    Args:
        key: everything else that it depends on, such as the model and the pictures, by their digests.
        make: the function, or a method; two are the same where they are written the same.
        arguments, named: its arguments.
    """
    return _made((key, make.__code__, arguments, tuple(named.items())), partial(make, *arguments, **named))


@kept()
def _made(key: Hashable, _make: Callable[[], T]) -> T:
    return _make()


def heading(title: str, anchor: str, lead: str, more: str = "", *, part: bool = False) -> str:
    """The head of a section: what it shows in one or two lines, and the rest of its explanation on request.

    Args:
        title: as the table of contents shows it.
        anchor: what a link to the section ends in.
        lead: one or two lines of Markdown.
        more: how to read what follows, what it is measured on and compared with; Markdown.
        part: of the section above, one level down.

    Returns:
        All of the explanation, for the report.
    """
    (st.subheader if part else st.header)(title, anchor=anchor)
    if lead:
        st.markdown(lead)
    if more:
        with st.expander("How to read this"):
            st.markdown(more)
    return f"{lead} {more}".strip()


def clear(*keys: str) -> None:
    """Take sections out of the report until they are shown again; they keep their places in it."""
    st.session_state["sections"].update(dict.fromkeys(keys))


def show(section: Section, key: str, *, about: str = "", on_select="ignore", text: bool = True,
         headings: dict[str, str] | None = None) -> None:
    """A section on the page: its text, figure, and below it the table to download and the script. Kept for the report.

    Args:
        section: what to show.
        key: unique on the page; names the downloads.
        about: what stands at the section's head; in the report it comes before the text.
        on_select: see ``st.plotly_chart``.
        text: show the text here too, or keep it for the report.
        headings: show the table here too, with these names for some of its columns; None only offers it as a download.
    """
    st.session_state.setdefault("sections", {})[key] = replace(
        section, text=f"{about} {section.text}".strip()) if about else section
    if section.text and text:
        st.markdown(section.text)
    if headings is not None:
        st.dataframe(section.table, hide_index=True, column_config=headings, alt=section.text, placeholder="",
                     height="content" if len(section.table) <= WHOLE else "auto")
    if section.figure is not None:
        if width := section.figure.layout.width:
            st.html(f"<style>{FADE} .st-key-{key}_figure {{ {SCROLLS} }} "
                    f".st-key-{key}_figure > * {{ min-width: {width:g}px; }}</style>")
        image = {"format": st.session_state.get("image_format") or "png", "filename": key, "scale": 2}
        st.plotly_chart(
            section.figure, key=f"{key}_figure", on_select=on_select, selection_mode="points",
            width="content" if width else "stretch",
            alt=section.figure.layout.meta["alt"],
            config={"displaylogo": False, "toImageButtonOptions": image})
        drawn()
    if section.table is None and not section.script:
        return
    with st.container(horizontal=True):
        if section.table is not None:
            st.download_button("Table as CSV", partial(section.table.to_csv, index=False), f"{key}.csv", "text/csv",
                               key=f"{key}_csv", on_click="ignore", icon=":material/download:")
        if section.script:
            with st.popover("Reproduce this", icon=":material/code:"):
                st.code(section.script, language="python")


def clicked(key: str) -> dict:
    """The point of a section's chart that was clicked; {} where there is none.

    Nor is there a chart where its page was left: what a browser knew of that page's widgets it can send once more with
    the next page's first question, and Streamlit calls what was to be called on a change.
    """
    chart = st.session_state.get(f"{key}_figure")
    return dict(chart.selection.points[0]) if chart and chart.selection.points else {}


def clicked_number(key: str) -> int | None:
    """The number that the clicked point stands for, such as a channel's."""
    number = clicked(key).get("customdata")
    return None if number is None else int(number[0] if isinstance(number, (list, tuple)) else number)


def downloads(title: str, facts: dict[str, str], name: str) -> None:
    """The whole page as one file.

    Args:
        title: of the report.
        facts: further lines at its head, behind those of the model.
        name: of the file.
    """
    facts, sections = model_facts(st.session_state["loaded"].model) | facts | made(), st.session_state["sections"]
    offer(name, lambda: report(title, facts, filter(None, sections.values())))


@st.fragment
def offer(name: str, make: Callable[[], str]) -> None:
    """A button for the whole page as one file, which is made when it is pressed.

    Args:
        name: of the file.
        make: gives the report.
    """
    st.header("The whole page", anchor="report")
    st.download_button(
        "Report as one HTML file", make, f"{name}.html", "text/html", key="report", on_click="ignore",
        icon=":material/article:",
        help="Every figure, table and script of this page, interactive, in a file that opens without a network.")
