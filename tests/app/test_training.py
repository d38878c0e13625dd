"""The Training page: logs of a monitor, uploaded and read."""
import pandas as pd
import pytest

from senet_viz.training.log import embedded_logs, findings, read_log
from tests.app.checks import fine, sections, sentences
from tests.training.test_log import made

NO_OTHER = "no other run"
LOG = made({"SE_2_1": [3.0, 4.0, 5.0], "SE_5_1": [2.0, 1.1, 1.0]})


@pytest.fixture
def page(start):
    app = start(run=False)
    app.switch_page("pages/training.py")
    return app.run()


def parquet(table: pd.DataFrame) -> bytes:
    return table.to_parquet(index=False)


def upload(app, *files: tuple[str, bytes]):
    return app.file_uploader(key="logs").set_value([(name, content, "application/octet-stream")
                                                    for name, content in files]).run()


def test_the_first_start_shows_what_comes_with_the_program(page):
    fine(page)
    if embedded_logs():
        assert {"training_map_0", "training_curves"} <= set(sections(page))
    else:
        assert any("Upload the log of a training" in info.value for info in page.info)


def test_a_log_of_ones_own_opens(page):
    app = upload(page, ("mine.parquet", parquet(LOG)))
    fine(app)
    assert app.selectbox(key="run").value == "mine.parquet"
    app.selectbox(key="beside").set_value(NO_OTHER).run()
    table = sections(app)["training_map_0"].table
    pd.testing.assert_frame_equal(table, read_log(parquet(LOG))[["step", "block", "label", "pictures", "dimension"]])
    said = "\n".join(sentences(app.markdown))
    assert all(finding in said for finding in findings(LOG))
    app.selectbox(key="training_block").set_value("SE_2_1").run()
    assert sections(app)["training_curves"].table["dimension"].tolist()[:3] == [3.0, 4.0, 5.0]


def test_two_runs_stand_side_by_side_and_the_measure_is_chosen_for_both(page):
    app = upload(page, ("a.parquet", parquet(LOG)), ("b.parquet", parquet(LOG.assign(std=0.25))))
    app.selectbox(key="run").set_value("a.parquet").run()
    app.selectbox(key="beside").set_value("b.parquet").run()
    app.segmented_control(key="measure").set_value("std").run()
    fine(app)
    assert sections(app)["training_map_1"].table["std"].tolist() == [0.25] * 6
    assert set(sections(app)["training_curves"].table["run"]) == {"a.parquet", "b.parquet"}


def test_what_is_no_log_gets_a_sentence(page):
    app = upload(page, ("text.parquet", b"Dear Sir"), ("mine.parquet", parquet(LOG)))
    app.selectbox(key="run").set_value("text.parquet").run()
    assert not app.exception
    assert any("text" in error.value and "is no log of a monitor" in error.value for error in app.error)
