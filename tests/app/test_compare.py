"""The Compare page."""
import sys
from pathlib import Path

import pandas as pd

from senet_viz.statistics import comparison, open_statistics
from tests.app.checks import fine, same, sections, sentences
from tests.comparing import kinds, many, near
from tests.runs import data_set, run, settings, small_maps

__all__ = ["data_set", "kinds", "many", "near", "run", "settings", "small_maps"]


STATISTICS = Path(__file__).resolve().parents[2] / "assets" / "statistics"


def test_two_embedded_networks(start):
    app = start().switch_page("pages/compare.py").run()
    fine(app)
    assert app.title[0].value == "Compare"
    stats = [open_statistics(STATISTICS / name) for name in ("se_resnet50_slim", "sknet50_slim")]
    shown = sections(app)
    same(shown["compare_differences"].table, comparison.differences(*stats))
    assert list(shown) == ["compare_curves", "compare_differences", "compare_classes", "compare_matrix",
                           "compare_static", "compare_photos", "compare_distances"]
    said = sentences(app.info)
    assert any("keeps no whole gates of pictures" in sentence for sentence in said)
    assert any("have not the same blocks" in sentence for sentence in said)
    names: dict = {}
    exec(compile(shown["compare_static"].script, "script", "exec"), names)
    pd.testing.assert_frame_equal(names["result"], shown["compare_static"].table)


def test_one_network_with_itself(start):
    app = start().switch_page("pages/compare.py").run()
    app.selectbox(key="compare_second").set_value(app.selectbox(key="compare_first").value).run()
    fine(app)
    shown = sections(app)
    assert (shown["compare_classes"].table["cka"] > 1 - 1e-9).all()
    assert not shown["compare_channels"].table["difference"].any()
    said = "\n".join(sentences(app.markdown))
    assert "they have the same weights" in said and "No channel's mean gate differs" in said


def test_photos_of_two_networks(start):
    app = start(sample="teapot").switch_page("pages/compare.py").run()
    fine(app)
    table = sections(app)["compare_photos"].table
    assert set(table["picture"]) == {"teapot"}
    assert set(table["run"]) == {"demo/se_resnet50_slim", "demo/sknet50_slim"}
    app.selectbox(key="compare_other").set_value("no other network").run()
    fine(app)
    assert "compare_photos" not in sections(app)


def test_runs_of_the_operator(start, many, near, monkeypatch, tmp_path):
    for stats in (many, near):
        (tmp_path / stats.metadata["model"]).symlink_to(stats.path)
    monkeypatch.setattr(sys, "argv", ["app.py", "--statistics", str(tmp_path)])
    app = start().switch_page("pages/compare.py").run()
    first = next(name for name in app.selectbox(key="compare_first").options if name.startswith("se: "))
    second = next(name for name in app.selectbox(key="compare_second").options if name.startswith("near: "))
    app.selectbox(key="compare_first").set_value(first)
    app.selectbox(key="compare_second").set_value(second).run()
    fine(app)
    same(sections(app)["compare_channels"].table, comparison.channel_changes(many, near).sort_values(
        "difference", key=abs, ascending=False, kind="stable"))
    assert "compare_static" not in sections(app)
    assert any("No accuracy with gates at their mean is beside" in sentence for sentence in sentences(app.info))
