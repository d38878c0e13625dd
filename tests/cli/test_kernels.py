import re

import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz.cli import main
from senet_viz.experiments.sweep import SIZES, size_preference, size_slopes, sweep
from tests.cli.checks import document, refused, usage


def test_kernels(capsys, selective, photos, tmp_path):
    out = tmp_path / "sizes.csv"
    assert main(["kernels", selective, *map(str, photos), "--zoom", "1", "1.5", "2", "--device", "cpu", "--out",
                 str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    model, table = sv.load(selective, device="cpu"), pd.read_csv(out)
    assert lines.pop().endswith("per doubling of the size")
    assert len(lines) == 1 + 2 * 16 and lines[0].split() == ["picture", "unit", "zoom", "blur", "elsewhere", "left"]
    assert table.columns[0] == "picture" and len(table) == 2 * 16 * (3 + 3 + 2)
    for n, photo in enumerate(photos):
        preference = size_preference(sweep(model, sv.open_image(photo), (1, 1.5, 2)))
        own = table[table["picture"] == str(photo)].drop(columns="picture").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, preference, check_dtype=False)
        for line, row in zip(lines[1 + 16 * n:], size_slopes(preference).itertuples()):
            assert line.split()[-5:-3] == [row.label, f"{row.zoom:z.4f}"] and line.startswith(photo.name)
            assert line.split()[-1] == f"{row.left:z.4f}"


def test_kernels_beside_random_weights(capsys, selective, photos):
    assert main(["kernels", selective, str(photos[0]), "--zoom", "1", "2", "--device", "cpu", "--random-weights"]) == 0
    head, *lines, _ = capsys.readouterr().out.splitlines()
    slopes = size_slopes(size_preference(
        sweep(sv.load(selective, device="cpu"), sv.open_image(photos[0]), (1, 2), draws=3)))
    assert re.split(" {2,}", head)[-3:] == ["least random", "most random", "left"]
    for line, row in zip(lines, slopes.itertuples(), strict=True):
        assert line.split()[-3:] == [f"{value:z.4f}" for value in (row.random_low, row.random_high, row.left)]
    refused(capsys, ["kernels", selective, photos[0], "--zoom", "1", "2", "--random-weights", "-1"],
            "random weights are drawn 0 times or more, not -1")


def test_kernels_around_a_box(capsys, selective, photos, tmp_path):
    out = tmp_path / "sizes.csv"
    assert main(["kernels", selective, str(photos[0]), "--device", "cpu", "--out", str(out), "--box", "0", "10.5", "20",
                 "50"]) == 0
    table = pd.read_csv(out)
    assert sorted(table[table["look"] == "zoom"]["size"].unique()) == list(SIZES)
    expected = size_preference(
        sweep(sv.load(selective, device="cpu"), sv.open_image(photos[0]), box=(0, 10.5, 20, 50)))
    np.testing.assert_allclose(table["difference"], expected["difference"], atol=1e-6)
    capsys.readouterr()
    for sizes in (["0.5"], ["0.5", "2"], ["1"]):
        assert main(["kernels", selective, str(photos[0]), "--device", "cpu", "--zoom", *sizes]) == 0
        assert capsys.readouterr().out == "No slopes: they take two sizes or more, from 1 up.\n"


def test_kernels_refuses(capsys, file, selective, photos, tmp_path):
    out = tmp_path / "sizes.csv"

    def check(message: str, *options, name: str = selective, pictures=photos[:1]) -> None:
        refused(capsys, ["kernels", name, *pictures, "--device", "cpu", "--out", out, *options], message)
        assert not out.exists()

    check("has no units that choose between kernels: it takes a selective-kernel network", name=file)
    check("a box is of one photo, and there are 2", "--box", "0", "0", "9", "9", pictures=photos)
    check("the box 0, 0, 91, 90 (left, top, right, bottom) is empty or not inside the picture, which has 90×90 pixels",
          "--box", "0", "0", "91", "90")
    check("is empty or not inside", "--box", "nan", "0", "9", "9")
    for zoom in ("0", "nan", "inf", "-1"):
        check(f"must be a finite number above 0, not {float(zoom)}", "--zoom", "1", zoom)
    (tmp_path / "text.jpg").write_text("hello")
    check("text.jpg: The file is not a picture", pictures=[tmp_path / "text.jpg"])
    check("missing.jpg", pictures=[photos[0], tmp_path / "missing.jpg"])
    check("There is no embedded model 'nonsense'", name="demo/nonsense")
    refused(capsys, ["kernels", selective, photos[0], "--device", "cpu", "--zoom", "1", "--out",
                     tmp_path / "none" / "x.csv"], str(tmp_path / "none"))


@pytest.mark.parametrize("arguments", [
    ["kernels"], ["kernels", "demo/x"], ["kernels", "demo/x", "a.png", "--zoom"],
    ["kernels", "demo/x", "a.png", "--zoom", "large"], ["kernels", "demo/x", "a.png", "--json", "--out", "x.csv"],
    ["kernels", "demo/x", "a.png", "--box", "1", "2", "3"]])
def test_kernels_usage(capsys, arguments):
    usage(capsys, arguments)


def test_kernels_as_json(capsys, selective, photos):
    told = document(capsys, "kernels", selective, photos[0], "--zoom", "0.5", "1", "2", "--device", "cpu",
                    "--random-weights", "2")
    preference = size_preference(
        sweep(sv.load(selective, device="cpu"), sv.open_image(photos[0]), (0.5, 1, 2), draws=2))
    assert told["model"] == sv.load(selective, device="cpu").name
    for found, expected in ((told["sizes"], preference), (told["slopes"], size_slopes(preference))):
        table = pd.DataFrame(found)
        assert (table.pop("picture") == str(photos[0])).all()
        pd.testing.assert_frame_equal(table, expected, check_dtype=False, rtol=0, atol=1e-6)
    assert document(capsys, "kernels", selective, photos[0], "--zoom", "0.5", "--device", "cpu")["slopes"] == []
