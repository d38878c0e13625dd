"""The sidebar: the model out of the catalogue, links, downloads, failures that are not repeated."""
import huggingface_hub
import pytest
import torch

from pages.parts import download, model
from senet_viz.models import catalog, embedded_models
from tests import hub
from tests.app.checks import fine, sentences

SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"

pytestmark = pytest.mark.skipif(not {SE, SK} <= set(embedded_models()), reason="the embedded models are missing")


@pytest.fixture
def bare(start):
    """``bare(model=…)``: the app without pictures."""
    def open_link(**parameters):
        app = start(run=False, **parameters)
        app.session_state["sample"] = []
        return app.run()
    return open_link


def test_the_whole_catalogue_is_offered_the_embedded_models_first(bare):
    app = bare()
    options = app.selectbox(key="model").options
    names = [option.partition(" · ")[0] for option in options]
    assert names[:3] == [SE, SK, model.OWN_CHECKPOINT]
    assert sorted(names) == sorted([*catalog()["name"], model.OWN_CHECKPOINT])
    assert options[names.index("timm/seresnet50.ra2_in1k")].startswith(
        "timm/seresnet50.ra2_in1k · 16 SE · 28.1 M · 80.3 %")
    assert options[names.index("timm/coatnet_2_rw_224.sw_in12k")].startswith(
        "timm/coatnet_2_rw_224.sw_in12k · 8 SE · 85 M")  # no accuracy was published


def test_the_address_holds_the_bare_name(bare):
    app = bare()
    assert "model" not in app.query_params
    app.selectbox(key="model").set_value(SK).run()
    fine(app)
    assert app.query_params["model"] == SK or app.query_params["model"] == [SK]
    assert app.session_state["loaded"].model.name == SK
    app.selectbox(key="model").set_value(SE).run()
    assert "model" not in app.query_params and app.session_state["loaded"].model.name == SE
    assert bare(model=SK).selectbox(key="model").value == SK


def test_a_label_of_another_time_is_its_name(start):
    app = start(run=False)
    app.session_state["sample"] = []
    app.session_state["model"] = f"{SK} · 16 SK · downloaded"  # as a browser has it from before
    app.run()
    fine(app)
    assert app.session_state["loaded"].model.name == SK and app.session_state["model"] == SK


def test_a_failure_waits_for_another_choice_or_another_try(bare, monkeypatch):
    asked = []

    def remote(name):
        asked.append(name)
        raise OSError("No way.")

    monkeypatch.setattr(download, "remote", lambda name: remote(name) if name.startswith("timm/") else None)
    app = bare(model="timm/seresnet50.ra2_in1k")
    for _ in range(2):
        fine(app, errors=1)
        assert sentences(app.error) == ["No way."] and len(asked) == 1
        assert f"The page goes on with {SE}." in sentences(app.caption)
        app.run()
    app.button(key="model_again").click().run()
    fine(app, errors=1)
    assert len(asked) == 2
    app.selectbox(key="model").set_value(SK).run()
    fine(app)
    assert app.session_state["loaded"].model.name == SK
    app.selectbox(key="model").set_value("timm/seresnet50.ra2_in1k").run()
    fine(app, errors=1)
    assert len(asked) == 3 and f"The page goes on with {SK}." in sentences(app.caption)


def test_weights_are_fetched_by_a_process_and_loaded_here(bare, monkeypatch, tmp_path):
    with hub.running(tmp_path) as running:
        running.go_on.set()
        for key, value in running.environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", running.environment["HF_HUB_CACHE"])
        app = bare(model=hub.NAME)
        fine(app)
    model = app.session_state["loaded"].model
    assert model.name == hub.NAME and not app.session_state["fetching"]
    assert all(torch.equal(value.cpu(), running.module.state_dict()[key])
               for key, value in model.module.state_dict().items())
    assert len(running.ranges) == 1  # by the process; here they were in the cache
    options = app.run().selectbox(key="model").options
    assert next(option for option in options if option.endswith("downloaded")).startswith(hub.NAME)
