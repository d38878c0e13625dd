"""Maps over signals and volumes: every number drawn is one of the arrays given."""
import numpy as np

from senet_viz.figures import map_lines, volume_slices

RNG = np.random.default_rng(0)


def test_lines_over_signals():
    signals = {"a": RNG.normal(size=200), "b": RNG.normal(size=(2, 100))}
    cams = {name: {"one": RNG.uniform(size=50), "two": RNG.uniform(size=10)} for name in signals}
    cams["b"]["two"][:] = 0
    figure = map_lines(signals, cams, classes={"a": "bird", "b": "rain"})
    lines = [trace for trace in figure.data if trace.name != "signal"]
    for trace, (name, layer) in zip(lines, [(name, layer) for name in signals for layer in ("one", "two")]):
        values = cams[name][layer]
        np.testing.assert_array_equal(trace.customdata, values)
        np.testing.assert_allclose(trace.y, values / values.max() if values.any() else 0)
        length = np.atleast_2d(signals[name]).shape[1]
        assert len(trace.x) == len(values)
        np.testing.assert_allclose([trace.x[0] + 0.5, length - 0.5 - trace.x[-1]], length / len(values) / 2)
    drawn = [trace.y for trace in figure.data if trace.name == "signal"]
    np.testing.assert_allclose(drawn[0], (signals["a"] - signals["a"].min()) / np.ptp(signals["a"]))
    assert [len(values) for values in drawn] == [200, 100]
    assert [trace.showlegend for trace in figure.data] == [True] * 3 + [False] * 3
    assert "2 signals" in figure.layout.meta["alt"] and "1 of 4 maps are empty" in figure.layout.meta["alt"]


def test_a_signal_that_never_changes():
    figure = map_lines({"a": np.ones(10)}, {"a": {"one": np.zeros(5)}}, classes={"a": "silence"})
    assert all(np.isfinite(trace.y).all() for trace in figure.data)


def test_middle_slices_of_volumes():
    volume, cam = RNG.normal(size=(8, 10, 12)), RNG.uniform(size=(4, 5, 6))
    figure = volume_slices({"scan": volume}, {"scan": {"stage": cam}}, classes={"scan": "nodule"})
    drawn = [trace for trace in figure.data if trace.type == "heatmap"]
    for trace, expected in zip(drawn, (cam[2], cam[:, 2], cam[:, :, 3])):
        np.testing.assert_array_equal(np.asarray(trace.z), expected)
    assert len(drawn) == 3
    titles = " ".join(annotation.hovertext or "" for annotation in figure.layout.annotations)
    assert all(f"mid-{axis}" in titles for axis in ("depth", "height", "width"))


def test_channels_of_a_volume_are_averaged():
    volume, cam = RNG.normal(size=(3, 4, 5, 6)), RNG.uniform(size=(2, 2, 2))
    alone, several = (volume_slices({"v": v}, {"v": {"one": cam}}, classes={"v": "c"})
                      for v in (volume.mean(0), volume))
    assert [trace.source for trace in alone.data if trace.type == "image"] == [
        trace.source for trace in several.data if trace.type == "image"]
