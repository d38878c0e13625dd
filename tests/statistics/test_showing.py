"""How statistics show themselves: a table in a notebook, and figures, beside numpy and the sections of the page."""
import re
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest

from senet_viz.statistics import Statistics
from senet_viz.statistics.kernel_sections import KernelSections
from senet_viz.statistics.sections import DataSections
from tests.runs import picture

HEAD = ["block", "name", "kind", "channels", "mean gate", "std over channels", "std over pictures"]


def table(stats: Statistics) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the only table; the whole is parsed as XML, which is stricter than HTML."""
    found, = ElementTree.fromstring(stats._repr_html_()).iter("table")
    head, *rows = [[cell.text or "" for cell in row] for row in found.iter("tr")]
    return head, rows


def text(stats: Statistics) -> str:
    return " ".join(ElementTree.fromstring(stats._repr_html_()).itertext())


def test_table_of_blocks(full):
    """From the gate's mean in each picture, and from the moments of each channel."""
    head, rows = table(full)
    assert head == [*HEAD, "dimension"]
    images = full.images()
    images = images[(images["zoom"] == 1) & (images["look"] == "zoom")]
    for row, block in zip(rows, full.blocks, strict=True):
        assert row[:4] == [block.label, block.name, block.kind, str(block.channels)]
        numbers = [float(cell.replace("–", "nan")) for cell in row[4:]]
        assert numbers[0] == pytest.approx(images[f"{block.label}_mean"].mean(), abs=6e-4)
        means = full.overall_mean(block)[-1]
        assert numbers[1] == pytest.approx(np.sqrt(np.mean((means - means.mean()) ** 2)), abs=6e-4)
        assert numbers[2] == pytest.approx(full.overall_std(block)[-1].mean(), abs=6e-4)
        assert numbers[3] == pytest.approx(full.measures(block)["dimension"], abs=6e-4, nan_ok=True)
    assert any(row[-1] != "–" for row in rows)


def test_facts(full):
    said = text(full)
    for fact in (f"Statistics of se+sk on {full.metadata['data']}", "23 pictures of 4 classes", "8 attention blocks",
                 "3 without a label", "zooms 1×, 1.5×, here 1×", "weight of the last one"):
        assert fact in said, fact


def test_without_a_sample(run, tmp_path, network):
    stats = run(tmp_path / "out", network("se"), options={"sample": 0})
    assert table(stats)[0] == HEAD
    assert "zooms" not in text(stats) and "branches" not in text(stats)
    for which in ("dimension", "driving"):
        with pytest.raises(ValueError, match="they have no sample of whole gates"):
            stats.plot(which)
    with pytest.raises(ValueError, match="units that weigh kernels, pictures at 1× and a zoom above it"):
        stats.plot("kernels")


def test_names_are_escaped(full):
    metadata = full.metadata | {"model": "<script>alert(1)</script>", "data": "<i>a & b"}
    stats = Statistics(full.path, metadata, full._tensors)
    assert "<script" not in stats._repr_html_() and "<i>" not in stats._repr_html_()
    assert "Statistics of <script>alert(1)</script> on <i>a & b" in text(stats)
    assert "<script" not in stats.plot("saturation").layout.title.text


def traces(figure: go.Figure) -> str:
    return re.sub(r'"uid":"[^"]*"', "", go.Figure(figure.data).to_json())


def test_figures_are_those_of_the_page(full):
    """With the network and the data above them."""
    sections, label = DataSections(full), full.blocks[-1].label
    expected = {
        "specificity": sections.depth(), "dimension": sections.dimension(), "driving": sections.driving(),
        "heat_map": sections.heat_map(label), "saturation": sections.saturation(),
        "kernels": KernelSections(full, 1.5).effects(),
    }
    for which, section in expected.items():
        figure = full.plot(which)
        assert traces(figure) == traces(section.figure), which
        title = figure.layout.title.text.replace("<br>", " ")
        assert f"se+sk on {full.metadata['data']}, 23 pictures of 4 classes" in title
        assert ("zoom 1.5×" in title) == (which == "kernels")
        assert title.startswith(f"{label} of ") == (which == "heat_map")
        assert figure.layout.meta == section.figure.layout.meta


def test_choices(full):
    first, second = list(DataSections(full).classes)[:2]
    block = full.blocks[0]
    figure = full.plot(classes=[first, second], blocks=[block.label], sampled=False, overall=None)
    lines = {trace.name: np.asarray(trace.y, dtype=float) for trace in figure.data}
    for (name, drawn), index in zip(lines.items(), np.flatnonzero(full.count)[:2]):
        assert name.startswith(first if index == np.flatnonzero(full.count)[0] else second)
        assert np.allclose(drawn, full.mean(block)[index, -1])
    enlarged = full.plot("heat_map", block, zoom=1.5, centred=False, clustered=False)
    means = full.mean(block, zoom=1.5)[full.count > 0, -1]
    assert np.allclose(np.asarray(enlarged.data[0].z, dtype=float), means)
    assert "zoom 1.5×" in enlarged.layout.title.text
    assert len(full.plot("classes").data) > len(figure.data)


@pytest.mark.parametrize(("ask", "words"), [
    (dict(which="nothing"), "statistics have the figures classes, specificity, dimension, driving, heat_map, "
                            "saturation, kernels, not 'nothing'"),
    (dict(which="saturation", zoom=7), "these statistics were taken at zoom 1, 1.5, not at 7"),
    (dict(which="heat_map", block="SE_9_9"), "there is no attention block 'SE_9_9'"),
    (dict(classes=["unicorn"]), "there is no class 'unicorn' with pictures in these statistics"),
    (dict(which="kernels", zoom=1.0), "that takes units that weigh kernels, pictures at 1× and a zoom above it"),
])
def test_what_cannot_be_drawn(full, ask, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        full.plot(**ask)


def test_without_labels(run, tmp_path, network):
    """Everything that does not go by class can be drawn."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.png").write_bytes(picture(i))
    stats = run(tmp_path / "out", network("se"), folder)
    assert not stats.count.any()
    assert stats.plot("saturation").data
    for which in ("classes", "heat_map", "specificity"):
        with pytest.raises(ValueError, match="too few pictures with a label"):
            stats.plot(which)
