import pytest

from senet_viz.reports.text import ends, file_name, listed, number, plain, shortened


@pytest.mark.parametrize("model, name", [
    ("demo/se_resnet50_slim", "se_resnet50_slim"),
    ("timm/seresnet50.ra2_in1k", "seresnet50.ra2_in1k"),  # and not that of another tag
    ("timm/hf-hub:someone/network", "network"),
    ("best.v2.safetensors (timm seresnet50.ra2_in1k)", "best.v2_timm_seresnet50.ra2_in1k"),
    ("weights.pt", "weights"),
    ("package.module:factory", "package.module_factory"),
    ("..\\..\\con?", "con"),
    ("/", "model"),
])
def test_file_names(model, name):
    assert file_name(model) == name


def test_endless_words_lack_their_middle():
    text = f"no model {'a' * 300}{'b' * 4_700}, it says"
    assert shortened(text) == f"no model {'a' * 200}…{'b' * 199}, it says"
    assert shortened("x" * 400 + " y") == "x" * 400 + " y"
    assert plain("*" * 5_000) == "\\*" * 200 + "…" + "\\*" * 200


def test_numbers_and_lists():
    assert [number(count, "class", "classes") for count in (0, 1, 2000)] == ["0 classes", "1 class", "2,000 classes"]
    assert number(2, "unit") == "2 units"
    assert [listed(range(count)) for count in range(4)] == ["", "0", "0 and 1", "0, 1 and 2"]
    assert listed("abc", "or") == "a, b or c"


@pytest.mark.parametrize(("low", "high", "digits", "said"), [
    (-0.0495, -0.0012, 2, "-0.05 to -0.001"), (-2.7, 0.04, 1, "-2.7 to +0.04"), (-2.7, 0.06, 1, "-2.7 to +0.1"),
    (-0.00004, 0.00006, 1, "+0.0 to +0.0001"), (0.0, 1.0, 1, "+0.0 to +1.0"), (0.0004, 0.3, 2, "+0.0004 to +0.30"),
    (-1.0, -1e-9, 3, "-1.000 to +0.000")])
def test_an_interval_shows_on_which_side_of_0_it_ends(low, high, digits, said):
    assert ends(low, high, digits) == said
    assert ends(low, high, digits, sign="") == said.replace("+", "")
