"""Edits of gates as the text of one text area: what adds lines to it, and takes the last change back."""
from collections.abc import Sequence

import streamlit as st

import senet_viz as sv
from senet_viz import tables
from senet_viz.experiments import edit_text
from senet_viz.gates.edits import hint
from senet_viz.statistics.archive import COMPONENTS


def write(text: str) -> None:
    """Let the text be another one."""
    st.session_state["edits"] = text


def add(where: str, value: str, channels: str) -> None:
    """One more line: blocks, or a block's channels, and what their gates are to be."""
    write(edit_text.with_line(st.session_state.get("edits", ""), where, value, channels))


def edit_area(blocks: Sequence[sv.AttentionBlock]) -> str:
    """The text area; what is in it, with an edit a line.

    Args:
        blocks: the network's; its examples are of two of these.
    """
    first, last = blocks[0].label, blocks[-1].label
    value = "uniform" if blocks[-1].branches > 1 else "1"
    text = "\n".join(edit_text.lines(st.text_area(
        "Edits", key="edits", bind="query-params", height=100, max_chars=4000,
        placeholder=f"{last}={value}\n{first}[0,2-5]=0", help="An edit a line, or semicolons between: BLOCKS=VALUE or "
        f"BLOCKS[CHANNELS]=VALUE. A value is {hint(*edit_text.VALUES.values())}.")))
    past, last = st.session_state.setdefault("what_past", []), st.session_state.get("what_last", text)
    if text != last:
        past.append(last)
        del past[:-100]
    st.session_state["what_last"] = text
    return text


def undo_and_reset(text: str) -> None:
    """Buttons that bring back the text before, or take it all away."""
    st.button("Undo", key="what_undo", on_click=_undo, disabled=not st.session_state["what_past"],
              icon=":material/undo:")
    st.button("Reset", key="what_reset", on_click=write, args=("",), disabled=not text, icon=":material/restart_alt:")


def _undo() -> None:
    if st.session_state["what_past"]:
        st.session_state["what_last"] = st.session_state["what_past"].pop()
        write(st.session_state["what_last"])


def choose_value(blocks: list[sv.AttentionBlock], words: list[str]) -> str:
    """What gates are to be, as the text of an edit.

    Args:
        blocks: whose gates.
        words: "mean", "rank" and "photo", where there is something that they stand for.
    """
    choices = edit_text.choices(blocks, words)
    kind = st.selectbox("Set to", list(choices), key="what_kind", width=260)
    if kind == edit_text.NUMBER:
        return f"{st.slider('Number', 0.0, 1.0, 0.5, 0.01, key='what_number', width=200):g}"
    if kind == edit_text.SCALED:
        return f"*{st.slider('Factor', 0.0, 2.0, 0.5, 0.05, key='what_factor', width=200):g}"
    if kind == edit_text.TOP:
        most = min(block.channels for block in blocks)
        if int(st.session_state.get("what_top") or 1) > most:
            st.session_state.pop("what_top")
        return f"top {int(st.number_input('Channels kept', 1, most, min(8, most), key='what_top', width=140))}"
    if kind == edit_text.RANKED:
        return f"rank {int(st.number_input('Directions', 0, COMPONENTS, 1, key='what_rank', width=140))}"
    if kind == edit_text.MIXED:
        last = st.slider(f"Weight of {tables.kernel_name(blocks[-1], -1)}", 0.0, 1.0, 0.5, 0.05, key="what_mix",
                         width=200)
        return edit_text.mixture(blocks[-1].branches, last)
    return choices[kind]


def stage_slider(text: str, stage: int, blocks: list[sv.AttentionBlock]) -> None:
    """A slider that writes one line of the text, and stands where that line says.

    Args:
        text: of the edits.
        stage: whose gates.
        blocks: all of the stage's.
    """
    if not (steps := edit_text.stage_steps(blocks)):
        return
    key, kernel = f"what_stage_{stage}", tables.kernel_name(blocks[0], -1)
    st.session_state[key] = edit_text.step_of_stage(text, stage, steps)
    st.select_slider(f"{f'Weight of {kernel} in' if kernel else 'Gates of'} stage {stage}", list(steps), key=key,
                     width=260, on_change=_slide, args=(stage, key, steps))


def _slide(stage: int, key: str, steps: dict[str, str | None]) -> None:
    if key in st.session_state:  # not where the page was left, see ``clicked``
        write(edit_text.with_stage(st.session_state.get("edits", ""), stage, steps[st.session_state[key]]))
