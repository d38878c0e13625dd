"""Photos and what is chosen for them, from page to page."""
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.parts import pictures
from senet_viz.models import embedded_models
from tests.app.checks import fine, png, sections, sentences

SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
pytestmark = pytest.mark.skipif(not {SE, SK} <= set(embedded_models()), reason="the embedded models are missing")


def shown(app) -> list[str]:
    return list(dict.fromkeys(sections(app)["predictions"].table["picture"]))


@pytest.fixture
def uploaded(start):
    """Explore with two photos of one's own and one sample."""
    app = start(model=SK, sample="teapot")
    app.file_uploader(key="uploads").set_value([("a.png", png(1), "image/png"), ("b.png", png(2), "image/png")]).run()
    fine(app)
    assert shown(app) == ["a.png", "b.png", "teapot"]
    return app


def go(app, page: str):
    app.switch_page(page).run()
    fine(app)
    return app


def test_photos_samples_and_choices_go_along(uploaded):
    app = uploaded
    label = app.session_state["loaded"].model.class_labels[7]
    app.selectbox(key="class").set_value(label).run()
    go(app, "pages/anatomy.py")
    assert list(app.selectbox(key="anatomy_picture").options) == ["a.png", "b.png", "teapot"]
    app.selectbox(key="anatomy_picture").set_value("b.png").run()
    go(app, "pages/kernels.py")
    assert app.selectbox(key="kernel_picture").value == "b.png"
    assert app.session_state["sample"] == ["teapot"]
    go(app, "pages/explore.py")
    assert shown(app) == ["a.png", "b.png", "teapot"]
    assert app.selectbox(key="class").value == label
    assert app.query_params["photo"] == ["a.png", "b.png"] and "class" in app.query_params


def test_a_photo_is_removed_where_it_was_added_and_where_it_was_not(uploaded):
    app = uploaded
    app.file_uploader(key="uploads").set_value([("b.png", png(2), "image/png")]).run()
    assert shown(app) == ["b.png", "teapot"]
    go(go(app, "pages/anatomy.py"), "pages/explore.py")
    assert shown(app) == ["b.png", "teapot"]
    app.file_uploader(key="uploads").set_value([("c.png", png(3), "image/png"), ("b.png", png(4), "image/png")]).run()
    assert shown(app) == ["b.png", "c.png", "b.png (2)", "teapot"]
    before = app.multiselect(key="photos_before")
    assert len(before.value) == 1  # the others are in the uploader
    before.set_value([]).run()
    fine(app)
    assert shown(app) == ["c.png", "b.png (2)", "teapot"] and len(app.session_state["photos"]) == 2


def test_photos_have_a_bound(uploaded, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", sum(len(p.data) for p in uploaded.session_state["photos"].values()) + 10)
    go(uploaded, "pages/anatomy.py")
    uploaded.file_uploader(key="uploads").set_value([("more.png", png(5), "image/png")]).run()
    fine(uploaded, errors=1)
    assert sentences(uploaded.error)[0].startswith("more.png: there is no more room")
    assert [photo.name for photo in uploaded.session_state["photos"].values()] == ["a.png", "b.png"]


def test_whoever_opens_a_link_learns_which_photos_are_missing(start):
    names = ["<b>x %{y} $a$ _i_.png", "b.png"]
    app = start(sample="teapot", photo=names)
    fine(app)
    assert shown(app) == ["teapot"]
    note, = (text for text in sentences(app.info) if "cannot travel in a link" in text)
    assert note.startswith(f"This link also showed {names[0]}, {names[1]}, which were uploaded")
    app = start(sample="teapot", photo="b.png")
    assert any(text.startswith("This link also showed b.png, which was uploaded") for text in sentences(app.info))


def test_a_link_wins_over_what_was_chosen_before(start):
    app = start(run=False, sample="rocket")
    app.session_state["choices"] = {"sample": ["teapot"], "class": "lemon"}
    app.query_params["class"] = "banana"
    app.run()
    fine(app)
    assert app.session_state["sample"] == ["rocket"] and app.session_state["class"] == "banana"


def test_what_one_page_has_explained_is_not_what_another_asks_for(start):
    """What if looks at a picture at the ends of stages, Explore at every gate too: in this order as well."""
    app = start(run=False, model=SE, sample="teapot", edits="SE_5_3=1")
    app.run()
    st.cache_resource.clear()
    go(app, "pages/what_if.py")
    assert "what_cams" in sections(app)
    go(app, "pages/explore.py")
    assert "gate_change" in sections(app)


def test_what_a_browser_says_once_more_of_a_page_that_was_left():
    """Of a widget that is gone Streamlit calls what was to be called on a change: photos and choices stay."""
    def script():
        import streamlit as st

        from pages.parts import editing, pictures, sections

        st.session_state["photos"], st.session_state["edits"] = {"1": "a photo"}, "SE_2_1=1"
        pictures._take()
        pictures._remove(["1"])
        editing._slide(1, "gone", {})
        st.write(st.session_state["photos"], st.session_state["edits"],
                 sections.clicked("gone"), sections.clicked_number("gone") is None)

    app = AppTest.from_function(script).run()
    fine(app)
    assert [element.value for element in app.main if element.type in ("markdown", "json")] == [
        '{"1": "a photo"}', "SE_2_1=1", "{}", "`True`"]
