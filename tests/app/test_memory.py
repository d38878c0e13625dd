"""What pages show does not depend on how much they may keep."""
import sys

import numpy as np
import pandas as pd
import pytest
import streamlit as st

from pages.parts import keeping
from senet_viz.models import embedded_models
from tests.app.checks import fine, png, sections

SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
pytestmark = pytest.mark.skipif(not {SE, SK} <= set(embedded_models()), reason="the embedded models are missing")
PHOTOS = [(f"{seed}.png", png(seed), "image/png") for seed in range(6)]


def shown(start) -> dict[str, pd.DataFrame]:
    """The tables of Explore with six photos, at another block and for another class than it begins with."""
    app = start(model=SE, sample="teapot")
    app.file_uploader(key="uploads").set_value(PHOTOS).run()
    app.selectbox(key="block").set_value("SE_3_2").run()
    app.selectbox(key="class").set_value("banana").run()
    fine(app)
    return {key: section.table for key, section in sections(app).items() if section.table is not None}


def test_what_fell_out_is_computed_again_and_is_the_same(start, monkeypatch):
    """60 MB are less than three of these pictures with their maps; the network has nine."""
    st.cache_resource.clear()
    before = shown(start)
    held = keeping.store().bytes
    monkeypatch.setattr(sys, "argv", ["app.py", "--memory", "0.06"])
    st.cache_resource.clear()
    after = shown(start)
    store = keeping.store()
    assert store.budget == 60_000_000 and 0 < store.bytes <= store.budget < held
    assert before.keys() == after.keys() and {"excitation", "grad_cam", "gate_change", "contribution"} <= set(after)
    for key, table in before.items():
        pd.testing.assert_frame_equal(table, after[key], check_exact=True, obj=key)


def test_pages_change_nothing_of_what_is_kept(start):
    """All visitors get the same objects."""
    def values():
        found = {}
        for key, entry in keeping.store()._entries.items():
            if isinstance(entry.value, pd.DataFrame):
                found[key] = entry.value.copy(deep=True)
            elif isinstance(entry.value, np.ndarray):
                found[key] = pd.DataFrame(entry.value.ravel().copy())
        return found

    st.cache_resource.clear()
    app = start(model=SE, sample="teapot")
    for page in ("classes", "anatomy", "what_if", "explore"):
        app.switch_page(f"pages/{page}.py").run()
        fine(app)
    before = values()
    for page in ("classes", "anatomy", "what_if", "explore"):
        app.switch_page(f"pages/{page}.py").run()
    after = values()
    assert len(before) > 5 and before.keys() <= after.keys()
    for key, table in before.items():
        pd.testing.assert_frame_equal(table, after[key], check_exact=True)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much", ""])
def test_memory_is_a_positive_number(text, monkeypatch, capsys):
    import app

    monkeypatch.setattr(sys, "argv", ["app.py", "--memory", text])
    with pytest.raises(SystemExit) as stop:
        app.operator()
    said = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and f"memory is a positive number of gigabytes, not {text!r}" in said


def test_memory_of_the_environment_and_of_the_options(monkeypatch):
    import app

    monkeypatch.setattr(sys, "argv", ["app.py"])
    monkeypatch.delenv("SENET_VIZ_MEMORY", raising=False)
    assert app.operator().memory == 2
    monkeypatch.setenv("SENET_VIZ_MEMORY", "0.5")
    assert app.operator().memory == 0.5
    monkeypatch.setattr(sys, "argv", ["app.py", "--memory", "3"])
    assert app.operator().memory == 3
