import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torchvision
from PIL import Image
from plotly.colors import get_colorscale, sample_colorscale, unlabel_rgb

import senet_viz as sv
from senet_viz import tables
from senet_viz.cli import main
from senet_viz.figures.style import DIVERGING, SEQUENTIAL
from senet_viz.gates import contribution_points
from senet_viz.models import slim_resnet50
from senet_viz.models.checkpoints import save_checkpoint
from tests.cli.checks import document, printed, refused, usage


def test_inspect(capsys, file, photos, tmp_path):
    out = tmp_path / "gates.csv"
    assert main(["inspect", file, *map(str, photos), "--class", "GREEN", "--device", "cpu", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    model = sv.load(file, device="cpu")
    images = [sv.open_image(path) for path in photos]
    view = sv.inspect(model, model.batch(images))
    for row in view.logits.softmax(1):
        assert f"{row.max():.4f}" in text
    gates = pd.read_csv(out)
    for n, photo in enumerate(photos):
        for block in model.blocks:
            rows = gates[(gates["picture"] == str(photo)) & (gates["block"] == block.label)]
            np.testing.assert_allclose(rows.sort_values("channel")["value"], view.gates[block.name][n, 0], atol=1e-5)
    assert len(gates) == 2 * sum(block.channels for block in model.blocks)


def test_a_network_without_attention(capsys, tmp_path, photos):
    metadata = {
        "architecture": {"name": "slim_resnet50", "attention": "none", "num_classes": 3}, "classes": ["a", "b", "c"],
        "transform": {"input_size": [3, 64, 64]}, "recipe": {"widths": [4], "epochs": 1}, "made": {"date": ""},
        "data": {"name": "", "training": 1}, "accuracy": {"top1": 0.5, "top5": 1.0, "images": 1}}
    save_checkpoint(tmp_path / "plain.safetensors", slim_resnet50("none", num_classes=3).state_dict(), metadata)
    name = f"file:{tmp_path / 'plain.safetensors'}"
    assert main(["models", name, "--device", "cpu"]) == 0
    assert "SE_" not in capsys.readouterr().out
    assert main(["inspect", name, str(photos[0]), "--device", "cpu", "--class", "b"]) == 0
    assert f"{sv.load(name, device='cpu').name} has no attention blocks." in capsys.readouterr().out
    refused(capsys, ["inspect", name, photos[0], "--out", tmp_path / "gates.csv"], "there are no gates to write")
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "other.pt")  # no stages of a known name
    arguments = [f"file:{tmp_path / 'other.pt'}", str(photos[0]), "--arch", "torchvision/squeezenet1_1"]
    assert main(["inspect", *arguments, "--device", "cpu", "--class", "goldfish"]) == 0


def test_a_file_with_another_head(capsys, photos, tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("legacy_seresnet18", num_classes=3)
    torch.save({f"net.{key}": value for key, value in network.state_dict().items()} | {"aux.weight": torch.ones(2)},
               tmp_path / "w.pt")
    model = [f"file:{tmp_path / 'w.pt'}", "--arch", "timm/legacy_seresnet18", "--device", "cpu"]
    refused(capsys, ["models", *model], "1 unexpected key (aux.weight), which ignore_unexpected=True "
                                        "(--ignore-unexpected) leaves out")
    assert "1 tensor (aux.weight)" in printed(capsys, "models", *model, "--ignore-unexpected")
    commands = (["inspect", model[0], photos[0]], ["collect", model[0], photos[0].parent, tmp_path / "out"],
                ["evaluate", model[0], photos[0].parent], ["kernels", model[0], photos[0]],
                ["prune", model[0], tmp_path / "small.safetensors", "--blocks", "SE_5_*"])
    for command in commands:
        refused(capsys, [*command, *model[1:]], "1 unexpected key")
        main([str(a) for a in (*command, *model[1:], "--ignore-unexpected")])
        assert "unexpected key" not in capsys.readouterr().err  # but what else the command has to say
    small = sv.load(f"file:{tmp_path / 'small.safetensors'}", arch=model[2], device="cpu")
    assert torch.equal(small.module.layer0.conv1.weight, network.layer0.conv1.weight)


def test_inspect_refuses(capsys, file, photos, tmp_path):
    refused(capsys, ["inspect", "demo/nonsense", photos[0]], "There is no embedded model 'nonsense'")
    refused(capsys, ["models", "nonsense"], "'nonsense' names no model")
    refused(capsys, ["models", file, "--device", "cuda:99"], "cuda:99")
    refused(capsys, ["inspect", file, tmp_path / "missing.jpg"], "missing.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    refused(capsys, ["inspect", file, tmp_path / "text.jpg"], "text.jpg: The file is not a picture")
    refused(capsys, ["inspect", file, photos[0], "--class", "purple"], "has no class 'purple'")


def test_inspect_prints_three_tables(capsys, file, photos):
    text = printed(capsys, "inspect", file, photos[0], "--class", "green", "--device", "cpu")
    model = sv.load(file, device="cpu")
    view = sv.inspect(model, model.batch([sv.open_image(photos[0])]), [1], model.stages.values())
    predictions, gates, cells = ([line.split() for line in part.splitlines()] for part in text.split("\n\n"))
    assert predictions[0] == ["picture", "rank", "class", "probability"]
    best = tables.predictions({"a.png": view}, model.classes)
    assert predictions[1:] == [["a.png", str(row["rank"]), row["class"], f"{row['probability']:.4f}"]
                               for row in best.to_dict("records")]
    assert gates[0] == ["picture", "block", "channels", "mean", "std", "below", "0.05", "above", "0.95"]
    assert gates[1:] == [["a.png", row["label"], str(row["channels"]), f"{row['mean']:.4f}", f"{row['std']:.4f}",
                          f"{row['below']:.1%}", f"{row['above']:.1%}"]
                         for row in tables.summary({"a.png": view}).to_dict("records")]
    for (*_, stage, row, column, value), (own, layer) in zip(cells[1:], model.stages.items(), strict=True):
        cam = view.cams[layer][0, 0]
        assert own.endswith(stage) and f"{cam.max():.4g}" == value == f"{cam[int(row), int(column)]:.4g}"


def test_inspect_names_pictures(capsys, file, photos, tmp_path):
    """By their files, or their paths where two files have one name."""
    text = printed(capsys, "inspect", file, *photos, "--device", "cpu")
    assert str(tmp_path) not in text and "b, with a comma.png" in text
    other = tmp_path / "other" / "a.png"
    other.parent.mkdir()
    other.write_bytes(photos[0].read_bytes())
    text = printed(capsys, "inspect", file, photos[0], other, "--device", "cpu")
    assert text.count(str(photos[0])) == text.count(str(other)) > 0


@pytest.mark.parametrize("width", [60, 80])
def test_inspect_fits_the_terminal(capsys, monkeypatch, selective, photos, width):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = printed(capsys, "inspect", selective, *photos, "--class", "blue", "--device", "cpu").splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == (1 + 2 * 3) + 1 + (1 + 2 * 32) + 1 + (1 + 2 * 4)


def test_inspect_as_json(capsys, selective, photos):
    told = document(capsys, "inspect", selective, *photos, "--class", "blue", "--device", "cpu")
    model = sv.load(selective, device="cpu")
    assert (told["model"], told["class"]) == (model.name, "blue")
    views = {str(photo): sv.inspect(model, model.batch([sv.open_image(photo)]), [2], model.stages.values())
             for photo in photos}
    pd.testing.assert_frame_equal(pd.DataFrame(told["predictions"]), tables.predictions(views, model.classes))
    pd.testing.assert_frame_equal(pd.DataFrame(told["gates"]).drop(columns="values"), tables.summary(views))
    for row in told["gates"]:
        gate = views[row["picture"]].gates[row["block"]][0, row["branch"]]
        assert row["values"] == gate.double().tolist()  # all digits
    assert [(row["picture"], row["map"], row["value"]) for row in told["strongest"]] == [
        (photo, stage, float(view.cams[layer].max())) for photo, view in views.items()
        for stage, layer in model.stages.items()]


def test_inspect_usage(capsys, tmp_path):
    usage(capsys, ["inspect", "demo/x"])
    usage(capsys, ["inspect", "demo/x", "a.png", "--json", "--out", "gates.csv"], "not allowed with argument --json")
    # before any photo is read
    refused(capsys, ["inspect", "demo/se_resnet50_slim", "missing.png", "--out", tmp_path / "none" / "gates.csv"],
            f"there is no folder {tmp_path / 'none'}")


def weights(path, name: str, **options) -> list[str]:
    """A torchvision or timm network of random weights as a file: the arguments that name it."""
    torch.manual_seed(0)
    source, _, rest = name.partition("/")
    network = (timm.create_model if source == "timm" else torchvision.models.get_model)(rest, **options)
    torch.save(network.state_dict(), path)
    return [f"file:{path}", "--arch", name, "--device", "cpu"]


def test_a_segmentation(capsys, photos, tmp_path):
    own = weights(tmp_path / "w.pt", "torchvision/lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=4)
    text = printed(capsys, "inspect", *own, *photos)
    assert text.startswith("picture")
    assert "of pixels" in text and "probability" not in text and "SE_4_5" in text
    model = sv.load(own[0], arch=own[2], device="cpu")
    views = {str(photo): sv.inspect(model, model.batch([sv.open_image(photo)])) for photo in photos}
    shares = tables.class_shares(views, model.classes)
    found = document(capsys, "inspect", *own, *photos, "--class", shares["class"][0])
    assert found["predictions"] == []
    assert found["without"].startswith("The network gives scores for each pixel and no logits")
    assert pd.DataFrame(found["shares"]).equals(shares)
    layer = model.stages["Stage 4"]
    target = sv.SemanticSegmentationTarget(int(shares["index"][0]))
    cams = sv.inspect(model, model.batch([sv.open_image(photos[0])]), [target], [layer]).cams
    cell = next(row for row in found["strongest"] if (row["picture"], row["map"]) == (str(photos[0]), "Stage 4"))
    assert cell["value"] == pytest.approx(float(cams[layer].max()), rel=1e-3)


def test_one_logit(capsys, photos, tmp_path):
    own = weights(tmp_path / "w.pt", "timm/legacy_seresnet18", num_classes=1)
    found = document(capsys, "inspect", *own, photos[0], "--class", "against class 0")
    model = sv.load(own[0], arch=own[2], device="cpu")
    batch = model.batch([sv.open_image(photos[0])])
    view = sv.inspect(model, batch, [sv.BinaryClassifierOutputTarget(0)], ["layer4"])
    probability = {row["class"]: row["probability"] for row in found["predictions"]}
    assert probability["for class 0"] == pytest.approx(float(view.logits.sigmoid()), rel=1e-4)
    assert probability["against class 0"] == pytest.approx(1 - float(view.logits.sigmoid()), rel=1e-4)
    assert found["class"] == "against class 0"
    cell = next(row for row in found["strongest"] if model.stages[row["map"]] == "layer4")
    assert cell["value"] == pytest.approx(float(view.cams["layer4"].max()) / 2, rel=1e-3)


def test_a_network_without_classes(capsys, photos, monkeypatch):
    import senet_viz.models

    class Backbone(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = slim_resnet50("se", num_classes=3, widths=(4, 4, 8, 8), min_width=2)

        def forward(self, x):
            return {"a": self.net(x)[..., None]}

    model = sv.Model(Backbone(), lambda image: torch.rand(3, 32, 32), [], name="backbone")
    monkeypatch.setattr(senet_viz.models, "load", lambda *_, **__: model)
    text = printed(capsys, "inspect", "backbone", photos[0])
    assert text.splitlines()[0] == ("The network gives no logits of classes but a dictionary with a: there are no "
                                    "predictions.")
    assert "SE_5_3" in text and "probability" not in text
    refused(capsys, ["inspect", "backbone", photos[0], "--class", "x"], "--class has nothing to choose from")


def overlays(capsys, *arguments) -> list[dict]:
    return document(capsys, "inspect", *arguments)["overlays"]


def test_overlays_are_photos_with_maps(capsys, file, tmp_path):
    """A photo of 90×60, of which the network saw the middle 60×60, with Grad-CAM there and not beside it."""
    photo, out = tmp_path / "wide.png", tmp_path / "new" / "folder"
    Image.new("RGB", (90, 60), (40, 120, 200)).save(photo)
    rows = overlays(capsys, file, photo, "--class", "blue", "--device", "cpu", "--overlay", out, "--cells",
                    "--opacity", "1", "--gate-change", "SE_5_*")
    model = sv.load(file, device="cpu")
    assert [row["map"] for row in rows] == [*model.stages, "SE_5_1 change", "SE_5_2 change", "SE_5_3 change"]
    assert {path.name for path in out.iterdir()} == {f"wide_{row['map'].replace(' ', '_')}_blue.png" for row in rows}
    blocks = [block for block in model.blocks if block.label.startswith("SE_5")]
    view = sv.inspect(model, model.batch([sv.open_image(photo)]), [2],
                      [*model.stages.values(), *((block.name, "output") for block in blocks)],
                      contribution_points(blocks))
    for row in rows:
        assert (row["picture"], row["class"]) == (str(photo), "blue")
        assert row["box"] == pytest.approx([15, 0, 75, 60], abs=0.5)  # half a pixel of the photo
        assert row["seen"] == pytest.approx(60 / 90, abs=0.01)
        picture = np.asarray(Image.open(row["file"]).convert("RGB")).astype(int)
        assert picture.shape == (60, 90, 3)
        assert np.ptp(picture[:, [0, 14, 75, 89]], axis=-1).max() == 0  # grey: not seen
        if "change" in row["map"]:
            before, after = tables.gate_change(view, next(b for b in blocks if row["map"].startswith(b.label)))
            values = after - before
        else:
            values = view.cams[model.stages[row["map"]]][0, 0].numpy()
        low = -np.abs(values).max() if (values < 0).any() else 0
        side = 60 // len(values)
        for i, j in np.ndindex(values.shape):  # the same colour in the middle of each cell, where no frame is
            y, x = i * side + side // 2, j * side + side // 2
            if 3 <= min(x, y) and max(x, y) < 57:
                share = (values[i, j] - low) / ((np.abs(values).max() - low) or 1)
                colour = sample_colorscale(get_colorscale(DIVERGING) if low else SEQUENTIAL, [share])[0]
                np.testing.assert_allclose(picture[y, 15 + x], unlabel_rgb(colour), atol=6)


def test_overlays_of_each_photos_own_class(capsys, file, photos, tmp_path):
    """Names that say which, also of two photos of one name."""
    other = tmp_path / "other" / "a.jpg"
    other.parent.mkdir()
    Image.open(photos[0]).save(other)
    text = printed(capsys, "inspect", file, photos[0], other, "--device", "cpu", "--overlay", tmp_path / "out")
    model = sv.load(file, device="cpu")
    for photo, beginning in ((photos[0], "a"), (other, "a_2")):
        logits = sv.inspect(model, model.batch([sv.open_image(photo)])).logits[0]
        for stage in model.stages:
            path = tmp_path / "out" / f"{beginning}_{stage.replace(' ', '_')}_{model.classes[logits.argmax()]}.png"
            assert Image.open(path).size == sv.open_image(photo).size
            assert str(path) in text
    assert "100%" in text.split("\n\n")[-1]  # square photos are seen as a whole


def test_overlays_that_cannot_be_written(capsys, file, photos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(capsys, ["inspect", "demo/nonsense", photos[0], "--overlay", folder], f"{tmp_path / 'file'} is a file")
    refused(capsys, ["inspect", file, photos[0], "--gate-change", "SE_5_3"], "give the folder for them with --overlay")
    refused(capsys, ["inspect", file, photos[0], "--overlay", tmp_path, "--opacity", "2"], "from 0 to 1, not 2")
    refused(capsys, ["inspect", file, photos[0], "--overlay", tmp_path, "--gate-change", "SE_9_*"],
            "has no attention block 'SE_9_*'")
    monkeypatch.setattr("os.access", lambda *_: False)  # whoever runs the tests may write anywhere
    refused(capsys, ["inspect", file, photos[0], "--overlay", tmp_path / "closed"], f"{tmp_path} cannot be written")


def test_overlays_of_a_transform_that_cannot_be_followed(capsys, file, photos, tmp_path, monkeypatch):
    import senet_viz.models

    model = sv.load(file, device="cpu")
    model.transform = lambda image: torch.rand(3, 64, 64)
    monkeypatch.setattr(senet_viz.models, "load", lambda *_, **__: model)
    refused(capsys, ["inspect", file, photos[0], "--overlay", tmp_path / "out"], "the transform is random, so that it")
    assert not (tmp_path / "out").exists()


def test_overlays_of_a_segmentation(capsys, photos, tmp_path):
    own = weights(tmp_path / "w.pt", "torchvision/lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=4)
    found = document(capsys, "inspect", *own, photos[0], "--overlay", tmp_path / "out")
    assert {row["class"] for row in found["overlays"]} == {found["shares"][0]["class"]}
    assert found["strongest"] == []
