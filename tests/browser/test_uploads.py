"""What the server takes, which no test without one shows: its own limit counts, whatever an uploader says."""
import pytest
import torch
from safetensors.torch import save_file

pytestmark = pytest.mark.browser


def test_a_checkpoint_may_be_larger_than_a_photo(tab, tmp_path):
    path = tmp_path / "large.safetensors"
    save_file({"x": torch.zeros(8 << 20)}, path)
    assert path.stat().st_size > 30_000_000
    visitor = tab().open(model="A checkpoint file of your own", sample="")  # without pictures, at once
    visitor.widget("checkpoint").locator("input[type=file]").set_input_files(path)
    visitor.page.get_by_text("large.safetensors does not say which network it belongs to").wait_for()
    assert visitor.page.get_by_text("20MB per file").count() == 1  # of photos
