"""What is chosen on one page holds on the others, though Streamlit forgets a widget when its page is left."""
from collections.abc import Collection, Sequence
from typing import Any

import streamlit as st

import senet_viz as sv
from senet_viz.reports.text import plain


def arrive(page: str) -> None:
    """At the beginning of a run of a page: whoever comes from another one takes along what was chosen there."""
    if st.session_state.get("page") != page:
        st.session_state.update(page=page, recalled=set())


def one_of(label: str, options: Sequence[Any], *, default: Any = None, **more: Any) -> Any:
    """``st.segmented_control`` of which one option always holds, the first by default: a link that names the parameter
    without a value leaves the control empty.
    """
    default = options[0] if default is None else default
    chosen = st.segmented_control(label, options, default=default, required=True, **more)
    return default if chosen is None else chosen


def recall(key: str, subject: str, offered: Collection[Any] | None = None) -> None:
    """Let a widget begin with what was last chosen for a subject, on whatever page, where no link says otherwise.

    Args:
        key: of the widget that comes next.
        subject: what its value is about: "photo", "class", …
        offered: what can be chosen there; anything else is not recalled.
    """
    chosen = st.session_state.setdefault("choices", {})
    recalled = st.session_state.setdefault("recalled", set())
    drawn = key in recalled  # before it is, it may still have a value of when its page was left
    recalled.add(key)
    if (key in st.session_state and drawn) or key in st.query_params:
        return
    if subject in chosen and (offered is None or chosen[subject] in offered):
        st.session_state[key] = chosen[subject]


def remember(key: str, subject: str, *, but: Any = None) -> None:
    """Keep the value of the widget with this key for other pages; ``but`` says that nothing is chosen."""
    chosen = st.session_state.setdefault("choices", {})
    if (value := st.session_state[key]) == but:
        chosen.pop(subject, None)
    else:
        chosen[subject] = value


def choose_class(model: sv.Model, key: str, nothing: str, *, first: Collection[str] = (), title: str = "Class",
                 about: str = "", **options: Any) -> int | None:
    """One of the model's classes, the same on every page until another is chosen.

    Args:
        model: whose classes.
        key: of the select box, and of its value in the link.
        nothing: the first option, with which no class is chosen.
        first: classes to offer before all others.
        title: of the select box.
        about: its help.
        options: further ones of ``st.selectbox``.

    Returns:
        The index; None where none is chosen.

    Raises:
        ValueError: one sentence, where what was typed names no class or several.
    """
    labels = model.class_labels
    recall(key, "class", labels)
    names = dict(zip(labels, model.classes))
    wanted = st.selectbox(
        title, [nothing, *first, *(label for label in labels if label not in set(first))], key=key,
        bind="query-params", accept_new_options=True, help=f"{about} Part of a name can be typed.".strip(), **options)
    remember(key, "class", but=nothing)
    if wanted in (nothing, None):
        return None
    index = model.class_index(wanted)
    if (whole := names[labels[index]]) != labels[index]:
        st.caption(plain(whole))
    return index
