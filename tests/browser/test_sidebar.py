"""A download in the sidebar, and giving it up."""
import re

import pytest

from tests.hub import NAME

pytestmark = pytest.mark.browser
SE = "demo/se_resnet50_slim"


def test_a_download_can_be_cancelled_and_tried_again(tab, operated):
    page = tab().open(sample="teapot")
    box = page.widget("model").get_by_role("combobox")
    box.click()
    box.fill(NAME)
    page.page.get_by_role("option").filter(has_text=f"{NAME} · ").click()
    page.widget("model_cancel").get_by_role("button").wait_for()
    assert operated.hub.sent.wait(100)
    page.page.get_by_text(re.compile(r"Fetching the weights of .*: \d+ of about 6 MB")).wait_for()
    page.widget("model_cancel").get_by_role("button").click()
    page.page.get_by_text(f"The download of {NAME} was cancelled.").wait_for()
    page.settle()
    assert page.errors_shown() == []
    page.page.get_by_text(f"The page goes on with {SE}.").wait_for()
    operated.hub.go_on.set()
    page.widget("model_again").get_by_role("button").click()
    page.until("name => document.body.innerText.includes('Weights: lamb_in1k')")
    assert page.page.url.endswith("model=timm%2Fmobilenetv3_small_050.lamb_in1k")
    assert page.errors_shown() == []
