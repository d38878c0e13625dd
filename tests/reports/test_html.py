"""The report: one file that needs nothing else, says what it leaves out, and takes no name for markup."""
import base64
import html
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from senet_viz.figures.drawing import Drawing
from senet_viz.figures.maps import data_uri
from senet_viz.figures.style import finish
from senet_viz.reports.html import ROWS, SHORT, Section, report
from senet_viz.reports.text import plain

UGLY = "<script>alert(1)</script> & \"q\" 'a' <img src=http://example.com/x.png onerror=alert(1)> 写真 😀 $x$ **b** `c`"


class Reader(HTMLParser):
    """Tags with their attributes, the text outside scripts and styles, and the scripts and styles themselves."""

    def __init__(self, document: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.text, self.code, self._open = "", [], []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag  # well formed

    def handle_data(self, data):
        if self._open and self._open[-1] in ("script", "style"):
            self.code.append((self._open[-1], data))
        else:
            self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def figure() -> go.Figure:
    drawing = Drawing()
    drawing.add_scatter(y=[1.5, 2.25], name="</script>" + UGLY)
    return finish(drawing, alt="two points " + UGLY)


@pytest.fixture
def document(figure) -> str:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    table = pd.DataFrame({"picture": UGLY, "value": np.arange(3) / 7})
    return report("Title " + UGLY, {"Model": UGLY}, [
        Section("Heading " + UGLY, "Text " + plain(UGLY), figure, table, f"x = {UGLY!r}\nprint(x < 1)",
                [("name " + UGLY, picture)]),
        Section("Second", "no figure"), Section("Third", table=table)])


def test_nothing_outside_the_file_is_needed(document):
    reader = Reader(document)
    for tag, attrs in reader.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            assert attrs.get(name, "data:").startswith("data:"), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs)
    styles = "".join(code for tag, code in reader.code if tag == "style")
    assert "@import" not in styles and "url(" not in styles
    assert document.isascii() or '<meta charset="utf-8">' in document.partition("<title>")[0]


def test_plotly_and_the_figure_are_inside(document):
    scripts = [code for tag, code in Reader(document).code if tag == "script"]
    plotly = max(scripts, key=len)
    assert len(plotly) > 1e6 and "plotly.js v" in plotly[:300]
    assert sum("Plotly.newPlot(" in code for code in scripts if code is not plotly) == 1
    assert document.index(plotly[:300]) < document.index("<body>")  # before the figures that call it


def test_names_are_text(document):
    reader = Reader(document)
    assert reader.text.count(UGLY) == 12  # the title twice, fact, heading, text, picture, three rows in two tables
    assert f"x = {UGLY!r}\nprint(x < 1)" in reader.text
    assert reader.all("img")[0]["alt"] == "name " + UGLY and len(reader.all("img")) == 1
    assert not any(code.startswith("alert") for _, code in reader.code)
    assert not any(tag in ("b", "strong", "em", "code") for tag, _ in reader.tags)


def test_alternative_texts_of_figures(document):
    labelled = [attrs for attrs in Reader(document).all("div") if "aria-label" in attrs]
    assert [attrs["aria-label"] for attrs in labelled] == ["two points " + UGLY] and labelled[0]["role"] == "img"


def test_pictures_are_whole(document):
    source = Reader(document).all("img")[0]["src"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    np.testing.assert_array_equal(pixels, np.arange(48, dtype=np.uint8).reshape(4, 4, 3))


@pytest.mark.parametrize(("rows", "said"), [
    (3, "Table, 3 rows"), (ROWS, f"Table, {ROWS} rows"), (ROWS + 1, f"Table, {ROWS + 1} rows (the first {ROWS})"),
    (12345, f"Table, 12,345 rows (the first {ROWS})")])
def test_a_long_table_is_cut_and_says_so(rows, said):
    reader = Reader(report("t", {}, [Section("s", table=pd.DataFrame({"n": np.arange(rows) + 100_000}))]))
    assert len(reader.all("tr")) == min(rows, ROWS) + 1
    assert said in reader.text.splitlines() or any(line.startswith(said) for line in reader.text.splitlines())
    assert "(the first" in reader.text or rows <= ROWS
    assert str(100_000 + min(rows, ROWS) - 1) in reader.text and str(100_000 + ROWS) not in reader.text


def test_cells_are_whole_and_numbers_have_five_digits():
    name = "x" * 300 + ".jpg"
    reader = Reader(report("t", {}, [Section("s", table=pd.DataFrame({"picture": [name], "value": [1 / 3]}))]))
    assert name in reader.text and "0.33333" in reader.text and "0.333333" not in reader.text


def test_sections_come_in_order(document):
    headings = re.findall(r"<h2>(.*?)</h2>", document)
    assert [html.unescape(h) for h in headings] == ["Heading " + UGLY, "Second", "Third"]


def test_the_figure_of_the_page_is_left_alone(figure):
    before = figure.to_json()
    report("t", {}, [Section("s", figure=figure)])
    assert figure.to_json() == before


def test_a_figure_without_a_description_has_its_heading():
    divs = Reader(report("t", {}, [Section("heading", figure=go.Figure())])).all("div")
    assert [attrs["aria-label"] for attrs in divs if "aria-label" in attrs] == ["heading"]


@pytest.mark.parametrize(("text", "expected"), [
    ("a **bold** word", "a <strong>bold</strong> word"),
    ("*set apart*, `code`", "<em>set apart</em>, <code>code</code>"),
    (f"*{plain('a*b')} c*", "<em>a*b c</em>"),
    ("1 < 2", "1 &lt; 2"),
    (plain("2 * 3 * 4"), "2 * 3 * 4"),
])
def test_marks_of_the_text(text, expected):
    assert f"<p>{expected}</p>" in report("t", {}, [Section("s", text)])


@pytest.mark.parametrize("text", [
    "a*b_c", "[x](http://y)", "$x$", "`q`", "<b>", ":material/error:", "a\\b", "# 1", "写真 😀"])
def test_plain_text_is_undone_by_the_reports_reading(text):
    assert f"<p>{html.escape(text)}</p>" in report("t", {}, [Section("s", plain(text))])


def test_points_are_a_list_and_the_explanation_stands_below_the_figure(figure):
    document = report("t", {}, [Section("s", "text", figure, points=["one **bold**", "1 < 2"], about="how *to* read")])
    assert "<ul><li>one <strong>bold</strong></li><li>1 &lt; 2</li></ul>" in document
    below = document.partition("Plotly.newPlot(")[2]
    assert '<p class="about">how <em>to</em> read</p>' in below and "<ul>" not in below


@pytest.mark.parametrize(("rows", "drawn", "opened"), [
    (SHORT, False, True), (SHORT + 1, False, False), (SHORT, True, False)])
def test_a_short_table_that_stands_alone_is_open(figure, rows, drawn, opened):
    section = Section("s", figure=figure if drawn else None, table=pd.DataFrame({"n": range(rows)}))
    assert ("open" in Reader(report("t", {}, [section])).all("details")[0]) == opened


def test_a_picture_in_several_panels_is_kept_once():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    source, figures = data_uri(picture), []
    for _ in range(2):
        figures.append(go.Figure(go.Scatter(y=[1, 2])))
        for _ in range(3):
            figures[-1].add_layout_image(source=source)
    document = report("t", {}, [Section("s", figure=figure) for figure in figures])
    encoded = source.partition(",")[2]
    assert document.replace("\\u002f", "/").count(encoded) == 1 and document.count("PICTURES[0]") == 6
    assert document.index(encoded[:20]) < document.index("<body>")  # before the figures that show it


def test_a_photo_is_small_and_looks_the_same():
    y, x = np.mgrid[:256, :256]
    noise = np.random.default_rng(0).normal(0, 6, (256, 256, 3))
    picture = (np.stack([x, y, (x + y) / 2], 2) / 2 + 60 + noise).clip(0, 255).astype(np.uint8)
    source = Reader(report("t", {}, [Section("s", pictures=[("photo", picture)])])).all("img")[0]["src"]
    assert len(source) < picture.size / 4
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"), float)
    assert np.abs(shown - picture).mean() < 6


def test_what_figures_draw_has_seven_digits():
    values = np.linspace(0, 1, 2000).reshape(40, 50) ** 2
    document = report("t", {}, [Section("s", figure=go.Figure(go.Heatmap(z=values)))])
    kept = re.search(r'"z":\{"dtype":"(\w+)","bdata":"([^"]+)"', document)
    assert kept[1] == "f4"
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(kept[2].replace("\\u002f", "/")), np.float32),
                               values.ravel(), rtol=1e-6, atol=1e-9)


def test_the_same_report_has_the_same_bytes(figure):
    assert len({report("t", {}, [Section("s", figure=figure)]) for _ in range(2)}) == 1


def test_an_empty_report_is_a_document():
    reader = Reader(report("t", {}, []))
    assert reader.all("body") and not reader.all("section")
