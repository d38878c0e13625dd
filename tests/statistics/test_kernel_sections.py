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
            effects, doses, kernels.bars(stats), kernels.class_changes(stats, zoom), shares), strict=True):
        pd.testing.assert_frame_equal(section.table, table)
        names: dict = {}
        exec(compile(section.script, "script", "exec"), names)
        pd.testing.assert_frame_equal(names["result"], table)
    assert sections.findings == kernels.kernel_findings(stats, effects, shares, doses)
    assert all(finding in found["data_findings"].text for finding in sections.findings)
    assert "5,000 pictures" in sections.source.replace("\\", "") and f"{zoom:g}×" in found["data_findings"].title
    shown = {label for bar in found["data_bars"].figure.data for label in bar.x}
    assert shown == {"SK_2_3", "SK_3_4", "SK_4_6", "SK_5_3"}


def test_the_smallest_zoom_and_zooms_that_are_not_there(stats):
    assert KernelSections(stats).zoom == 1.5
    with pytest.raises(ValueError, match="not at 3"):
        KernelSections(stats, 3.0)
