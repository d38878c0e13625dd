"""The sections over a data set: their tables are those of ``statistics.kernels``, and their scripts give them."""
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz.data.places import APP
from senet_viz.statistics import kernels
from senet_viz.statistics.kernel_sections import KernelSections

STATISTICS = "assets/statistics/sknet50_slim"

pytestmark = pytest.mark.skipif(not (APP / STATISTICS / "metadata.json").is_file(),
                                reason="the embedded statistics are missing")


@pytest.fixture(scope="module")
def stats() -> sv.Statistics:
    return sv.open_statistics(APP / STATISTICS)


@pytest.mark.parametrize("zoom", [1.5, 2.0])
def test_tables_and_findings_are_the_librarys(stats, zoom, monkeypatch):
    monkeypatch.chdir(APP)
    sections = KernelSections(stats, zoom, STATISTICS)
    effects, shares, doses = kernels.size_effects(stats, zoom), kernels.by_share(stats), kernels.dose_response(stats)
    found = sections.all()
    assert list(found) == ["data_findings", "data_doses", "data_bars", "data_classes", "data_share"]
    for section, table in zip(found.values(), (
            effects, doses, kernels.bars(stats, zoom), kernels.class_changes(stats, zoom), shares), strict=True):
        pd.testing.assert_frame_equal(section.table, table)
        names: dict = {}
        exec(compile(section.script, "script", "exec"), names)
        pd.testing.assert_frame_equal(names["result"], table)
    assert sections.findings == kernels.kernel_findings(stats, effects, shares, doses)
    assert all(finding in found["data_findings"].text for finding in sections.findings)
    assert "5,000 pictures" in sections.source.replace("\\", "") and f"{zoom:g}×" in found["data_findings"].title
    shown = {label for bar in found["data_bars"].figure.data for label in bar.x}
    assert shown == {"SK_2_3", "SK_3_4", "SK_4_6", "SK_5_3"}


def words(found: dict, key: str) -> str:
    return found[key].text


@pytest.mark.parametrize("zoom", [1.5, 2.0])
def test_each_section_says_which_pictures_it_is_of(stats, zoom):
    found = KernelSections(stats, zoom).all()
    rows = stats.images().query("look == 'zoom'")
    whole = rows[(rows["zoom"] == zoom) & rows["fits"].eq(True)]
    each = rows[rows["zoom"] > 1].groupby("index")["fits"].agg(lambda fits: fits.eq(True).all())
    known = rows.query("zoom == 1 and box > 0")
    for name in ("data_bars", "data_classes"):
        assert words(found, name).endswith(
            f"Of {len(whole):,} of 5,000 pictures, those whose object is whole at {zoom:g}×.")
    assert words(found, "data_doses").endswith(
        f"Of {each.sum():,} of 5,000 pictures, those whose object is whole in each of them.")
    assert words(found, "data_share").endswith(
        f"Of {len(known):,} of 5,000 pictures, those with a box, in {known['label'].nunique()} classes of at least 5 "
        "such pictures.")
    assert (found["data_bars"].table["count"] == len(whole)).all()
    assert found["data_classes"].table.groupby("label")["count"].sum().eq(len(whole)).all()


def test_of_all_pictures_and_of_those_with_a_label(stats, monkeypatch):
    rows = stats.images().drop(columns=["fits", "box"])
    rows.loc[rows["index"].isin(rows["index"].unique()[:2]), "label"] = -1
    monkeypatch.setattr(stats, "images", lambda columns=None: rows)
    found = KernelSections(stats).all()
    assert words(found, "data_bars").endswith("Of all 5,000 pictures.")
    assert words(found, "data_classes").endswith("Of all 5,000 pictures. 4,998 of these have a label.")
    rows["label"] = -1
    found = KernelSections(stats).all()
    assert words(found, "data_classes").endswith("Of all 5,000 pictures. 0 of these have a label.")


def test_when_no_object_stays_whole(stats, monkeypatch):
    rows = stats.images().assign(fits=False)
    monkeypatch.setattr(stats, "images", lambda columns=None: rows)
    found = KernelSections(stats).all()
    assert words(found, "data_bars").endswith("Of 0 of 5,000 pictures, those whose object is whole at 1.5×.")
    assert found["data_bars"].table["mean"].isna().all() and found["data_classes"].table.empty


def test_the_smallest_zoom_and_zooms_that_are_not_there(stats):
    assert KernelSections(stats).zoom == 1.5
    with pytest.raises(ValueError, match="not at 3"):
        KernelSections(stats, 3.0)
