"""The pages: every file of pages/, called as the file is."""
import shutil
from pathlib import Path

from streamlit.testing.v1 import AppTest

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
