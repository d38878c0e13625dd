"""A report of a data set: which sections, with which numbers and words, and how its statistics were made."""
import shlex

import numpy as np
import pandas as pd
import pytest

from senet_viz.cli import parser
from senet_viz.collecting import collect
from senet_viz.data.datasets import Pictures
from senet_viz.reports.html import Section
from senet_viz.statistics import published, summaries
from senet_viz.statistics.data_report import collect_command, data_facts, data_report, first_classes, report_sections
from senet_viz.statistics.sections import DataSections, Finding
from tests.runs import make_model, picture

EVERY = ["lines", "depth", "dimension", "driving", "heat_map", "selective", "channel_classes", "channel_histogram",
         "pair", "separating", "saturation"]


@pytest.fixture(scope="module")
def data(full) -> DataSections:
    return DataSections(full)


@pytest.fixture(scope="module")
def found(data):
    return report_sections(data)


def test_sections_and_their_order(data, found):
    assert list(found) == [key for key in EVERY if key != "driving" or data.driving() is not None]
    for key, section in found.items():
        assert section.title and section.text and len(section.table) and section.script, key


def test_numbers_are_the_librarys(data, found):
    last = data.stats.blocks[-1].label
    pd.testing.assert_frame_equal(found["depth"].table, summaries.specificity(data.stats))
    pd.testing.assert_frame_equal(found["saturation"].table, summaries.saturation(data.stats))
    selective = summaries.selective_channels(data.stats, last)
    pd.testing.assert_frame_equal(found["selective"].table, selective)
    assert found["channel_histogram"].title == f"channel {selective['channel'][0]} of {last}: distribution"
    chosen = [summaries.class_names(data.stats)[i] for i in published.first_classes(data.stats)]
    assert first_classes(data.stats) == chosen and {*chosen, "all"} == set(found["lines"].table["class"])
    assert found["pair"].title == f"{chosen[0]} and {chosen[1]}"


def test_what_was_found_is_a_list_and_how_to_read_it_stands_below(data, found):
    whole = {"depth": data.depth(), "dimension": data.dimension(), "saturation": data.saturation()}
    for key, section in whole.items():
        head = data.head(key)
        assert list(found[key].points) == list(section.found) and found[key].about == head.more
        assert found[key].text == f"{head.lead} *{data.source}.*"
    page = data_report(data)
    assert page.count("<li>") == sum(len(s.found) for s in found.values() if isinstance(s, Finding))


def test_what_was_chosen_stands_as_it_is_and_the_rest_is_added(data):
    chosen = Section("Chosen", "by hand")
    found = report_sections(data, {"photo_lines": chosen, "pair": None})
    assert found["photo_lines"].title == "Chosen" and data.head("photos").more == found["photo_lines"].about
    assert "pair" not in found and "separating" in found


def test_pictures_without_labels(tmp_path, settings):
    content = [picture(i) for i in range(6)]
    stats = collect(make_model(), Pictures(content.__getitem__, [-1] * 6, ["a", "b"]), tmp_path / "out", settings(),
                    workers=0, progress=False)
    found = report_sections(DataSections(stats))
    assert {"lines", "channel_histogram", "saturation"} <= set(found)
    assert not {"heat_map", "selective", "channel_classes", "pair", "separating"} & set(found)
    assert set(found["lines"].table["class"]) == {"all"}
    np.testing.assert_allclose(
        found["lines"].table.query("label == @stats.blocks[-1].label")["value"],
        stats.overall_mean(stats.blocks[-1], weight="image")[-1])


def test_the_head(full):
    facts = data_facts(full)
    count = full.count[full.count > 0]
    assert facts["Pictures"].startswith(f"{full.metadata['images']} pictures, {len(count)} classes of {count.min()} to "
                                        f"{count.max()}; {full.metadata['unlabelled']} without a label")
    assert full.metadata["weights"].startswith(facts["Weights"].removeprefix("SHA-256 ").rstrip("…"))
    assert facts["Data"] == full.metadata["data"]


def test_the_command_gives_the_settings_of_the_run(full, compact):
    """Read by the command line itself, against what the run kept."""
    for stats in (full, compact):
        words = shlex.split(collect_command(stats))
        assert words[:2] == ["senet-viz", "collect"]
        read, kept = parser().parse_args(words[1:]), stats.metadata["settings"]
        assert (read.name, read.data, read.out) == ("MODEL", "DATA", "OUT")
        assert read.zoom == list(kept["zooms"]) and read.compact == stats.metadata["compact"]
        for option in ("around", "random_weights", "sample", "precision", "batch_size", "shard_size", "threads",
                       "controls"):
            assert getattr(read, option) == kept[option], option
