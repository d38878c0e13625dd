"""Every section's script gives its table, and its words hold for its numbers."""
import re

import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz import tables
from senet_viz.statistics import directions, photos, summaries
from senet_viz.statistics.sections import HEADS, DataSections, Finding, PhotoSections
from tests.runs import make_model, picture

LOADING = "from tests.runs import make_model\nmodel = make_model()"


@pytest.fixture(scope="module", params=[1.0, 1.5])
def data(full, request):
    return DataSections(full, zoom=request.param)


@pytest.fixture(scope="module")
def built(data):
    label, last = data.stats.blocks[0].label, data.stats.blocks[-1].label
    first, second = list(data.classes)[:2]
    return {
        "lines": data.lines([label, last], [first, second], overall="image", band="error"),
        "depth": data.depth(), "dimension": data.dimension(), "heat_map": data.heat_map(label),
        "plain": data.heat_map(last, centred=False),
        "selective": data.selective(last), "channel_classes": data.channel_classes(label, 2),
        "channel_histogram": data.channel_histogram(label, 2), "pair": data.pair(last, first, second),
        "separating": data.separating(last, first, second), "saturation": data.saturation(),
    }


@pytest.fixture(scope="module")
def photo_sections(data, tmp_path_factory):
    model, folder = make_model(), tmp_path_factory.mktemp("photos")
    paths = {}
    for i in range(2):
        (folder / f"{i}.png").write_bytes(picture(i, i))
        paths[f"photo {i}"] = str(folder / f"{i}.png")
    views = {name: sv.inspect(model, model.batch([sv.open_image(path)])) for name, path in paths.items()}
    return PhotoSections(data, views, dict(zip(paths, data.classes)), LOADING, paths)


def result_of(script: str) -> pd.DataFrame:
    names: dict = {}
    exec(compile(script, "script", "exec"), names)
    return names["result"]


def test_scripts_give_the_tables(built, capsys):
    for name, section in built.items():
        pd.testing.assert_frame_equal(result_of(section.script), section.table, obj=name)
        assert capsys.readouterr().out and section.title


def test_scripts_of_photos_give_the_tables(photo_sections, capsys):
    for section in (photo_sections.lines(), photo_sections.nearest()):
        pd.testing.assert_frame_equal(result_of(section.script), section.table, rtol=1e-5, atol=1e-6)
        assert capsys.readouterr().out and section.figure.to_json()


def test_texts_for_a_report_are_whole(built, data):
    for name in ("lines", "depth", "saturation"):
        section, head = built[name], data.head(name)
        assert isinstance(section, Finding) and section.title == head.title and section.found
        parts = [head.lead, head.more, *section.found, f"*{section.source}.*"]
        assert section.text == " ".join(parts)
    for section in built.values():
        assert "nan" not in section.text and "{" not in section.text
    for name in HEADS:
        assert not any("{" in part for part in data.head(name))
    for name in ("depth", "dimension"):  # a new network, whose batch normalisation has seen nothing, is another control
        assert "with random weights, its batch normalisation set with pictures" in data.head(name).more


def test_findings_hold_for_the_numbers(built, data):
    lines = built["lines"]
    few = lines.table.loc[lines.table["few"], "class"].unique()
    assert len(few) == 1 and lines.found == [
        "Bands are the mean ± one standard error of the mean.", "Dashed: 1 class of fewer than 5 pictures."]
    repeated = [sentence] if (sentence := data.repeated()) else []
    assert built["depth"].found == [*summaries.depth_findings(data.stats, built["depth"].table), *repeated]
    assert bool(repeated) == bool(directions.along_one(data.stats, data.zoom))
    assert built["dimension"].found == directions.dimension_findings(
        data.stats, built["dimension"].table, summaries.hidden_units(data.stats, data.zoom))
    table = built["saturation"].table
    said = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", built["saturation"].found[0])]
    assert said == [table["channels"].sum(), table["dead"].sum(), table["open"].sum(), table["constant"].sum()]
    best = built["selective"].table.iloc[0]
    assert f"channel **{best['channel']}** (ω² {best['omega_squared']:.2f})" in built["selective"].text
    chance = summaries.best_by_chance(data.stats, data.stats.blocks[-1])
    channels = data.stats.blocks[-1].channels
    said = built["selective"].text.partition("By chance, with labels dealt at random, ")[2]
    assert said.startswith(f"the first of {channels} channels would have an ω² of at most {chance:.2f}, 19 times out")
    assert ("here it has no more" in said) == (best["omega_squared"] <= chance)
    assert (f"between classes that do not differ, the first of {channels} channels would have a d of at most"
            in built["separating"].text)
    assert "less each channel's mean" in built["heat_map"].text and "less each" not in built["plain"].text


def test_what_is_shown_is_named(data, full):
    assert data.quantity == "weight of 5×5"
    for name in ("depth", "dimension", "driving"):  # which speak of the gate
        assert "The gate is here the weight of 5×5." in data.head(name).more
    assert data.head("saturation").title == "Saturated and dead kernel weights"
    assert data.what == (f"{full.metadata['model']} on {full.metadata['data']}, {full.metadata['images']} pictures of "
                         f"4 classes, zoom {data.zoom:g}×")
    facts = data.facts()
    assert facts[:3] == ["**23** pictures", "**4** classes of 2 to 8", "3 without a label, which count to all only"]
    device = full.metadata["device"]
    assert re.search(r"[0-9a-f]{8}, float32 matrix products", device)  # what only a report has
    assert facts[-1].startswith(f"{full.metadata['settings']['precision']} on cpu ") and facts[-1].count(" ") == 5
    assert facts[-1].split(" on ")[1].split(",")[0] == " ".join(device.split(",")[0].split(" ")[:2])
    assert list(data.classes.values()) == [0, 1, 2, 4]  # none is of class 3


def test_where_nothing_can_be_told_there_is_no_section(data, monkeypatch):
    assert data.lines([data.stats.blocks[0].label], [], overall=None) is None
    assert data.paper(["SE_9_9"]) is None
    monkeypatch.setattr(data.stats, "count", np.zeros_like(data.stats.count))
    label = data.stats.blocks[0].label
    assert data.selective(label) is None and data.channel_classes(label, 0) is None


def test_photos_are_drawn_beside_their_classes(photo_sections, data):
    lines = photo_sections.lines()
    assert "In the same colour: the mean of its class" in lines.text
    assert ("not enlarged" in lines.text) == (data.zoom != 1)
    pd.testing.assert_frame_equal(lines.table, photos.lines(
        data.stats, photo_sections.gates, photo_sections.classes, zoom=data.zoom))
    strange = PhotoSections(data, photo_sections.views, dict.fromkeys(photo_sections.views, "unheard of"), LOADING,
                            photo_sections.paths)
    assert "The data set has none of their classes." in strange.lines().text


def test_the_distance_from_the_own_class_is_about_1_as_a_root_mean_square_alone(photo_sections):
    text = photo_sections.nearest().text
    assert "the root mean square distance of a picture from its own class is about 1; the mean is smaller." in text
    assert "average" not in text
    counts = photo_sections.data.stats.count
    assert text.count(f"by chance it would be in 25.0% to {counts.max() / counts.sum():.1%}, the share of the largest "
                      f"class.") == 1


def test_grad_cam_is_averaged_by_class(photo_sections, data):
    names = list(photo_sections.views)
    maps = {name: {"stage 2": np.array([[0.0, 1.0 + i], [2.0, 0.5]])} for i, name in enumerate(names)}
    seen = {name: np.full((4, 4, 3), 50 * i, np.uint8) for i, name in enumerate(names)}
    together = PhotoSections(data, photo_sections.views, dict.fromkeys(names, "*cat*"), LOADING, photo_sections.paths)
    section = together.mean_cams({"stage 2": "layer1"}, maps, dict.fromkeys(names, 1), seen)
    assert section.text.endswith(r"\*cat\*: 2 photos.")
    pd.testing.assert_frame_equal(section.table, tables.cells(tables.mean_maps(maps, together.classes)))
    assert "targets=[{'photo 0': 1, 'photo 1': 1}[name]], layers=['layer1']" in section.script


def test_a_gate_that_never_changes_has_no_highest_class(run, tmp_path):
    """Of one always open: no class has more of it than another, and no channel separates two."""
    model = make_model("se")
    block = model.blocks[-1]
    last = [module for module in model.module.get_submodule(block.name).modules() if hasattr(module, "bias")][-1]
    last.bias.data.fill_(60.0)
    data = DataSections(run(tmp_path / "out", model))
    first, second = list(data.classes)[:2]
    found = data.channel_classes(block.label, 1)
    assert f"In channel 1 of {block.label} the mean gate is 1.00 for every class" in found.text
    assert found.figure.layout.meta["alt"].endswith("classes have the same mean gate, 1.00.")
    assert "It is the same for every class." in data.heat_map(block.label).text
    assert "the same for every class" not in data.heat_map(data.stats.blocks[0].label).text
    assert data.separating(block.label, first, second).text.endswith(
        "Here it cannot be told: that takes two pictures or more of either class, and a gate that varies.")
    assert "19 times out of 20" in data.separating(data.stats.blocks[0].label, first, second).text
    assert f"there is no number of **{block.label}**, whose {block.channels} channels are all open." in " ".join(
        data.depth().found)
    assert f"In **{block.label}** it cannot be told" in " ".join(data.dimension().found)


def test_each_section_is_signed_with_the_pictures_it_is_of(run, tmp_path):
    """A sample's numbers are not those of all pictures, nor ω² that of pictures without a label."""
    stats = run(tmp_path / "out", options={"sample": 20})
    data = DataSections(stats)
    every, sampled = stats.metadata["images"], stats.sampled
    assert sampled == 20 < every and f"{every:,} pictures" in data.source
    for name in ("dimension", "driving"):
        section = getattr(data, name)()
        assert section.source.endswith(f"20 of {every:,} pictures of {len(data.classes)} classes")
        assert section.text.endswith(f"*{section.source}.*")
    assert (data.dimension().table["images"] == 20).all()
    labelled = stats.count.sum()
    assert data.depth().source.endswith(
        f", {f'{labelled} of ' if labelled < every else ''}{every:,} pictures of {len(data.classes)} classes")
    assert data.saturation().source == data.source
    assert data.heat_map(stats.blocks[0].label).text.endswith(f"*{data.depth().source}.*")
