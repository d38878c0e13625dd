import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import class_heat_map
from senet_viz.figures.heat_map import NAMED_CHANNELS, NAMED_CLASSES
from senet_viz.figures.style import SEQUENTIAL


def table(classes=4, channels=(7, 2, 9), centred=True, seed=0) -> pd.DataFrame:
    names = [f"class {i}" for i in range(classes)] if isinstance(classes, int) else classes
    values = np.random.default_rng(seed).uniform(0.1, 0.9, (len(names), len(channels)))
    made = pd.DataFrame(values, index=names, columns=list(channels))
    return made - made.mean() if centred else made


def test_cells_are_the_table_in_its_order():
    data = table()
    figure = class_heat_map(data)
    [map_] = figure.data
    np.testing.assert_allclose(map_.z, data, rtol=1e-6)
    assert list(map_.x) == ["7", "2", "9"] and list(map_.y) == list(data.index) and map_.zsmooth is False
    # the first class on top; numbers of channels are names, not places
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "category"
    assert figure.layout.xaxis.title.text == "channel, similar ones side by side"
    assert class_heat_map(table(channels=range(3))).layout.xaxis.title.text == "channel index"


def test_centred_values_have_colours_around_zero():
    data = table()
    map_ = class_heat_map(data).data[0]
    assert map_.zmax == pytest.approx(np.abs(data.to_numpy()).max()) and map_.zmin == -map_.zmax
    assert map_.colorbar.title.text == "mean gate − mean over classes"


@pytest.mark.parametrize(("factor", "top"), [(0.5, 1), (10, None)])
def test_others_run_from_zero_to_one_or_to_the_largest(factor, top):
    data = table(centred=False) * factor
    map_ = class_heat_map(data).data[0]
    assert map_.zmin == 0 and map_.zmax == pytest.approx(top or data.to_numpy().max())
    assert map_.colorscale[0][1] == SEQUENTIAL[0] and map_.colorbar.title.text == "mean gate"


def test_the_alternative_text_is_true():
    data = table()
    data.loc["class 2", 9] = -0.95
    alt = class_heat_map(data, quantity="weight").layout.meta["alt"]
    assert alt == (f"Weight of 4 classes in 3 channels, from -0.95 to {data.to_numpy().max():.2f}; "
                   "the largest difference is -0.95, of class 2 in channel 9.")


def test_a_thousand_classes_and_two_thousand_channels():
    data = pd.DataFrame(np.zeros((1000, 2048)))
    figure = class_heat_map(data)
    assert not figure.layout.xaxis.showticklabels and not figure.layout.yaxis.showticklabels
    assert figure.layout.yaxis.title.text == "class" and figure.layout.height <= 900
    assert len(figure.to_json()) < 14e6  # 4 bytes a value, in base64
    small = class_heat_map(data.iloc[:NAMED_CLASSES, :NAMED_CHANNELS])
    assert small.layout.xaxis.showticklabels and small.layout.yaxis.showticklabels


def test_two_classes_of_one_name_are_two_rows():
    names = ["crane", "b", "crane", "x" * 100 + "1", "x" * 100 + "2"]
    figure = class_heat_map(table(names))
    assert len(set(figure.data[0].y)) == 5 and figure.data[0].y[2] == "crane (2)"
    assert list(figure.layout.yaxis.ticktext[:3]) == ["crane", "b", "crane"]


def test_names_are_shown_as_they_stand(ugly):
    figure = class_heat_map(table((ugly, "b")))
    for text in (figure.data[0].y[0], figure.layout.yaxis.ticktext[0]):
        assert "<" not in text and "%" not in text and len(text) < 130


def test_nan_and_nothing():
    data = table()
    data.iloc[1] = np.nan
    figure = class_heat_map(data)
    assert np.isfinite([figure.data[0].zmin, figure.data[0].zmax]).all() and figure.data[0].hoverongaps is False
    assert "nan" not in figure.layout.meta["alt"]
    assert class_heat_map(data * np.nan).layout.meta["alt"] == "Mean gate of 4 classes in 3 channels."
    empty = class_heat_map(data.iloc[:0])
    assert empty.layout.meta["alt"] == "Mean gate of 0 classes in 3 channels." and empty.to_json()


def test_a_block_that_is_the_same_for_all():
    assert class_heat_map(table() * 0 + 1).layout.meta["alt"] == "Mean gate of 4 classes in 3 channels, 1.00 in each."
    assert class_heat_map(table() * 0, quantity="gate").layout.meta["alt"].endswith("3 channels, 0.00 in each.")
