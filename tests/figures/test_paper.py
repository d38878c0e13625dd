"""Figures for print: what is drawn are the table's numbers, at the width asked for, and files hold no pixels."""
import re
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from pypdf import PdfReader

from senet_viz.figures import paper
from senet_viz.figures.style import colour

LABELS = ["SE_2_1", "SE_3_1", "SE_4_1"]


def lines(labels=LABELS, classes=("pug", "all"), channels: int = 120, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.concat([pd.DataFrame({
        "label": label, "class": name, "channel": np.arange(channels), "value": generator.uniform(0.1, 0.9, channels),
        "std": generator.uniform(0.01, 0.2, channels), "error": 0.01, "count": 3, "few": name != "all"})
        for label in labels for name in classes], ignore_index=True)


def changes(classes: int, labels=("SK_2_1", "SK_3_1")) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    return pd.DataFrame({"label": np.repeat(labels, classes), "before": generator.normal(0, 1, classes * len(labels)),
                         "after": generator.normal(0, 1, classes * len(labels))})


def depth(column: dict[str, float]) -> pd.DataFrame:
    generator = np.random.default_rng(2)
    rows = [{"block": f"layer{i}", "label": f"SE_{2 + i // 2}_{i % 2}", "stage": 2 + i // 2, "source": source}
            for source in ("gate", "shuffled", "squeeze", "random") for i in range(4)]
    return pd.DataFrame(rows).assign(**{name: start + generator.uniform(0, 0.1, 16) for name, start in column.items()})


def legend(figure: Figure) -> dict[str, object]:
    """Name → what stands beside it."""
    found, = figure.legends
    return dict(zip([text.get_text() for text in found.get_texts()], found.legend_handles, strict=True))


def overlapping(figure: Figure) -> list[str]:
    """Parts of the figure that run into each other: legend, panels with their ticks and titles, the edge."""
    figure.draw_without_rendering()
    boxes = {f"panel {i}": axes.get_tightbbox() for i, axes in enumerate(figure.axes)}
    boxes |= {f"legend {i}": each.get_window_extent() for i, each in enumerate(figure.legends)}
    return [f"{a} {b}" for a, b in combinations(boxes, 2) if boxes[a].padded(-1).overlaps(boxes[b].padded(-1))] + [
        name for name, box in boxes.items() if box.x0 < -1 or box.y0 < -1 or box.x1 > figure.bbox.x1 + 1
        or box.y1 > figure.bbox.y1 + 1]


@pytest.fixture(autouse=True)
def style(request):
    name = getattr(request, "param", "paper")
    with paper.print_style(name):
        yield name


BOTH = pytest.mark.parametrize("style", list(paper.STYLES), indirect=True)


@BOTH
def test_class_lines(style):
    table = lines()
    figure = paper.class_lines(table, band=True, quantity="weight of 5×5", width=174)
    assert [axes.get_title() for axes in figure.axes] == LABELS
    for axes, label in zip(figure.axes, LABELS, strict=True):
        for line, band, name in zip(axes.lines, axes.collections, ("pug", "all"), strict=True):
            rows = table[(table["label"] == label) & (table["class"] == name)][::3]  # 40 of 120, ⌈120 / 50⌉ = 3
            np.testing.assert_array_equal(line.get_xydata(), rows[["channel", "value"]].to_numpy())
            corners = band.get_paths()[0].vertices
            for x, low, high in zip(rows["channel"], rows["value"] - rows["std"], rows["value"] + rows["std"]):
                ends = corners[corners[:, 0] == x, 1]
                assert (ends.min(), ends.max()) == pytest.approx((low, high))
    entries = legend(figure)
    assert list(entries) == ["pug (n=3)", "all"]
    assert same_color(entries["all"].get_color(), paper.GREY)
    assert figure.get_supylabel() == "weight of 5×5"
    assert not overlapping(figure)


def test_lines_differ_in_more_than_colour():
    names = [f"class {i}" for i in range(8)]
    figure = paper.class_lines(lines(classes=names), width=174)
    assert [line.get_color() for line in figure.axes[0].lines] == [colour(i) for i in range(8)]  # as on the page
    styles = {str(line._unscaled_dash_pattern) for line in figure.axes[0].lines}
    assert len(styles) == len({line.get_color() for line in figure.axes[0].lines}) == 8


@pytest.mark.parametrize("name", ["_hidden", "$x$ $", "100 % {y}", "x" * 80, "<b>", ""])
def test_names_stand_as_they_are(name):
    figure = paper.class_lines(lines(classes=(name, "other", "all")), width=84)
    shown = name if len(name) <= 24 else f"{'x' * 12}…{'x' * 11}"
    assert list(legend(figure)) == [f"{shown} (n=3)", "other (n=3)", "all"]
    assert not overlapping(figure)


@pytest.mark.parametrize("width", [60, 174])
def test_a_legend_of_many_fits(width):
    figure = paper.class_lines(lines(classes=[f"a class of a long name {i}" for i in range(8)]), width=width)
    assert not overlapping(figure)
    assert figure.get_figwidth() * 25.4 == pytest.approx(width)


def test_more_panels_than_a_page_holds():
    labels = [f"SE_4_{i}" for i in range(36)]
    with pytest.raises(ValueError, match=r"^36 panels do not fit on a page 84 mm wide; choose up to 14 blocks$"):
        paper.class_lines(lines(labels, channels=4), width=84)
    figure = paper.class_lines(lines(labels[:14], channels=4), width=84)
    assert figure.get_figheight() * 25.4 <= paper.TALLEST


@pytest.mark.parametrize("width", [84, 174])
def test_kernel_sizes(width):
    generator = np.random.default_rng(4)
    zooms, units = [1.0, 1.5, 2.0], ["SK_2_1", "SK_3_1"]
    groups = pd.DataFrame([{"label": "SK_3_1", "zoom": zoom, "point": point, "value": generator.uniform()}
                           for zoom in zooms for point in range(16)])
    bars = pd.DataFrame([{"label": unit, "zoom": zoom, "mean": generator.normal(), "std": generator.uniform()}
                         for unit in units for zoom in zooms])
    figure = paper.kernel_sizes(groups, bars, largest="7×7", smallest="3×3", width=width)
    left, right = figure.axes
    drawn = [container for container in right.containers if hasattr(container, "patches")]
    for zoom, line, bar in zip(zooms, left.lines, drawn, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), groups.loc[groups["zoom"] == zoom, "value"])
        rows = bars[bars["zoom"] == zoom]
        np.testing.assert_allclose([patch.get_height() for patch in bar], rows["mean"])
        whiskers = np.array(bar.errorbar.lines[2][0].get_segments())[:, :, 1]
        np.testing.assert_allclose(whiskers, np.stack([rows["mean"] - rows["std"], rows["mean"] + rows["std"]], 1))
    assert [label.get_text() for label in right.get_xticklabels()] == units
    assert len({patch.get_hatch() for bar in drawn for patch in bar}) == 3
    assert list(legend(figure)) == ["1×", "1.5×", "2×"]
    assert left.get_ylabel() == "weight of 7×7" and right.get_ylabel() == "difference, 7×7 − 3×3"
    assert not overlapping(figure)


@pytest.mark.parametrize("classes", [4, 100, 1000])
def test_class_changes(classes):
    table = changes(classes)
    figure = paper.class_changes(table, ["SK_3_1", "SK_2_1"], before="1×", after="2×", quantity="difference", width=84)
    assert [axes.get_title() for axes in figure.axes] == ["SK_3_1", "SK_2_1"]
    for axes in figure.axes:
        rows = table[table["label"] == axes.get_title()]
        before, after = axes.lines[:2]
        np.testing.assert_array_equal(before.get_ydata(), rows["before"])
        np.testing.assert_array_equal(after.get_ydata(), rows["after"])
        low, high = axes.get_ylim()
        assert low < table[["before", "after"]].to_numpy().min() and high > table[["before", "after"]].to_numpy().max()
        assert before.get_linestyle() == ("-" if classes <= 50 else "None")
    low, high = figure.axes[1].get_xlim()
    ticks = [tick for tick in figure.axes[1].get_xticks() if low <= tick <= high]
    assert ticks and all(tick in range(classes) for tick in ticks)
    assert list(legend(figure)) == ["1×", "2×"]
    assert not overlapping(figure)


def test_dimension():
    table = depth({"dimension": 1.5, "error": 0.2})
    table.loc[table["label"] == "SE_3_0", "dimension"] = np.nan
    figure = paper.dimension(table[table["source"] != "shuffled"], width=84)
    axes, = figure.axes
    for container, source in zip(axes.containers, ("gate", "squeeze", "random"), strict=True):
        rows = table[table["source"] == source]
        np.testing.assert_array_equal(container.lines[0].get_ydata().astype(float), rows["dimension"])
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["SE_2_0", "SE_2_1", "SE_3_0", "SE_3_1"]
    assert list(legend(figure)) == ["gate", "squeezed input z", "random weights"]
    assert not overlapping(figure)


def test_specificity():
    table = depth({"q05": 0.1, "q25": 0.2, "median": 0.3, "q75": 0.4, "q95": 0.5})
    table.loc[1, ["q05", "q25", "median", "q75", "q95"]] = np.nan  # a block without a channel of which ω² can be told
    figure = paper.specificity(table, width=84)
    axes, = figure.axes
    rows = table[table["source"] == "gate"].reset_index(drop=True).dropna()
    boxes = [patch.get_path().vertices for patch in axes.patches]
    np.testing.assert_allclose([box[:, 1].min() for box in boxes], rows["q25"])
    np.testing.assert_allclose([box[:, 1].max() for box in boxes], rows["q75"])
    np.testing.assert_allclose([box[:4, 0].mean() for box in boxes], rows.index)
    drawn = [tuple(line.get_ydata()) for line in axes.lines]
    for source in ("shuffled", "squeeze", "random"):
        assert tuple(table.loc[table["source"] == source, "median"]) in drawn
    for median in rows["median"]:
        assert (median, median) in drawn
    assert not overlapping(figure)


def test_labels_of_many_blocks_stay_apart():
    table = pd.DataFrame([{"block": f"b{i}", "label": f"SE_4_{i}", "stage": 4, "source": "gate", "dimension": 2.0,
                           "error": 0.1} for i in range(50)])
    figure = paper.dimension(table, width=84)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(boxes) > 10
    assert all(a.x1 <= b.x0 for a, b in pairwise(boxes))


def fonts(page) -> list:
    return [font.get_object() for font in page["/Resources"]["/Font"].values()]


@BOTH
@pytest.mark.parametrize("width", [84.0, 174.0])
def test_pdf(tmp_path, width, style):
    figure = paper.class_lines(lines(), band=True, width=width)
    paper.save(figure, tmp_path / "a.pdf", "pdf", "a title", "what it “shows” ω²")
    reader = PdfReader(tmp_path / "a.pdf")
    page, = reader.pages
    assert float(page.mediabox.width) / 72 * 25.4 == pytest.approx(width, abs=0.05)
    assert float(page.mediabox.height) / 72 == pytest.approx(figure.get_figheight(), abs=0.01)
    used = fonts(page)
    assert used
    for font in used:
        inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        assert inner["/Subtype"] in ("/CIDFontType2", "/TrueType")
        assert "/FontFile2" in inner["/FontDescriptor"].get_object()
        assert paper.STYLES[style][0].replace(" ", "") in inner["/BaseFont"]
    assert not [x for x in (page["/Resources"].get("/XObject") or {}).values()
                if x.get_object().get("/Subtype") == "/Image"]
    assert not page.images
    text = page.extract_text()
    assert all(word in text for word in (*LABELS, "pug (n=3)", "all", "channel index", "gate"))
    assert reader.metadata["/Title"] == "a title" and reader.metadata["/Subject"] == "what it “shows” ω²"
    assert "/CreationDate" not in reader.metadata
    sizes = {float(size) for size in re.findall(rb"/F\S+ ([\d.]+) Tf", page.get_contents().get_data())}
    assert sizes and min(sizes) >= 7 and max(sizes) <= 9


def test_svg(tmp_path):
    table = lines(channels=30)
    figure = paper.class_lines(table, width=84)
    paper.save(figure, tmp_path / "a.svg", "svg", "a title", "what it shows")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert float(root.get("width").removesuffix("pt")) / 72 * 25.4 == pytest.approx(84, abs=0.05)
    assert not list(root.iter(f"{space}image")) and not list(root.iter(f"{space}text"))
    axes = next(group for group in root.iter(f"{space}g") if group.get("id") == "axes_1")
    _, path = [part.get("d") for group in axes.iter(f"{space}g") if re.fullmatch(r"line2d_\d+", group.get("id") or "")
               for part in group.findall(f"{space}path") if part.get("d").count("L") == 29]  # "all" lies below
    drawn = np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path), float)
    rows = table[(table["label"] == LABELS[0]) & (table["class"] == "pug")]
    # straight from the table to the paper: both axes are linear
    for values, places in ((rows["channel"], drawn[:, 0]), (rows["value"], -drawn[:, 1])):
        slope, start = np.polyfit(values, places, 1)
        assert slope > 0
        np.testing.assert_allclose(slope * values + start, places, atol=1e-4)


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        figure = paper.class_lines(lines(), width=84)
        for form in ("pdf", "svg"):
            paper.save(figure, tmp_path / f"{name}.{form}", form, "title", "description")
    for form in ("pdf", "svg"):
        assert Path(tmp_path / f"a.{form}").read_bytes() == Path(tmp_path / f"b.{form}").read_bytes()


def test_settings_of_the_user_are_left_alone(style):
    import matplotlib
    matplotlib.rcParams["lines.linewidth"] = 7
    with paper.print_style(style):
        assert matplotlib.rcParams["lines.linewidth"] < 1
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    assert matplotlib.rcParams["lines.linewidth"] == 7
