"""Trained ablations on the Anatomy page: its numbers are those of the folder, and without a folder it says nothing."""
import inspect
import json

import pandas as pd
import pytest

from pages.parts import ablations
from senet_viz.models import embedded_models
from senet_viz.training import ablation_sections
from tests.app.checks import fine, same, sections, sentences
from tests.invented import invented

SE = "demo/se_resnet50_slim"
TITLE, LINK = "Ablations trained here", "(#ablations)"

pytestmark = pytest.mark.skipif(SE not in embedded_models(), reason="the embedded model is missing")


@pytest.fixture
def page(start, monkeypatch):
    """``page(folder)``: the page, with this folder for the one that comes with the program."""
    # read each time, and not kept: what pages show of the photo is the same in all tests
    monkeypatch.setattr(ablations, "_embedded", inspect.unwrap(ablations._embedded))

    def open_page(folder):
        monkeypatch.setattr(ablation_sections, "EMBEDDED", folder)
        app = start(run=False, model=SE, sample="ladybug", variant_block="SE_4_3")
        app.switch_page("pages/anatomy.py")
        return app.run()

    return open_page


def test_numbers_are_those_of_the_folder(page, tmp_path):
    folder = invented(tmp_path / "ablations", change={"none": -0.06, "convolution": -0.2, "pre": 0.03})
    app = page(folder)
    fine(app)
    assert TITLE in [header.value for header in app.header]
    section = sections(app)["ablations"]
    same(section.table.drop(columns="published"), pd.read_parquet(folder / "ablation.parquet"))
    [shown] = [frame.value for frame in app.dataframe if "high_both" in frame.value.columns]
    for row in shown.to_dict("records"):  # once more from each training's own file
        [name] = section.table.loc[section.table["label"] == row["label"], "variant"]
        facts = [json.loads((folder / name / str(seed) / "training.json").read_text()) for seed in (0, 1)]
        assert row["top1"] == pytest.approx(50 * sum(each["top1"] for each in facts))
        assert row["parameters"] == facts[0]["parameters"]
    assert "seconds" not in shown.columns  # they tell of the machine
    told = "\n".join(sentences(app.markdown))
    assert told.count(LINK) == 2  # from the variants that are not retrained, and the published errors beside them
    for point in section.points:
        assert point in told
    assert "a slim network on small pictures is not ImageNet" in told and "15,000 training pictures" in told


def test_without_a_folder_there_is_no_section(page, tmp_path):
    app = page(tmp_path / "none")
    fine(app)
    assert TITLE not in [header.value for header in app.header]
    assert "ablations" not in sections(app) and LINK not in "\n".join(sentences(app.markdown))


def test_a_damaged_folder_is_one_sentence(page, tmp_path):
    folder = invented(tmp_path / "ablations", seeds=1)
    (folder / "ablation.parquet").write_bytes(b"no table")
    app = page(folder)
    fine(app, errors=1)
    assert "ablation.parquet is not as it was written" in sentences(app.error)[0]
