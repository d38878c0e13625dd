"""The pages: every file of pages/, called as the file is, and links to them."""
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.checks import fine, sections
from tests.app.conftest import APP


def test_a_new_page_is_one_file(tmp_path):
    (tmp_path / "pages").mkdir()
    shutil.copy(APP, tmp_path / "app.py")
    for name in ("explore", "kernels", "all_gates"):
        Path(tmp_path, "pages", f"{name}.py").write_text(f"import streamlit as st\nst.title({name!r})\n")
    app = AppTest.from_file(str(tmp_path / "app.py"), default_timeout=300).run()
    assert not app.exception and app.title[0].value == "explore"
    app.switch_page("pages/all_gates.py").run()
    assert not app.exception and app.title[0].value == "all_gates"
    assert app.session_state["page"] == "All gates"  # its title


@pytest.mark.parametrize("value, number", [("7", 7), ("1e400", 3), ("-inf", 3), ("Infinity", 3), ("nan", 3), ("x", 3)])
def test_a_link_with_what_is_no_number(tmp_path, value, number):
    (tmp_path / "pages").mkdir()
    shutil.copy(APP, tmp_path / "app.py")
    Path(tmp_path, "pages", "explore.py").write_text(
        "import streamlit as st\nst.number_input('n', 0, 10, 3, key='n', bind='query-params')\n")
    app = AppTest.from_file(str(tmp_path / "app.py"), default_timeout=300)
    app.query_params["n"] = value
    assert not app.run().exception
    assert app.number_input(key="n").value == number


CONTROLS = {  # parameters of controls of which one option always holds
    "explore": ["channels", "over", "image_format"], "classes": ["zoom", "class_channels", "band", "driven_by"],
    "kernels": ["kernel_points", "data_zoom"],
    "what_if": ["what_blocks_of", "what_channels_of"], "training": ["measure"]}


@pytest.mark.parametrize("page", CONTROLS)
def test_a_link_with_parameters_without_values(start, page):
    link = {"page": page, "model": "demo/sknet50_slim", "sample": "teapot"}
    fine(plain := start(**link))
    fine(empty := start(**link, **{key: [""] for key in CONTROLS[page]}))
    known = {control.key for control in empty.segmented_control}
    assert known.issuperset(CONTROLS[page]) and sections(empty).keys() == sections(plain).keys()


def test_every_control_is_asked_for():
    source = "".join(file.read_text(encoding="utf-8") for file in APP.parent.glob("pages/**/*.py"))
    assert "st.segmented_control(" not in source.replace("chosen = st.segmented_control(", "", 1)  # but in ``one_of``
