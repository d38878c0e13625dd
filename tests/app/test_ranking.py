"""The table of a picture's most probable classes."""
import re

from streamlit.testing.v1 import AppTest


def page():
    """The script of a page."""
    from types import SimpleNamespace

    import pandas as pd

    from pages.parts.ranking import ranking
    model = SimpleNamespace(classes=["tench", "tabby, tabby cat", '<b>"x"'], class_labels=["tench", "tabby", '<b>"x"'])
    ranking(pd.DataFrame({"index": [1, 2, 0], "probability": [0.5, 0.25, 0.0]}), model, "Predictions for <i>")


def test_short_names_with_the_whole_under_the_pointer():
    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception
    body = app.get("html")[0].proto.body
    cells = re.findall(r"<tr><td>(.*?)</td>", body)
    assert cells == ['<abbr title="tabby, tabby cat">tabby</abbr>', "&lt;b&gt;&quot;x&quot;", "tench"]
    assert re.findall(r"background-size: ([\d.]+)% 100%", body) == re.findall(r"<td>([\d.]+)%</td>", body)
    assert re.findall(r"<td>([\d.]+)%</td>", body) == ["50.0", "25.0", "0.0"]
    assert 'aria-label="Predictions for &lt;i&gt;"' in body
