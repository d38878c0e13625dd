import numpy as np
import pytest

from senet_viz.figures import contribution


def drawn(figure, picture_index, row):
    """The trace of a picture in the upper (0) or lower (1) plot."""
    return figure.data[2 * picture_index + row]


def test_lines_are_the_table(contributions):
    table = contributions()
    figure = contribution(table)
    assert len(figure.data) == 4
    for i, picture in enumerate("ab"):
        rows = table[table["picture"] == picture]
        for row, column in enumerate(("gate", "share")):
            trace = drawn(figure, i, row)
            np.testing.assert_array_equal(trace.y, rows[column])
            np.testing.assert_array_equal(trace.customdata, rows[["before", "after", "shortcut"]])
            assert list(trace.x) == ["SE_2_1", "SE_2_2", "SE_3_1"] and trace.name == picture
            assert trace.showlegend == (row == 0) and trace.yaxis == ("y", "y2")[row]
        assert drawn(figure, i, 0).line == drawn(figure, i, 1).line


def test_without_a_shortcut_it_is_what_the_gate_leaves(contributions):
    table = contributions(shortcut=False)
    figure = contribution(table)
    rows = table[table["picture"] == "a"]
    np.testing.assert_allclose(drawn(figure, 0, 1).y, rows["after"] / rows["before"])
    assert figure.layout.yaxis2.title.text == "‖s·U‖ / ‖U‖"
    assert table["share"].isna().all()  # the caller's table is left alone


def test_of_branches_the_last_is_drawn(contributions):
    table = contributions(branches=2)
    figure = contribution(table)
    rows = table[(table["picture"] == "b") & (table["branch"] == 1)]
    np.testing.assert_array_equal(drawn(figure, 1, 0).y, rows["gate"])
    np.testing.assert_array_equal(drawn(figure, 1, 1).y, rows["share"])
    assert "5×5" in figure.layout.annotations[0].text and "5×5" in figure.layout.annotations[1].text


def test_stages_are_marked_in_both_plots_and_named_once(contributions, stage_marks):
    figure = contribution(contributions())
    assert stage_marks(figure) == ({0.5: "Stage 2", 2.0: "Stage 3"}, [1.5])
    assert sum(str(a.text).startswith("Stage") for a in figure.layout.annotations) == 2
    assert {shape.xref for shape in figure.layout.shapes} == {"x", "x2"}


def test_the_alternative_text_is_true(contributions, numbers):
    table = contributions()
    expected = [3, 2, table["gate"].min(), table["gate"].max(), table["share"].min(), table["share"].max()]
    assert numbers(contribution(table).layout.meta["alt"]) == [round(value, 2) for value in expected]


def test_both_axes_start_at_zero_where_they_can(contributions):
    figure = contribution(contributions())
    assert figure.layout.yaxis.rangemode == figure.layout.yaxis2.rangemode == "tozero"


def test_one_picture_and_sixteen(contributions):
    assert len(contribution(contributions(("only",))).data) == 2
    figure = contribution(contributions([f"picture {i}" for i in range(16)]))
    looks = {(t.line.color, t.line.dash, t.marker.symbol) for t in figure.data[::2]}
    assert len(figure.data) == 32 and len(looks) == 16


def test_names_are_shown_as_they_stand(contributions, ugly):
    first = contribution(contributions((ugly, "b"))).data[0]
    theirs = first.hovertemplate.removeprefix("<b>%{x}</b> ").partition("<br>")[0]
    for text in (theirs, first.name):
        assert "<" not in text and "%" not in text and len(text) < 130


def test_a_constant_gate_and_exact_zeros_and_ones(contributions):
    for value in (0.0, 0.5, 1.0):
        table = contributions().assign(gate=value, share=value)
        alt = contribution(table).layout.meta["alt"]
        assert alt.endswith(f": mean gate {value:.2f}, share {value:.2f}.")


def test_a_share_of_nothing_is_a_gap_in_the_line(contributions):
    table = contributions()
    table.loc[1, ["share", "kept", "before", "after"]] = [np.nan, np.nan, 0.0, 0.0]
    figure = contribution(table)
    assert np.isnan(drawn(figure, 0, 1).y[1]) and not drawn(figure, 0, 1).connectgaps
    assert "nan" not in figure.layout.meta["alt"]


def test_a_block_without_a_shortcut_among_others_is_a_gap(contributions):
    table = contributions()
    table.loc[table["label"] == "SE_3_1", ["shortcut", "share"]] = np.nan
    figure = contribution(table)
    share = drawn(figure, 0, 1).y
    assert np.isnan(share[2]) and np.isfinite(share[:2]).all()  # ‖s·U‖ / ‖U‖ would be another quantity


@pytest.mark.parametrize("value", [-0.4, 2.5])
def test_gates_beyond_zero_and_one_are_drawn(contributions, value):
    assert value in contribution(contributions().assign(gate=value)).data[0].y
