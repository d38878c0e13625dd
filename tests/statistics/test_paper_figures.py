"""Figures for print over a small run: what is drawn is what the archive holds, and captions say so."""
import re
import sys

import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz import tables
from senet_viz.statistics import kernels, paper_figures, summaries
from senet_viz.statistics.kernel_sections import KernelSections
from senet_viz.statistics.paper_figures import PaperFigures, Printed, channel_groups, latex
from tests.runs import LABELS, make_model, picture


@pytest.fixture(scope="module")
def plain(run, tmp_path_factory) -> sv.Statistics:
    """Of a network without units, at one size."""
    return run(tmp_path_factory.mktemp("plain") / "out", make_model("se"))


@pytest.fixture(scope="module")
def units(run, tmp_path_factory) -> sv.Statistics:
    """Of a network of units, at three sizes around boxes, with controls."""
    return run(tmp_path_factory.mktemp("units") / "out", make_model("sk"),
               options={"zooms": (1, 1.5, 2), "around": "box", "controls": True})


def lines_of(axes) -> list[np.ndarray]:
    return [line.get_ydata() for line in axes.lines]


def test_se6(plain):
    printed = PaperFigures(plain).draw("se6")
    there = np.flatnonzero(plain.count)
    assert [axes.get_title() for axes in printed.figure.axes] == [block.label for block in tables.panels(plain.blocks)]
    for axes in printed.figure.axes:
        means = plain.mean(axes.get_title())[:, 0]
        for line, wanted in zip(lines_of(axes), [*means[there], np.mean(means[there], axis=0)], strict=True):
            np.testing.assert_allclose(line, wanted)
    names = summaries.class_names(plain)
    for i in there:
        assert f"{names[i]} ({LABELS.count(i)})" in printed.caption
    assert f"all {len(there)} classes" in printed.caption
    assert "se on" in printed.caption and f"{len(LABELS)} pictures" in printed.caption
    last = plain.mean(plain.blocks[-1])[there, 0]
    assert f"all {last.mean(0).mean():.3f} ± {last.std(0).mean():.3f}." in printed.numbers
    assert f"{names[there[0]]} {last[0].mean():.3f}, " in printed.numbers


def test_se7(plain):
    first, second = np.flatnonzero(plain.count)[[2, 0]]
    names = summaries.class_names(plain)
    printed = PaperFigures(plain, classes=[names[first].upper(), plain.classes[second]], blocks=["SE_3*"]).draw("se7")
    axes, = printed.figure.axes
    block = plain.block(axes.get_title())
    for line, band, i in zip(lines_of(axes), axes.collections, (first, second), strict=True):
        mean, std = plain.mean(block)[i, 0], plain.std(block)[i, 0]
        np.testing.assert_allclose(line, mean)
        corners = band.get_paths()[0].vertices
        assert corners[:, 1].max() == pytest.approx((mean + std).max())
        assert f"{names[i]} {mean.mean():.3f} ± {std.mean():.3f}" in printed.numbers
    assert "one standard deviation" in printed.caption


@pytest.fixture(scope="module")
def lone(run, tmp_path_factory):
    """``lone({"cat": 1, …})``: of a network of units, at two sizes, over so many pictures of these classes."""
    def make(counts: dict[str, int]) -> sv.Statistics:
        root, seeds = tmp_path_factory.mktemp("lone"), iter(range(99))
        for name, count in counts.items():
            for i in range(count):
                path = root / "pictures" / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture(next(seeds)))
        return run(root / "out", make_model("sk"), root / "pictures",
                   options={"zooms": (1, 1.5), "controls": True, "sample": 0})
    return make


def test_what_one_class_or_one_picture_does_not_tell_is_not_said(lone):
    """No interval over one class, no standard deviation of one picture."""
    cats, both, one = lone({"cat": 4}), lone({"cat": 1, "dog": 3}), lone({"cat": 1})
    for stats in (cats, both, one):
        for name in ("se6", "se7", "sk3", "sk4"):
            printed = PaperFigures(stats).draw(name)
            text = f"{printed.caption} {printed.numbers}"
            assert "nan" not in text and "± 0.0000" not in text and "± 0.000" not in text
            assert not re.search(r"\b1 (classes|pictures)|all 1 ", text), text
    printed = PaperFigures(cats).draw("sk4")
    rows = kernels.size_effects(cats).set_index("label")
    for label, row in rows.loc[kernels.low_middle_high(cats)].iterrows():
        assert (f"change {row['change']:+.4f} (no interval: that takes two classes or more), up in "
                f"{row['images_up']:.0%} of the pictures.").replace("-", "−") in printed.numbers
        assert label in printed.numbers
    assert "beyond" not in printed.numbers and "1 class, 4 pictures of sk on" in printed.caption
    printed = PaperFigures(cats).draw("se6")
    assert "over the only class (“all”" in printed.caption and "4 pictures of 1 class" in printed.caption
    mean, std = both.mean(both.blocks[-1])[:, -1], both.std(both.blocks[-1])[1, -1]
    printed = PaperFigures(both).draw("se7")
    assert (f"{both.blocks[-1].label}: cat {mean[0].mean():.3f}, dog {mean[1].mean():.3f} ± {std.mean():.3f}."
            in printed.numbers)
    assert "none where there is one picture, of which it is not known" in printed.caption
    assert PaperFigures(one).draw("se7").numbers.startswith("Mean over all channels. ")


@pytest.mark.parametrize(("counts", "of"), [({"cat": 4}, "4 labelled pictures of 1 class"),
                                            ({"cat": 1, "dog": 1}, "2 labelled pictures of 2 classes")])
def test_why_class_specificity_cannot_be_told(lone, counts, of):
    message = (f"^how class-specific the gates are cannot be told from {of}: that takes at least two classes and more "
               "pictures than classes$")
    with pytest.raises(ValueError, match=message):
        PaperFigures(lone(counts)).draw("specificity")


def test_gates_that_stand_still_are_the_reason_where_labels_are_not(plain, monkeypatch):
    still = [np.ones(64, bool), *np.zeros((2, 64), bool)]
    monkeypatch.setattr(summaries, "channel_states",
                        lambda stats, block, *_: tuple(each[:1].repeat(block.channels) for each in still))
    with pytest.raises(ValueError, match=r"gates are cannot be told: every channel is dead, open or constant$"):
        PaperFigures(plain).draw("specificity")


def test_of_larger_pictures(full):
    printed = PaperFigures(full, zoom=1.5).draw("se6")
    axes = printed.figure.axes[0]
    first = np.flatnonzero(full.count)[0]
    np.testing.assert_allclose(lines_of(axes)[0], full.mean(axes.get_title(), zoom=1.5)[first, -1])
    assert "zoom 1.5×" in printed.caption


def test_sk3(units):
    printed = PaperFigures(units).draw("sk3")
    left, right = printed.figure.axes
    unit = units.block(tables.panels(units.blocks, whole_stage=False)[1].label)
    assert unit.label in left.get_xlabel()
    for zoom, line in zip(units.zooms, lines_of(left), strict=True):
        weight = units.overall_mean(unit, zoom=zoom)[-1]
        np.testing.assert_allclose(line, weight.reshape(len(line), -1).mean(1))
    rows, labels = units.images(), [text.get_text() for text in right.get_xticklabels()]
    rows = rows[rows["look"] == "zoom"]
    bars = [bar for bar in right.containers if hasattr(bar, "patches")]
    for zoom, bar in zip(units.zooms, bars, strict=True):
        for label, patch in zip(labels, bar, strict=True):
            values = rows.loc[rows["zoom"] == zoom, f"{label}_difference"].astype(float)
            assert patch.get_height() == pytest.approx(values.mean())
            said = f"{zoom:g}× {values.mean():+.4f} ± {values.std(ddof=0):.4f}".replace("-", "−")
            assert said in printed.numbers
    # of two branches the weights add up to 1, so that both panels tell of the same
    for zoom, bar in zip(units.zooms, bars, strict=True):
        mean = units.overall_mean(unit, zoom=zoom)[-1].mean()
        assert bar[labels.index(unit.label)].get_height() == pytest.approx(2 * mean - 1, abs=1e-6)
    assert "around the object's box" in printed.caption and "1×, 1.5× and 2×" in printed.caption
    at = {zoom: rows[rows["zoom"] == zoom] for zoom in (1.5, 2.0)}
    counts = " and ".join(f"{(~part['fits'].eq(True)).sum():,} at {zoom:g}×" for zoom, part in at.items())
    assert (f"All pictures count, those among them whose object the zoom cuts or that have no box: {counts}."
            in printed.caption)


@pytest.mark.parametrize("zoom", [None, 2.0])
def test_sk4(units, zoom):
    printed = PaperFigures(units, zoom=zoom, width="page").draw("sk4")
    table = kernels.class_changes(units, zoom or 1.5)
    effects = kernels.size_effects(units, zoom or 1.5).set_index("label")
    assert len(printed.figure.axes) == 3
    for axes in printed.figure.axes:
        label = axes.get_title()
        rows, row = table[table["label"] == label], effects.loc[label]
        np.testing.assert_array_equal(lines_of(axes)[0], rows["before"])
        np.testing.assert_array_equal(lines_of(axes)[1], rows["after"])
        said = re.search(rf"{label}: from (\S+) to (\S+), change (\S+) .*? (\S+) to (\S+)\), up in (\d+)%",
                         printed.numbers)
        *told, share = (float(number.replace("−", "-")) for number in said.groups())
        assert told == pytest.approx(row[["before", "after", "change", "low", "high"]].to_list(), abs=6e-5)
        assert share == pytest.approx(100 * row["classes_up"], abs=0.51)
        assert f"{'' if row['beyond'] else 'not '}surely beyond" in printed.numbers
    images = effects["images"].iloc[0]
    assert f"{images} pictures" in printed.caption and f"({zoom or 1.5:g}×)" in printed.caption


def test_over_depth(full):
    figures = PaperFigures(full)
    printed, table = figures.draw("dimension"), summaries.dimension(full)
    axes, = printed.figure.axes
    for container, source in zip(axes.containers, ("gate", "squeeze", "random"), strict=True):
        rows = table[table["source"] == source]
        np.testing.assert_array_equal(container.lines[0].get_ydata().astype(float), rows["dimension"])
    gate = table[table["source"] == "gate"].set_index("label")["dimension"].dropna()
    assert f"from {gate.min():.2f} in {gate.idxmin()} to {gate.max():.2f} in {gate.idxmax()}" in printed.numbers
    assert "(mean of 2 draws)" in printed.caption
    printed, table = figures.draw("specificity"), summaries.specificity(full)
    axes, = printed.figure.axes
    drawn = [line.get_ydata() for line in axes.lines]
    for source in ("shuffled", "squeeze", "random"):
        wanted = table.loc[table["source"] == source, "median"].to_numpy()
        assert any(len(line) == len(wanted) and np.array_equal(line, wanted, equal_nan=True) for line in drawn), source


def test_channel_groups(units):
    block = units.blocks[-1]
    table = channel_groups(units, block, 5)
    assert table["first"].iloc[0] == 0 and table["last"].iloc[4] == block.channels - 1
    for row in table.itertuples():
        weight = units.overall_mean(block, zoom=row.zoom)[-1]
        assert row.value == pytest.approx(weight[row.first:row.last + 1].mean())
        assert row.mean == pytest.approx(weight.mean())


def test_a_class_named_twice_has_one_line(plain):
    axes = PaperFigures(plain, classes=["Kind 0, or so", "kind 0, or so"]).draw("se6").figure.axes[0]
    assert len(axes.lines) == 2  # and "all"


def test_widths(plain):
    for width, wanted in (("column", 84), ("page", 174), ("100", 100), (66.5, 66.5)):
        figure = PaperFigures(plain, width=width).draw("se6").figure
        assert figure.get_figwidth() * 25.4 == pytest.approx(wanted)


@pytest.mark.parametrize(("options", "message"), [
    ({"width": "wide"}, "^a width is column, page or a number of millimetres, not 'wide'$"),
    ({"width": 20}, "^a figure is 60 to 400 mm wide, not 20$"),
    ({"width": "nan"}, "^a figure is 60 to 400 mm wide, not nan$"),
    ({"style": "poster"}, "^there is no style 'poster'; there are: paper, paper-serif$"),
    ({"blocks": ["SE_9_9"]}, "there is no attention block 'SE_9_9'"),
    ({"blocks": ["SK_*"]}, r"there is no attention block 'SK_\*'"),
    ({"classes": ["kind 1"]}, "^there is no class 'kind 1' in these statistics; near it are kind 1, or so"),
    ({"classes": ["zebra"]}, "^there is no class 'zebra' in these statistics of 5 classes$"),
    ({"classes": ["kind 3, or so"]}, "^there is no picture of class 'kind 3, or so' in these statistics$"),
    ({"classes": [str(i) for i in range(9)]}, "^a figure has lines of up to 8 classes, not of 9$"),
    ({"zoom": 3.0}, "^these statistics were taken at zoom 1, not at 3$"),
])
def test_refuses(plain, options, message):
    with pytest.raises(ValueError, match=message):
        PaperFigures(plain, **options)


@pytest.mark.parametrize("name", ["sk3", "sk4"])
def test_refuses_what_cannot_be_drawn(plain, full, run, tmp_path, name):
    with pytest.raises(ValueError, match=f"^{name} shows the choice between kernels, and se has none to choose from$"):
        PaperFigures(plain).draw(name)
    single = next(block.label for block in full.blocks if block.branches == 1)
    with pytest.raises(ValueError, match=f"^{name} shows the choice between kernels, and {single} has none"):
        PaperFigures(full, blocks=[single]).draw(name)
    one_size = run(tmp_path / "out", make_model("sk"), options={"sample": 0})
    with pytest.raises(ValueError, match=rf"^{name} compares sizes .* senet-viz collect MODEL DATA OUT --zoom 1 1.5 "):
        PaperFigures(one_size).draw(name)  # what the model is called need not be an argument
    with pytest.raises(ValueError, match="without a sample"):
        PaperFigures(one_size).draw("dimension")
    with pytest.raises(ValueError, match=r"^there is no figure 'sk5'; there are: se6, "):
        PaperFigures(one_size).draw("sk5")


def test_without_labels(run, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(8):
        (folder / f"{i}.png").write_bytes(picture(i))
    stats = run(tmp_path / "out", make_model("sk"), folder, options={"zooms": (1, 1.5)})
    figures = PaperFigures(stats)
    assert figures.draw("sk3").figure.axes
    for name, message in (("se6", "no picture of these statistics has a label"), ("sk4", "has a label"),
                          ("specificity", "cannot be told")):
        with pytest.raises(ValueError, match=message):
            figures.draw(name)


def test_without_matplotlib(plain, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "senet_viz.figures.paper", raising=False)
    monkeypatch.delattr("senet_viz.figures.paper", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"^figures for print need Matplotlib: pip install matplotlib$"):
        PaperFigures(plain)


def test_latex():
    text = latex(Printed(None, "", "50 % of a_b & {c} ± 1×, “ω²” \\ ~", ""), "se6")  # type: ignore[arg-type]
    assert text.splitlines() == [
        r"\includegraphics{se6}",
        r"\caption{50 \% of a\_b \& \{c\} $\pm$ 1$\times$, ``$\omega$$^2$'' \textbackslash{} \textasciitilde{}}"]


def test_tables_are_those_of_the_page(units):
    """The caption's table is the one that the page shows."""
    sections = KernelSections(units)
    shown = sections.classes().table
    axes = PaperFigures(units).draw("sk4").figure.axes[0]
    np.testing.assert_array_equal(lines_of(axes)[1], shown.loc[shown["label"] == axes.get_title(), "after"])
    pd.testing.assert_frame_equal(sections.paper_bars().table, kernels.bars(units, sections.zoom))


def test_an_interval_that_ends_near_0_shows_on_which_side(units):
    row = kernels.size_effects(units).iloc[0].copy()
    row["low"], row["high"] = -0.0312, -0.00002
    assert "units together −0.0312 to −0.00002), up in" in paper_figures._effect("SK_2_1", row)
