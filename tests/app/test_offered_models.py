"""--models: which networks the sidebar, links, uploads and other pages let visitors have."""
import sys

import pytest

import senet_viz as sv
from pages.parts import download
from pages.parts.model import OWN_CHECKPOINT
from senet_viz.data.places import ASSETS
from senet_viz.models import catalog, embedded_models
from tests.app.checks import fine, sentences

SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"

pytestmark = pytest.mark.skipif(not {SE, SK} <= set(embedded_models()), reason="the embedded models are missing")


@pytest.fixture
def serve(start, monkeypatch):
    """``serve("demo/*", model=…)``: the app without pictures, by a link, on a server that was started with patterns."""
    def open_link(*patterns: str, arguments: tuple[str, ...] = (), page: str = "", **parameters):
        monkeypatch.setattr(sys, "argv", ["app.py", *(["--models", *patterns] if patterns else []), *arguments])
        app = start(run=False, **parameters)
        app.session_state["sample"] = []
        if page:
            app.switch_page(page)
        return app.run()
    return open_link


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The names whose weights were asked for; none is to be had."""
    names = []

    def remote(name):
        if name.startswith("demo/"):
            return
        names.append(name)
        raise OSError("No way.")

    monkeypatch.setattr(download, "remote", remote)
    return names


def names(app) -> list[str]:
    return [option.partition(" · ")[0] for option in app.selectbox(key="model").options]


def listed(*beginnings: str) -> list[str]:
    return sorted(name for name in catalog()["name"] if name.startswith(beginnings))


def test_the_sidebar_offers_what_matches(serve):
    app = serve(SE, "timm/seresnet50*", "torchvision/*")
    fine(app)
    assert sorted(names(app)) == listed(SE, "timm/seresnet50", "torchvision/") and names(app)[0] == SE
    assert len(names(app)) < len(catalog())
    assert sorted(names(serve("*"))) == sorted([*catalog()["name"], OWN_CHECKPOINT]) == sorted(names(serve()))
    assert names(serve("demo/sk*", "file:*")) == [SK, OWN_CHECKPOINT]
    assert names(serve("DEMO/*", SK)) == [SK]  # names are told apart by case


def test_the_environment_names_them_too(serve, monkeypatch):
    monkeypatch.setenv("SENET_VIZ_MODELS", "demo/sk*  timm/legacy_se*")
    assert sorted(names(serve())) == listed("demo/sk", "timm/legacy_se")
    assert names(serve(SE)) == [SE]
    monkeypatch.setenv("SENET_VIZ_MODELS", " ")
    assert len(names(serve())) == len(catalog()) + 1


@pytest.mark.parametrize("name", [
    SK, "timm/seresnet50.ra2_in1k", "torchvision/efficientnet_b0", "paper/se_resnet50", OWN_CHECKPOINT])
def test_links_obey(serve, asked, name):
    app = serve(SE, "timm/legacy*", model=name)
    fine(app, errors=1)
    assert sentences(app.error) == [f"This server does not offer {name!r}."]
    assert app.session_state["loaded"].model.name == SE
    assert not asked and not app.get("file_uploader")[1:]  # but that for photos
    app.selectbox(key="model").set_value(SE).run()
    fine(app)


def test_a_name_that_matches_but_is_not_listed_can_be_typed(serve, asked):
    name = "timm/legacy_seresnet50"  # without the tag of its weights
    assert name not in set(catalog()["name"])
    app = serve(SE, "timm/legacy*", model=name)
    assert asked == [name] and sentences(app.error) == ["No way."]


def test_uploads_obey(serve):
    content = (ASSETS / "models" / "sknet50_slim.safetensors").read_bytes()

    def upload(arch: str):
        app = serve(SE, "file:*", "timm/seresnet50")
        app.selectbox(key="model").set_value(OWN_CHECKPOINT).run()
        app.file_uploader(key="checkpoint").set_value([("mine.safetensors", content, "application/octet-stream")])
        return app.text_input(key="arch").set_value(arch).run()

    app = upload("")
    fine(app)
    assert app.session_state["loaded"].model.name.startswith("mine.safetensors")
    app = upload("timm/seresnet101")
    fine(app, errors=1)
    assert sentences(app.error) == ["This server does not offer 'timm/seresnet101'."]
    app = upload("timm/seresnet50")  # this one may be tried, and does not fit
    assert len(app.error) == 1 and "does not offer" not in app.error[0].value


def test_without_an_embedded_model_a_failure_leaves_nothing_to_show(serve, asked):
    app = serve("timm/legacy_senet154*")
    fine(app, errors=1)
    assert sentences(app.error) == ["No way."] and asked == ["timm/legacy_senet154.in1k"]
    assert sentences(app.info) == ["Choose a model in the sidebar to begin."]
    assert not app.title and "loaded" not in app.session_state
    app = serve("paper/*")  # names nothing that is listed
    fine(app)
    assert names(app) == [] and sentences(app.info) == ["Choose a model in the sidebar to begin."]


def test_the_operators_own_network_needs_no_pattern(serve):
    app = serve("demo/sk*", arguments=("--model", f"{__name__}:own"))
    fine(app)
    assert names(app) == [f"{__name__}:own", SK]
    assert app.session_state["loaded"].model.name == "my own"


def own() -> sv.Model:
    model = sv.load(SE, device="cpu")
    model.name = "my own"
    return model


def test_the_kernels_page_offers_no_other(serve):
    app = serve(SE, page="pages/kernels.py")
    fine(app)
    assert not [button.label for button in app.button if button.label.startswith("Take ")]
    app = serve(SE, SK, page="pages/kernels.py")
    assert [button.label for button in app.button if button.label.startswith("Take ")] == [f"Take {SK}"]
