"""The Explore page as a person uses it, in a real browser."""
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import senet_viz as sv
from senet_viz import tables
from senet_viz.figures.style import SEQUENTIAL

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "assets" / "samples").glob("*.jpg"))
NAMES = [path.stem.replace("_", " ") for path in SAMPLES]
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
UGLY = "<b>x %{y} &lt; $a$ _i_.png"
LONG = "a photo whose name is longer than what fits above its row.jpg"
FIGURES = ["all_blocks", "excitation", "channel_maps", "grad_cam", "gate_change", "contribution"]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def photos() -> list[Path]:
    """Three photos that are not the app's own, where there are any."""
    import os
    folder = Path(os.environ.get("SENET_VIZ_DATA") or ROOT.parent / "shared") / "photos"
    return (sorted(folder.glob("*.jpg"))[:3] if folder.is_dir() else []) or SAMPLES[-3:]


@pytest.fixture(scope="module")
def model() -> sv.Model:
    return sv.load(SE, device="cpu")


@pytest.fixture(scope="module")
def uploaded(shared_tab, photos, tmp_path_factory):
    """Photos, one with a name of signs that mean something elsewhere, one with a long name, a letter, and a sample."""
    folder = tmp_path_factory.mktemp("uploads")
    Image.open(SAMPLES[0]).save(folder / UGLY)
    Image.open(SAMPLES[3]).save(folder / LONG)
    (folder / "letter.jpg").write_text("Dear Sir or Madam")
    page = shared_tab().open(sample=NAMES[1])
    page.widget("uploads").locator("input").set_input_files(
        [*photos, *(folder / name for name in (UGLY, LONG, "letter.jpg"))])
    page.page.get_by_test_id("stAlertContentError").wait_for()
    return page.until("count => document.querySelectorAll('[data-testid=stImage]').length === count", len(photos) + 3)


def contrast(page, selector: str) -> float:
    """WCAG's ratio of a text's colour and the page's ground."""
    colours = page.evaluate("""selector => {
        const text = document.querySelector(selector), style = getComputedStyle(text)
        const ground = getComputedStyle(document.querySelector('[data-testid="stApp"]')).backgroundColor
        return [text instanceof SVGElement ? style.fill : style.color, ground]
    }""", selector)

    def luminance(colour: str) -> float:
        values = np.array([float(v) for v in re.findall(r"[\d.]+", colour)][:3]) / 255
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    bright, dark = sorted(map(luminance, colours), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def first(shared_tab):
    """The first start, for tests that choose nothing on it."""
    return shared_tab().open()


@pytest.fixture(scope="module")
def visit(shared_tab):
    """A visit of two samples, on which tests choose one thing each."""
    return shared_tab().open(sample=NAMES[1:3])


@pytest.fixture(scope="module")
def wide(shared_tab):
    """Four samples in a wide window in the dark, which tests make narrower: the sidebar stays."""
    return shared_tab("dark", height=900).open(sample=NAMES[:4])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_opens_with_samples_and_every_chart_drawn(first, wide, theme):
    page, pictures = (first, 2) if theme == "light" else (wide, 4)
    for key in FIGURES:
        chart = page.chart(key)
        assert chart.count() == 1, key
        drawn = [t for t in page.traces(key) if t["visible"] is True]
        assert drawn and all(t.get("x") or t.get("z") or t["type"] == "image" for t in drawn), key
        # marks on the screen, not only data: points, boxes, heat maps (as images)
        assert chart.locator(".point, .box, .hm image, .im image, path.js-line").count() >= len(drawn) / 2, key
        box = chart.bounding_box()
        assert box["width"] > 300 and box["height"] > 200
    assert page.page.locator(".js-plotly-plot").count() == len(FIGURES)
    assert page.page.get_by_test_id("stImage").count() == page.page.locator("table.ranking").count() == pictures
    assert page.page.get_by_test_id("stDataFrame").count() == 1
    assert page.errors_shown() == []
    assert page.page.locator("h2").all_inner_texts() == [
        "Predictions", "All blocks at a glance", "One block, channel by channel", "Channels that differ most",
        "Where the network looks", "Gate and contribution", "The whole page"]
    for selector, least in (("h1", 4.5), (".st-key-all_blocks_figure .legendtext", 4.5),
                            (".st-key-grad_cam_figure .annotation-text", 3.0),  # Streamlit's own grey
                            (".st-key-all_blocks_figure .xtick text", 3.0)):
        assert contrast(page.page, selector) > least, selector
    ground = page.page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 382) == (theme == "light")


def test_the_contents_lead_to_sections(visit):
    visit.contents_lead_to_sections()


def test_charts_and_pictures_are_described(first):
    page = first
    described = page.page.get_by_test_id("stPlotlyChart").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert len(described) == len(FIGURES) and all(len(text) > 40 for text in described)
    assert len(set(described)) == len(FIGURES)
    pictures = page.page.get_by_test_id("stImage").locator("img").evaluate_all("all => all.map(e => e.alt)")
    assert [text.partition(" as the network saw it")[0] for text in pictures] == NAMES[:2]
    unnamed = page.page.locator("button:visible, input:visible").evaluate_all("""all => all.filter(e => !(
        e.ariaLabel || e.innerText || e.title || e.labels?.length || e.getAttribute('aria-labelledby'))
    ).map(e => e.outerHTML.slice(0, 200))""")
    assert unnamed == []


def test_uploaded_photos_are_shown(uploaded, photos, model):
    page = uploaded
    shown = page.traces("excitation")
    assert len(shown) == len(photos) + 3
    for path, trace in zip(photos, shown):
        view = sv.inspect(model, model.batch([sv.open_image(path)]))
        expected = view.gates[model.blocks[-1].name][0, 0].numpy()[trace["customdata"]]
        np.testing.assert_allclose(trace["y"], expected, atol=1e-4)
    assert page.page.url.count("photo=") == len(photos) + 3


def test_a_click_on_a_channel_opens_it(visit):
    page = visit
    trace = page.traces("excitation")[1]
    index = int(np.argmax(trace["y"]))
    channel = trace["customdata"][index]
    assert str(channel) != page.widget("channel").locator("input").input_value()
    page.page.mouse.click(*page.point("excitation", 1, index))
    page.until("channel => document.querySelector('.st-key-channel input').value === String(channel)", channel)
    label = page.page.locator(".st-key-channel_maps_figure [data-testid=stPlotlyChart]").get_attribute("aria-label")
    assert label.startswith(f"Channel {channel} of SE_5_3:") and f"{NAMES[2]}: {trace['y'][index]:.3f} " in label
    assert f"channel={channel}" in page.page.url


def test_a_class_by_typing_and_the_opacity_of_the_maps(visit, model):
    page = visit
    label = model.class_labels[40]
    page.choose("class", label)
    described = page.page.locator(".st-key-grad_cam_figure [data-testid=stPlotlyChart]")
    assert f"for {label};" in described.get_attribute("aria-label")
    view = sv.inspect(model, model.batch([sv.open_image(SAMPLES[1])]), targets=[40], layers=["layer4"])
    last = [t for t in page.traces("grad_cam") if t["type"] == "heatmap"][3]
    expected = view.cams["layer4"][0, 0].numpy()
    np.testing.assert_allclose(last["z"], expected, atol=1e-4 * expected.max())
    assert last["opacity"] == 0.5 and last["zsmooth"] == "best"
    assert [c.lower() for _, c in last["colorscale"]] == [c.lower() for c in SEQUENTIAL]  # no theme has touched it
    slider = page.widget("opacity").locator("input")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    page.until("""() => document.querySelector('.st-key-grad_cam_figure .js-plotly-plot')?._fullData?.every(
        trace => trace.type !== 'heatmap' || Math.abs(trace.opacity - 0.65) < 1e-6)""")
    page.widget("smooth").locator("label").click()
    page.until("""() => document.querySelector('.st-key-grad_cam_figure .js-plotly-plot')?._fullData?.every(
        trace => trace.type !== 'heatmap' || !trace.zsmooth)""")
    assert "opacity=0.65" in page.page.url and "class=" in page.page.url
    page.choose("class", "no such thing")
    page.page.get_by_test_id("stAlertContentError").wait_for()
    page.settle()
    assert len(page.errors_shown()) == 1 and "no such thing" in page.errors_shown()[0]
    assert page.chart("grad_cam").count() == 0 and page.chart("contribution").count() == 1
    page.choose("class", "each picture's own top class")
    assert page.chart("grad_cam").count() == 1 and page.errors_shown() == []


def test_the_link_of_a_chosen_block_restores_it(visit):
    page = visit
    page.choose("block", "SE_3_2")
    assert "block=SE_3_2" in page.page.url
    before = page.traces("excitation")
    page.page.reload()
    page.settle()
    assert page.widget("block").get_by_role("combobox").input_value() == "SE_3_2"
    assert page.traces("excitation") == before and [t["name"] for t in before] == NAMES[1:3]


def test_a_second_opinion_runs_to_its_end(visit):
    page = visit
    assert page.chart("opinion").count() == 0
    page.widget("opinion_run").get_by_role("button").click()
    page.chart("opinion").wait_for()
    page.settle()
    values = np.array(page.traces("opinion")[-1]["z"])
    assert values.shape == (64, 64) and np.abs(values).max() > 0
    described = page.page.locator(".st-key-opinion_figure [data-testid=stPlotlyChart]").get_attribute("aria-label")
    assert described.startswith("occlusion, ") and f"for {NAMES[1]}:" in described
    assert page.page.get_by_test_id("stProgress").count() == 0 and page.errors_shown() == []


def test_the_selective_kernel_model_shows_its_kernels(visit):
    page = visit
    page.choose("model", SK)
    page.page.get_by_role("heading", name="Kernel choice").wait_for()
    page.settle()
    for key in [*FIGURES, "kernels"]:
        assert page.chart(key).count() == 1, key
    seen = sv.load(SK, device="cpu")
    views = {name: sv.inspect(seen, seen.batch([sv.open_image(path)])) for name, path in zip(NAMES[1:3], SAMPLES[1:3])}
    expected = tables.kernel_preference(views)
    for trace, name in zip(page.traces("kernels"), NAMES[1:3], strict=True):
        np.testing.assert_allclose(trace["y"], expected[expected["picture"] == name]["difference"], atol=1e-4)
        assert trace["x"] == [block.label for block in seen.blocks]
    assert page.widget("quantity").count() == 1 and page.errors_shown() == []


def test_tables_and_the_report_are_downloaded(first, browser, model, tmp_path):
    page = first
    views = {name: sv.inspect(model, model.batch([sv.open_image(path)])) for name, path in zip(NAMES[:2], SAMPLES)}
    for key, expected in (("predictions", tables.predictions(views, model.classes)),
                          ("all_blocks", tables.summary(views)),
                          ("differences", tables.differences(*views.values()))):
        path = page.download(page.widget(f"{key}_csv").locator("button:visible"), tmp_path)
        assert path.name == f"{key}.csv"
        table = pd.read_csv(path, keep_default_na=False)
        if key == "differences":  # rounding may change the order of equals
            assert list(table.columns) == list(expected.columns)
            np.testing.assert_allclose(table["difference"].abs(), expected["difference"].abs(), atol=1e-4)
        else:
            pd.testing.assert_frame_equal(table, expected, check_dtype=False, rtol=1e-3, atol=1e-5)
    path = page.download(page.widget("report").locator("button:visible"), tmp_path)
    assert path.name == "se_resnet50_slim_report.html"

    context = browser.new_context(offline=True)
    offline = context.new_page()
    said, asked = [], []
    offline.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    offline.on("pageerror", lambda error: said.append(str(error)))
    offline.on("request", lambda request: asked.append(request.url))
    offline.goto(path.as_uri())
    offline.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 3")
    described = offline.locator("[role=img]").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert described == page.page.get_by_test_id("stPlotlyChart").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert offline.locator("[role=img] .js-plotly-plot .main-svg").count() >= len(FIGURES)
    assert offline.locator("[role=img] .js-plotly-plot").count() == len(FIGURES)
    assert offline.locator("img").evaluate_all("all => all.every(e => e.complete && e.naturalWidth > 0)")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == [] and said == []
    context.close()


def test_a_figure_is_downloaded_as_png_and_svg(first, tmp_path):
    page = first
    camera = page.chart("grad_cam").locator(".modebar-btn").first
    page.chart("grad_cam").hover()
    path = page.download(camera, tmp_path)
    assert path.name == "grad_cam.png"
    picture = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    assert picture.width > 800 and len(picture.resize((64, 64)).getcolors(4096)) > 200  # photos and maps are in it
    page.widget("image_format").get_by_text("svg", exact=True).click()
    page.until("document.querySelector('.st-key-image_format [aria-checked=true]').innerText.trim() === 'svg'")
    page.chart("all_blocks").hover()
    path = page.download(page.chart("all_blocks").locator(".modebar-btn").first, tmp_path)
    assert path.name == "all_blocks.svg"
    svg = path.read_text()
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert all(name in svg for name in NAMES[:2]) and "SE_5_3" in svg


def test_a_bad_file_is_one_sentence_and_the_page_goes_on(uploaded):
    assert len(uploaded.errors_shown()) == 1
    assert "letter.jpg: The file is not a picture" in uploaded.errors_shown()[0]
    assert all(uploaded.chart(key).count() == 1 for key in FIGURES)


def test_a_name_is_shown_letter_by_letter(uploaded, photos):
    page, place = uploaded, len(photos)
    legend = page.chart("all_blocks").locator(".legendtext").all_text_contents()
    assert len(legend) == len(photos) + 3 and legend[-1] == NAMES[1]
    assert legend[place] in (UGLY[:12] + "…" + UGLY[-11:], UGLY)
    page.page.mouse.move(*page.point("excitation", place, 5))
    hover = page.chart("excitation").locator(".hoverlayer .hovertext").filter(has_text=UGLY)
    hover.first.wait_for()
    assert UGLY in page.page.get_by_test_id("stImageCaption").nth(place).inner_text()
    rows = page.chart("grad_cam").locator(".annotation-text").all_text_contents()
    assert any(text.startswith(UGLY[:11]) for text in rows)


def test_the_whole_name_is_under_the_pointer_above_a_row(uploaded):
    page = uploaded
    above = page.chart("grad_cam").locator(".annotation-text-g").filter(has_text="a photo who")
    above.scroll_into_view_if_needed()
    page.page.wait_for_timeout(300)
    box = above.bounding_box()
    page.page.mouse.move(box["x"] + 8, box["y"] + 5)
    hover = page.chart("grad_cam").locator(".hoverlayer .hovertext")
    hover.first.wait_for()
    assert LONG in hover.first.text_content()


@pytest.fixture(scope="module")
def narrow(shared_tab):
    """Four samples on a phone."""
    return shared_tab(width=420, height=900).open(sample=NAMES[:4])


@pytest.mark.parametrize("width", [420, 1440, 1100, 800])
def test_photos_and_samples_have_room(narrow, wide, width):
    page = narrow if width == 420 else wide
    page.page.set_viewport_size({"width": width, "height": 900})
    page.settle()
    uploads, samples = (page.widget(key).bounding_box() for key in ("uploads", "sample"))
    assert min(uploads["width"], samples["width"]) > 340 and samples["height"] < 160
    for box in page.page.locator("table.ranking").all():
        cells = box.locator("td").evaluate_all("all => all.map(e => e.scrollWidth - e.clientWidth)")
        assert max(cells) <= 1  # no class and no probability is cut


def test_on_a_narrow_screen_nothing_is_lost_to_the_side(narrow):
    page = narrow
    page.page.set_viewport_size({"width": 420, "height": 900})
    for motion in ("reduce", "no-preference"):
        page.page.emulate_media(reduced_motion=motion)
        page.fits()


def test_a_grid_that_is_wider_than_the_window_shows_that_it_goes_on(narrow):
    page = narrow
    page.page.set_viewport_size({"width": 420, "height": 900})
    page.settle()
    grid = page.widget("grad_cam_figure")
    mask = "e => getComputedStyle(e).maskImage"
    assert grid.evaluate("e => e.scrollWidth - e.clientWidth") > 100 and "gradient" in grid.evaluate(mask)
    grid.evaluate("e => { e.scrollLeft = e.scrollWidth }")
    page.page.wait_for_function("() => getComputedStyle(document.querySelector('.st-key-grad_cam_figure')).maskImage "
                                "=== 'none'")
    page.page.set_viewport_size({"width": 1440, "height": 900})
    page.settle()
    assert grid.evaluate("e => e.scrollWidth - e.clientWidth") <= 0 and grid.evaluate(mask) == "none"
