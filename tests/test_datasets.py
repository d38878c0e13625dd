import csv
import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms

from senet_viz import UnreadableImage
from senet_viz.datasets import open_pictures


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(path, values, labels, **columns):
    pq.write_table(pa.table({"image": [png(v) for v in values], "label": labels, **columns}), path)


@pytest.fixture
def folder(tmp_path):
    """An ImageFolder of two splits: pictures of 10, 11, … in cat and of 20, 21, … in dog."""
    for split, count in (("train", 3), ("val", 2)):
        for start, name in ((10, "cat"), (20, "dog")):
            (tmp_path / "folder" / split / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / "folder" / split / name / f"{i}.png").write_bytes(png(start + i))
    return tmp_path / "folder"


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "parquet"
    path.mkdir()
    write_parquet(path / "train-0.parquet", [20, 10], [1, 0], file=["a", "b"])
    write_parquet(path / "train-1.parquet", [11], [0], file=["c"])
    write_parquet(path / "val.parquet", [21, 12], [1, 0])
    (path / "classes.csv").write_text("label,wnid,name\n1,n2,\"dog, hound\"\n0,n1,cat\n2,n3,not in the data\n")
    return path


def values(pictures) -> list[int]:
    return [image.getpixel((0, 0))[0] for image, _ in (pictures[i] for i in range(len(pictures)))]


def test_folder(folder):
    train, val = open_pictures(folder, "train"), open_pictures(folder, "val")
    assert train.classes == val.classes == ["cat", "dog"]
    assert (len(train), len(val)) == (6, 4)
    assert train.labels == [0, 0, 0, 1, 1, 1]
    assert values(train) == [10, 11, 12, 20, 21, 22]
    assert train[0][0].mode == "RGB"
    assert train[5][1] == 1
    assert train.read(4) == png(21)


def test_folder_without_splits(folder):
    pictures = open_pictures(str(folder / "val"))
    assert (values(pictures), pictures.labels) == ([10, 11, 20, 21], [0, 0, 1, 1])


def test_parquet(parquet):
    train, val = open_pictures(parquet, "train"), open_pictures(parquet, "val")
    assert train.classes == val.classes == ["cat", "dog, hound"]
    assert (values(train), train.labels) == ([20, 10, 11], [1, 0, 0])
    assert (values(val), val.labels) == ([21, 12], [1, 0])
    assert val.read(0) == png(21)


def test_parquet_file(parquet):
    pictures = open_pictures(parquet / "train-0.parquet")
    assert (values(pictures), pictures.classes) == ([20, 10], ["cat", "dog, hound"])
    assert values(open_pictures(parquet / "train-0.parquet", "train")) == [20, 10]
    with pytest.raises(FileNotFoundError):  # the same pictures to train and to measure with
        open_pictures(parquet / "train-0.parquet", "val")


def test_parquet_without_a_split_is_all_of_it(parquet):
    assert values(open_pictures(parquet)) == [20, 10, 11, 21, 12]


def test_parquet_without_names(parquet):
    (parquet / "classes.csv").unlink()
    assert open_pictures(parquet, "val").classes == ["0", "1"]


def test_transform_and_workers(folder):
    pictures = open_pictures(folder, "val")
    pictures.transform = transforms.Compose([transforms.Resize(2), transforms.ToTensor()])
    assert pictures[0][0].shape == (3, 2, 2)
    assert values_of(DataLoader(pictures, 2)) == values_of(DataLoader(pictures, 2, num_workers=1)) == [10, 11, 20, 21]


def values_of(loader) -> list[int]:
    return [round(float(image[0, 0, 0]) * 255) for images, _ in loader for image in images]


@pytest.mark.parametrize("source", ["folder", "parquet"])
def test_can_be_sent_to_another_process(source, request):
    pictures = open_pictures(request.getfixturevalue(source), "train")
    copy = pickle.loads(pickle.dumps(pictures))
    assert (values(copy), copy.labels, copy.classes) == (values(pictures), pictures.labels, pictures.classes)


def test_a_damaged_picture_is_named(folder):
    (folder / "train" / "dog" / "1.png").write_bytes(png(1)[:40])
    pictures = open_pictures(folder, "train")
    assert pictures[3][1] == 1
    with pytest.raises(UnreadableImage, match=r"^Picture 4 of the data set: The file is not a picture"):
        pictures[4]


def test_a_split_that_is_missing(folder, parquet):
    """The pictures of the other split are not taken for it."""
    for source in (folder, parquet):
        with pytest.raises(FileNotFoundError, match=r"has neither a folder test nor files test\*\.parquet"):
            open_pictures(source, "test")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*missing"):
        open_pictures(tmp_path / "missing", "train")
    (tmp_path / "train").mkdir()
    for source, split in ((tmp_path, "train"), (tmp_path / "train", None)):
        with pytest.raises(FileNotFoundError, match="parquet files nor one sub-folder of pictures a class"):
            open_pictures(source, split)
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(FileNotFoundError, match="nor one sub-folder of pictures a class"):
        open_pictures(tmp_path, "train")


@pytest.mark.parametrize("table", [
    {"picture": [png(1)], "label": [0]}, {"image": [png(1)]}, {"image": ["/etc/hostname"], "label": [0]},
    {"image": [{"bytes": png(1)}], "label": [0]}, {"image": [png(1)], "label": ["cat"]}])
def test_columns(tmp_path, table):
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"columns image .*and label") as caught:
        open_pictures(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)


def test_no_parquet(tmp_path, parquet):
    (tmp_path / "a.parquet").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        open_pictures(tmp_path / "a.parquet")
    (parquet / "classes.csv").write_text("number,title\n0,cat\n")
    with pytest.raises(ValueError, match=r"classes\.csv has no columns label and name"):
        open_pictures(parquet)


@pytest.mark.parametrize(("name", "classes", "training", "validation", "side"), [
    ("tiny-imagenet-100", 100, 50_000, 5_000, 64), ("imagenette-128", 10, 9_469, 3_925, 128)])
def test_the_data_at_hand(data, name, classes, training, validation, side):
    pictures = open_pictures(data / "data" / name, "val")
    assert (len(pictures), len(pictures.classes)) == (validation, classes)
    with (data / "data" / name / "classes.csv").open() as lines:
        assert pictures.classes == [row["name"] for row in csv.DictReader(lines)]
    for index in np.random.default_rng(0).integers(0, validation, 20):
        image, label = pictures[int(index)]
        assert min(image.size) == side
        assert 0 <= label < classes
    assert sum(pq.read_metadata(file).num_rows for file in (data / "data" / name).glob("train*")) == training
