import pytest

from senet_viz.reports.text import file_name, listed, number, plain, shortened


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
