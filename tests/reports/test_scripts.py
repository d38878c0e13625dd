"""Each script that the page shows beside a figure gives that figure's table."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from senet_viz.models import embedded_models
from senet_viz.reports import scripts

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("demo/se_resnet50_slim", "demo/sknet50_slim")
KEYS = ("predictions", "all_blocks", "excitation", "channel_maps", "differences", "grad_cam", "gate_change", "opinion",
        "contribution")

embedded = pytest.mark.skipif(not set(MODELS) <= set(embedded_models()), reason="the embedded models are missing")


@pytest.fixture(scope="module")
def sections() -> dict:
    """(model, key) → section, as the page made it for three samples and settings that are not the first ones."""
    found = {}
    samples = [path.stem.replace("_", " ") for path in sorted((ROOT / "assets" / "samples").glob("*.jpg"))][:3]
    for model in MODELS:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
        kind = "SK" if "sk" in model else "SE"
        app.query_params.update({"model": model, "sample": samples, "block": f"{kind}_3_2", "change": f"{kind}_4_3",
                                 "rows": "33", "from": samples[2], "to": samples[0], "channel": "7",
                                 **({"quantity": "5×5 − 3×3"} if kind == "SK" else {})})
        app.run()
        app.segmented_control(key="opinion_method").set_value(
            "occlusion" if kind == "SE" else "integrated gradients")
        app.button(key="opinion_run").click().run()
        assert not app.exception, app.exception[0].stack_trace
        found |= {(model, key): section for key, section in app.session_state["sections"].items() if section}
    return found


def run(script: str) -> pd.DataFrame:
    names: dict = {}
    exec(compile(script, "script", "exec"), names)
    return names["result"]


def assert_same_numbers(result: pd.DataFrame, table: pd.DataFrame) -> None:
    """Equal but for rounding, which is judged by the largest number of a column."""
    assert list(result.columns) == list(table.columns) and len(table)
    for column in table.columns:
        scale = table[column].abs().max() if pd.api.types.is_float_dtype(table[column]) else 0.0
        pd.testing.assert_series_equal(result[column], table[column], rtol=1e-5, atol=1e-5 * (scale or 1.0))


@embedded
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("model", MODELS)
def test_the_script_gives_the_table(sections, model, key, monkeypatch):
    monkeypatch.chdir(ROOT)
    section = sections[model, key]
    assert_same_numbers(run(section.script), section.table)


@embedded
def test_the_script_of_the_kernels_gives_the_table(sections, monkeypatch):
    monkeypatch.chdir(ROOT)
    section = sections[MODELS[1], "kernels"]
    assert_same_numbers(run(section.script), section.table)
    assert (MODELS[0], "kernels") not in sections


@embedded
def test_no_section_is_without_a_script_or_a_test(sections):
    assert {key for _, key in sections} == {*KEYS, "kernels"}
    assert all(section.script for section in sections.values())


@embedded
def test_a_script_stands_alone_and_prints_its_result(sections):
    """In a fresh Python, in the folder of the program, as a person would run it."""
    section = sections[MODELS[0], "predictions"]
    done = subprocess.run([sys.executable, "-c", section.script], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for name in section.table["picture"].unique():
        assert name in done.stdout
    assert section.table["class"].iloc[0] in done.stdout


def test_names_with_quotes_and_lines_are_strings_in_the_script(tmp_path):
    """Whatever a file is called, its name is no code."""
    ugly = 'a\'b"c\n{x}\\"; raise SystemExit("ran")  # 写真 😀'
    path = tmp_path / "ä 'ö'.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    text = scripts.script(
        "class model:\n    batch = staticmethod(len)", {ugly: str(path)},
        f"result = list(views)\n# {scripts.differences(ugly, ugly, 3)!r}\n# {scripts.gates('SE_2_1')!r}")
    text = text.replace("sv.inspect(model, batch)", "batch")
    assert run(text) == [ugly]
    compile(scripts.differences(ugly, ugly, 3), "differences", "exec")
    for ending, arguments in (scripts.cams({"Stage 2": "layer1"}, {ugly: 3}),
                              scripts.gate_change("SE_2_1", {ugly: 3}, ("one", "two"))):
        compile(scripts.script("model = None", {ugly: "x"}, ending, inspect=arguments), "script", "exec")
        assert repr(ugly) in arguments
