import pytest

from tests.browser.conftest import ROOT, START, serving

pytestmark = pytest.mark.browser


def test_settings_are_the_apps_own_wherever_it_is_started(browser, tmp_path):
    """Against those that lie in the folder."""
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(
        "[server]\nmaxUploadSize = 7\n[theme]\nprimaryColor = \"#FF0000\"\n")
    with serving(tmp_path / "log", lambda port: ["senet_viz", "app", "--port", port], tmp_path, HOME=str(tmp_path),
                 PYTHONPATH=str(ROOT)) as address:
        page = browser.new_page(color_scheme="light")
        page.goto(address, timeout=START * 1000)
        limit = page.get_by_text("per file").first
        limit.wait_for(state="attached", timeout=START * 1000)
        assert limit.inner_text().startswith("20MB")
        colours = page.evaluate(
            "[...document.querySelectorAll('*')].flatMap(one => [getComputedStyle(one).color, "
            "getComputedStyle(one).borderColor, getComputedStyle(one).backgroundColor])")
        assert "rgb(0, 101, 158)" in colours and "rgb(255, 0, 0)" not in colours
        page.close()
