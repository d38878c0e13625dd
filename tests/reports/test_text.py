import pytest

from senet_viz.reports.text import file_name


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
