import csv
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from senet_viz import UnreadableImage
from senet_viz.data.datasets import Pictures, data_name, open_pictures


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


def test_splits_are_no_classes(folder):
    (folder / "test").mkdir()
    with pytest.raises(ValueError, match=r"folder has the splits test, train, val: choose one$"):
        open_pictures(folder)
    (folder / "val").rename(folder / "eel")  # a train is a thing to classify, too
    (folder / "test").rmdir()
    assert open_pictures(folder).classes == ["eel", "train"]


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


def test_parquet_in_folders_of_splits(parquet):
    for split in ("train", "val"):
        (parquet / "all" / split).mkdir(parents=True)
        for file in parquet.glob(f"{split}*.parquet"):
            file.rename(parquet / "all" / split / file.name)
    assert values(open_pictures(parquet / "all", "train")) == [20, 10, 11]
    assert values(open_pictures(parquet / "all", "val")) == [21, 12]


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
    for read in (pictures, pictures.through(transforms.PILToTensor())):
        with pytest.raises(UnreadableImage, match=r"^Picture dog/1\.png of train: The file is not a picture"):
            read[4]
    with pytest.raises(UnreadableImage, match=r"^Picture dog/1\.png: The file is not a picture"):
        open_pictures(folder / "train")[4]


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
        with pytest.raises(FileNotFoundError, match="holds neither Parquet files nor pictures"):
            open_pictures(source, split)
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(FileNotFoundError, match="holds neither Parquet files nor pictures"):
        open_pictures(tmp_path, "train")


@pytest.mark.parametrize(("table", "message"), [
    ({"picture": [png(1)], "label": [0]}, r"a\.parquet lacks the columns image; it has picture, label$"),
    ({"image": [png(1)], "file": ["a"]}, r"a\.parquet lacks the columns label; it has image, file$"),
    ({"picture": [png(1)], "class": [0]}, r"a\.parquet lacks the columns image, label; it has picture, class$"),
    ({"image": ["/etc/hostname"], "label": [0]}, "image of a.parquet holds string, not encoded bytes"),
    ({"image": [{"bytes": png(1)}], "label": [0]}, "image of a.parquet holds struct<.*>, not encoded bytes"),
    ({"image": [png(1)], "label": ["cat"]}, "label of a.parquet holds string, not whole numbers"),
    ({"image": [png(1)], "label": [0.5]}, "label of a.parquet holds double, not whole numbers"),
    ({"image": [png(1)], "label": [0], "file": [1]}, "file of a.parquet holds int64, not text"),
    ({"image": [png(1)], "label": [0], "x0": [1], "x1": [2]}, "lacks the columns y0, y1; it has image, label, x0, x1$"),
    ({"image": [png(1)], "label": [0], "x0": ["1"], "y0": [0], "x1": [2], "y1": [2]},
     "x0 of a.parquet holds string, not numbers")])
@pytest.mark.parametrize("in_memory", [True, False])
def test_columns(tmp_path, table, message, in_memory):
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message) as caught:
        open_pictures(tmp_path / "a.parquet", in_memory=in_memory)
    assert "\n" not in str(caught.value)


def test_no_parquet(tmp_path, parquet):
    (tmp_path / "a.parquet").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        open_pictures(tmp_path / "a.parquet")
    (parquet / "classes.csv").write_text("number,title\n0,cat\n")
    with pytest.raises(ValueError, match=r"classes\.csv has no columns label and name"):
        open_pictures(parquet)


def copy_to_memory(folder: Path, name: str) -> str:
    fsspec.filesystem("memory").put(str(folder), f"/{name}", recursive=True)
    return f"memory://{name}"


@pytest.fixture
def memory():
    """Copies a folder into fsspec's memory, to the given name, and gives its address."""
    yield copy_to_memory
    fsspec.filesystem("memory").rm("/", recursive=True)


def same(one: Pictures, other: Pictures) -> bool:
    return ([one.read(i) for i in range(len(one))] == [other.read(i) for i in range(len(other))]
            and (one.labels, one.classes, one.files) == (other.labels, other.classes, other.files)
            and one.fingerprint == other.fingerprint)


# folders

def test_a_folder_is_read_like_an_imagefolder(tmp_path):
    names = ["b/1.png", "b/10.PNG", "b/2.Jpeg", "b/a/9.png", "b/a b/0.png", "b/a/x/1.png", "b/a/notes.txt", "A/z.webp",
             "A/.hidden.png", "readme.png", "c d/é.bmp", "c d/Thumbs.db"]
    it = tmp_path / "it"
    for value, name in enumerate(names):
        (it / name).parent.mkdir(parents=True, exist_ok=True)
        (it / name).write_bytes(png(value))
    (it / "linked").symlink_to(it / "b")
    (it / "A" / "deeper").symlink_to(it / "b" / "a")
    (it / "A" / "0.png").symlink_to(it / "b" / "1.png")
    pictures, expected = open_pictures(it), ImageFolder(it)
    assert (pictures.classes, pictures.labels) == (expected.classes, expected.targets)
    assert pictures.files == [Path(path).relative_to(it).as_posix() for path, _ in expected.samples]
    assert [pictures.read(i) for i in range(len(pictures))] == [Path(p).read_bytes() for p, _ in expected.samples]
    assert pictures.sizes == [Path(path).stat().st_size for path, _ in expected.samples]


def test_moving_pictures_are_pictures(folder):
    (folder / "val" / "cat" / "still.GIF").write_bytes(png(5))
    assert open_pictures(folder, "val").files[:3] == ["cat/0.png", "cat/1.png", "cat/still.GIF"]


def test_a_class_without_pictures(folder):
    (folder / "val" / "eel").mkdir()
    with pytest.raises(FileNotFoundError, match="sub-folders without a picture: eel"):
        open_pictures(folder, "val")


def test_a_flat_folder(folder):
    (folder / "val" / "cat" / "thumbnails").mkdir()
    (folder / "val" / "cat" / "notes.txt").write_text("of cats")
    pictures = open_pictures(folder / "val" / "cat")
    assert (values(pictures), pictures.labels, pictures.classes) == ([10, 11], [-1, -1], [])
    assert (pictures.files, pictures.boxes) == (["0.png", "1.png"], None)
    assert same(open_pictures(folder / "val", "cat"), pictures)


WNIDS = ("n01440764", "n02012849", "n03126707")  # a fish, the bird crane, the machine crane


@pytest.fixture
def wnids(tmp_path):
    for value, wnid in enumerate(WNIDS):
        (tmp_path / "wnids" / "val" / wnid).mkdir(parents=True)
        (tmp_path / "wnids" / "val" / wnid / "a.png").write_bytes(png(value))
    return tmp_path / "wnids"


def test_wordnet_ids_are_named_by_timm(wnids):
    pictures = open_pictures(wnids, "val")
    assert pictures.classes == ["tench, Tinca tinca", "crane [n02012849]", "crane [n03126707]"]
    assert tuple(pictures.wnids) == WNIDS


@pytest.mark.parametrize("place", [".", "val"])
def test_wordnet_ids_are_named_by_a_file(wnids, place):
    (wnids / place / "classes.csv").write_text("name,wnid\n\"crane, bird\",n02012849\ntench,n01440764\neel,n00000000\n")
    pictures = open_pictures(wnids, "val")
    assert pictures.classes == ["tench", "crane, bird", "n03126707"] and not pictures.wnids  # the file's word counts
    (wnids / place / "classes.csv").write_text("wnid,label\n")
    with pytest.raises(ValueError, match=r"classes\.csv has no columns wnid and name"):
        open_pictures(wnids, "val")


@pytest.mark.parametrize("name", ["n99999999", "n0144076", "dog"])
def test_what_timm_does_not_know_keeps_its_name(wnids, name):
    (wnids / "val" / "n01440764").rename(wnids / "val" / name)
    assert open_pictures(wnids, "val").classes == sorted([name, "n02012849", "n03126707"])


# lists

def list_of(folder: Path, text: str, name: str = "list.txt") -> Pictures:
    (folder / name).write_text(text)
    return open_pictures(folder / name)


def test_list(folder):
    pictures = list_of(folder, "# of all\n\nval/dog/1.png dog\r\n  val/cat/0.png,cat  \ntrain/cat/2.png\n"
                               "train/cat/1.png\tcat\ntrain/dog/0.png, dog\n")
    assert values(pictures) == [21, 10, 12, 11, 20]
    assert (pictures.labels, pictures.classes) == ([1, 0, -1, 0, 1], ["cat", "dog"])
    assert pictures.files == ["val/dog/1.png", "val/cat/0.png", "train/cat/2.png", "train/cat/1.png",
                              "train/dog/0.png"]


@pytest.mark.parametrize("ending", ["TSV", "csv", "txt"])
def test_list_of_names_with_spaces(tmp_path, ending):
    lines = {"my cat.png\tblack cat": ("my cat.png", 1), "my cat, 2.png ant": ("my cat, 2.png", 0),
             "my cat.png": ("my cat.png", -1), "a,b.png,ant": ("a,b.png", 0), "no suffix ant": ("no suffix", 0),
             "my cat.png\t": ("my cat.png", -1), "a,b.png,": ("a,b.png", -1)}
    for name, _ in lines.values():
        (tmp_path / name).write_bytes(png(len(name)))
    pictures = list_of(tmp_path, "\n".join(lines), f"list.{ending}")
    assert list(zip(pictures.files, pictures.labels)) == list(lines.values())
    assert pictures.classes == ["ant", "black cat"]
    assert values(pictures) == [len(name) for name in pictures.files]


def test_list_in_quotes(tmp_path):
    """As pandas and the csv module write it, which quote what they must, or everything."""
    rows = [("photo.png", "my, class"), ("a, b.png", "my class"), ("c.png", 'the "other"'), ("d.png", ""), ("e", "ant")]
    for value, (name, _) in enumerate(rows):
        (tmp_path / name).write_bytes(png(value))
    labels = sorted({label for _, label in rows} - {""})
    for name, quoting in (("some.csv", csv.QUOTE_MINIMAL), ("all.CSV", csv.QUOTE_ALL)):
        pd.DataFrame(rows).to_csv(tmp_path / name, header=False, index=False, quoting=quoting)
        pictures = open_pictures(tmp_path / name)
        assert (pictures.files, values(pictures)) == ([name for name, _ in rows], list(range(5)))
        assert [pictures.classes[label] if label >= 0 else "" for label in pictures.labels] == [row[1] for row in rows]
        assert pictures.classes == labels
    assert list_of(tmp_path, '"a, b.png"\n"c.png", "3"\n', "own.csv").labels == [-1, 3]
    for line, message in (('"a.png,ant', "cannot be read as CSV: unexpected end of data"),
                          ('"a.png",ant,bee', "has 3 columns, not a path and a label")):
        with pytest.raises(ValueError, match=rf"wrong\.csv: the line {line} {message}$"):
            list_of(tmp_path, line, "wrong.csv")


def test_list_of_indices(folder):
    text = "val/cat/0.png 0\nval/dog/0.png 2\nval/dog/1.png -1\nval/cat/1.png"
    assert list_of(folder, text).classes == ["0", "1", "2"]
    (folder / "classes.csv").write_text("label,name\n0,cat\n2,dog\n3,eel\n")
    pictures = list_of(folder, text)
    assert (pictures.labels, pictures.classes) == ([0, 2, -1, -1], ["cat", "1", "dog"])


def test_list_of_wordnet_ids(folder):
    pictures = list_of(folder, "val/cat/0.png n03126707\nval/cat/1.png n02012849\n")
    assert (pictures.labels, pictures.classes) == ([1, 0], ["crane [n02012849]", "crane [n03126707]"])


def test_list_of_paths_elsewhere(folder, tmp_path, memory):
    address = memory(folder, "elsewhere")
    (tmp_path / "lists").mkdir()
    pictures = list_of(tmp_path / "lists", f"{folder}/val/cat/0.png\n{address}/val/dog/1.png dog\n"
                                           f"../folder/val/cat/1.png\nfile://{folder}/val/dog/0.png\n")
    assert (values(pictures), pictures.labels) == ([10, 21, 11, 20], [-1, 0, -1, -1])


def test_list_of_a_split(folder):
    (folder / "val.csv").write_text("val/cat/0.png,cat\n")
    assert values(open_pictures(folder / "val.csv", "val")) == [10]
    with pytest.raises(FileNotFoundError, match="its name does not begin with train"):
        open_pictures(folder / "val.csv", "train")


def test_no_list(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"list\.txt names no picture"):
        list_of(tmp_path, "\n# nothing\n")
    (tmp_path / "a.txt").write_bytes(png(1))
    with pytest.raises(ValueError, match=r"a\.txt is not text in UTF-8"):
        open_pictures(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"^nowhere://a\.png cannot be opened: Protocol not known"):
        list_of(tmp_path, "nowhere://a.png cat\n")[0]


# Parquet files

@pytest.fixture
def boxed(tmp_path):
    """Two files of row groups of two; the second one has but pictures, and labels that are all null."""
    frame = pd.DataFrame({
        "image": [png(i) for i in range(5)], "label": pd.array([1, None, 0, -7, 2], "Int16"),
        "file": ["a", "b c", None, "d", "e"], "x0": [0, 1, None, 2, 3], "y0": [0.0, 1.5, 2, None, 4],
        "x1": np.array([0, 9, 9, 9, 9], np.uint8), "y1": pd.array([3, 9, 9, 9, None], "Int64"), "other": ["?"] * 5})
    (tmp_path / "boxed").mkdir()
    frame.to_parquet(tmp_path / "boxed" / "0.parquet", row_group_size=2, index=False)
    frame = pd.DataFrame({"image": [png(5), png(6), png(7)], "label": None})
    frame.to_parquet(tmp_path / "boxed" / "1.parquet", row_group_size=2)
    return tmp_path / "boxed"


def test_spilled_as_in_memory(boxed, tmp_path, monkeypatch):
    """Each row group is read once, whatever the order, also where another process goes on."""
    reads, read = [], pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group",
                        lambda file, group, columns: reads.append(group) or read(file, group, columns))
    (tmp_path / "out").mkdir()
    spilled, whole = open_pictures(boxed, spill=tmp_path / "out" / "groups"), open_pictures(boxed)
    assert not (tmp_path / "out" / "groups").exists()
    for i in [7, 0, 3, 3, 1, -1]:
        assert spilled.read(i) == whole.read(i)
    assert len(reads) == 3
    again = pickle.loads(pickle.dumps(spilled))
    assert not again.read.mapped
    assert [again.read(i) for i in range(8)] == [whole.read(i) for i in range(8)]
    assert len(reads) == 5 == len(list((tmp_path / "out" / "groups").iterdir()))
    assert same(again, whole)


def test_spilled_where_the_run_s_folder_is_not(boxed, tmp_path, monkeypatch):
    """On another machine of a cluster."""
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "own"))
    spilled, whole = open_pictures(boxed, spill=tmp_path / "elsewhere" / "groups"), open_pictures(boxed)
    assert [spilled.read(i) for i in range(8)] == [whole.read(i) for i in range(8)]
    assert not (tmp_path / "elsewhere").exists() and len(list((tmp_path / "own").glob("senet_viz-*/groups/*"))) == 5


def test_spilled_memory_is_bounded(big, tmp_path):
    before = pa.total_allocated_bytes()
    pictures = open_pictures(big, spill=tmp_path / "groups")
    for i in np.random.default_rng(0).permutation(len(pictures)).tolist():
        assert len(pictures.read(i)) == 2**18
        assert pa.total_allocated_bytes() - before < 4 * 2**20


@pytest.mark.parametrize("in_memory", [True, False])
def test_optional_columns(boxed, in_memory):
    pictures = open_pictures(boxed, in_memory=in_memory)
    assert values(pictures) == list(range(8))
    assert pictures.labels == [1, -1, 0, -1, 2, -1, -1, -1]
    assert pictures.classes == ["0", "1", "2"]
    assert pictures.files == ["a", "b c", "0.parquet:2", "d", "e", "1.parquet:0", "1.parquet:1", "1.parquet:2"]
    expected = np.full((8, 4), np.nan)
    expected[:2] = (0, 0, 1, 4), (1, 1.5, 10, 10)  # the first is one pixel wide
    assert pictures.boxes.dtype == np.float64
    np.testing.assert_array_equal(pictures.boxes, expected)


@pytest.mark.parametrize("in_memory", [True, False])
def test_pictures_alone(boxed, in_memory):
    pictures = open_pictures(boxed / "1.parquet", in_memory=in_memory)
    assert (values(pictures), pictures.labels, pictures.classes) == ([5, 6, 7], [-1] * 3, [])
    assert (pictures.files, pictures.boxes) == (["1.parquet:0", "1.parquet:1", "1.parquet:2"], None)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_picture_that_is_null(tmp_path, in_memory):
    pq.write_table(pa.table({"image": [png(1), None], "label": [0, 0]}), tmp_path / "a.parquet")
    with pytest.raises(UnreadableImage, match=r"^Picture a\.parquet:1: The file is empty\.$"):
        open_pictures(tmp_path / "a.parquet", in_memory=in_memory)[1]


@pytest.mark.parametrize(("labels", "message"), [
    ([0, 9_999], None), ([0, 10_000], "labels run up to 10,000, and only 2 are in use: number them from 0, or name"),
    ([10**12], "labels run up to 1,000,000,000,000, and only 1 are in use: number them from 0, or name"),
    ([*range(100), 10_099], None), ([*range(100), 10_100], "labels run up to 10,100, and only 101 are in use")])
def test_labels_that_are_no_indices(tmp_path, labels, message):
    write_parquet(tmp_path / "a.parquet", [1] * len(labels), labels)
    (tmp_path / "list.txt").write_text("".join(f"a.png {label}\n" for label in labels))
    for name in ("a.parquet", "list.txt"):
        if message is None:
            assert len(open_pictures(tmp_path / name).classes) == max(labels) + 1
        else:
            with pytest.raises(ValueError, match=message):
                open_pictures(tmp_path / name)


def test_lazily_as_in_memory(boxed):
    lazy, whole = open_pictures(boxed, in_memory=False), open_pictures(boxed)
    assert same(lazy, whole)
    for i in [7, 0, 3, 3, 1, -1, 4]:  # in any order
        assert lazy.read(i) == whole.read(i)
    for pictures in (lazy, whole):
        with pytest.raises(IndexError):
            pictures.read(8)


def test_one_row_group_is_kept(boxed, monkeypatch):
    """Each row group is read once when the pictures are read in order, and goes before the next one comes."""
    reads, read = [], pq.ParquetFile.read_row_group

    def counted(file, group, columns):
        reads.append((group, columns, pictures.read.kept))
        return read(file, group, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    pictures = open_pictures(boxed, in_memory=False)
    assert pictures.read.kept is None
    for i in range(8):
        pictures.read(i)
        assert len(pictures.read.kept[1]) <= 2
    assert reads == [(group, ["image"], None) for group in (0, 1, 2, 0, 1)]
    assert pickle.loads(pickle.dumps(pictures)).read.kept is None


@pytest.fixture
def big(tmp_path):
    """40 row groups of 1 MB."""
    noise = np.random.default_rng(0)
    schema = pa.schema({"image": pa.binary(), "label": pa.int64()})
    with pq.ParquetWriter(tmp_path / "a.parquet", schema, use_dictionary=False) as writer:
        for _ in range(40):
            writer.write_table(pa.table({"image": [noise.bytes(2**18) for _ in range(4)], "label": [0] * 4}, schema))
    return tmp_path / "a.parquet"


def test_memory_is_bounded(big):
    """Arrow never holds more than a few MB."""
    before = pa.total_allocated_bytes()
    pictures = open_pictures(big, in_memory=False)
    for i in range(len(pictures)):
        assert len(pictures.read(i)) == 2**18
        assert pa.total_allocated_bytes() - before < 4 * 2**20
    whole = open_pictures(big)
    assert pa.total_allocated_bytes() - before > 40 * 2**20
    assert whole.read(159) == pictures.read(159)


@pytest.mark.parametrize("in_memory", [True, False])
def test_loaders_of_parquet(boxed, in_memory):
    pictures = open_pictures(boxed, in_memory=in_memory)
    pictures.transform = transforms.ToTensor()
    assert values_of(DataLoader(pictures, 3)) == values_of(DataLoader(pictures, 3, num_workers=1)) == list(range(8))


def test_a_fresh_process_elsewhere_reads_it(boxed, folder, tmp_path, monkeypatch):
    """What is pickled does not hang on the folder one was in, and its fingerprint not on the process."""
    monkeypatch.chdir(tmp_path)
    code = "import pickle, sys\nfor p in pickle.load(sys.stdin.buffer):\n" \
           "    print(p.fingerprint, [p[i][0].getpixel((0, 0))[0] for i in range(len(p))])"
    both = [open_pictures("boxed", in_memory=False), open_pictures("folder", "val")]
    out = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(both), cwd="/", check=True,
                         capture_output=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    assert out.stdout.decode().splitlines() == [f"{p.fingerprint} {values(p)}" for p in both]


# addresses

def test_addresses(folder, parquet, boxed, wnids, memory, monkeypatch):
    """All of it through a file system that is not the disk's, and through other ways to write a path."""
    (folder / "list.txt").write_text("val/dog/0.png dog\nval/cat/1.png cat\n")
    (wnids / "classes.csv").write_text("wnid,name\nn02012849,bird\n")
    root = folder.parent
    copy = memory(root, "copy")
    monkeypatch.chdir(root)
    for name, split, in_memory in (
            ("folder", "train", True), ("folder/val", None, True), ("folder/val/cat", None, True),
            ("folder/list.txt", None, True), ("parquet", "train", True), ("parquet/val.parquet", "val", True),
            ("parquet", "val", False), ("boxed", None, False), ("wnids", "val", True)):
        here = open_pictures(root / name, split, in_memory=in_memory)
        for address in (f"{copy}/{name}", f"file://{root}/{name}", name, f"./{name}", f"{root}/{name}/"):
            there = open_pictures(address, split, in_memory=in_memory)
            assert same(here, there), address
            assert same(here, pickle.loads(pickle.dumps(there))), address


def test_addresses_with_nothing_there(memory, folder):
    address = memory(folder, "copy")
    with pytest.raises(FileNotFoundError, match="no such file or folder: memory://nothing"):
        open_pictures("memory://nothing")
    with pytest.raises(FileNotFoundError, match=r"memory://copy has neither a folder test nor files test\*\.parquet"):
        open_pictures(address, "test")
    fsspec.filesystem("memory").pipe("/text/a.md", b"hello")
    with pytest.raises(FileNotFoundError, match="memory://text holds neither Parquet files nor pictures"):
        open_pictures("memory://text")
    fsspec.filesystem("memory").pipe("/text/a.parquet", b"hello")
    with pytest.raises(ValueError, match="memory://text cannot be read as Parquet"):
        open_pictures("memory://text")


def test_addresses_of_unknown_kind():
    with pytest.raises(ValueError, match=r"^nowhere://a/b cannot be opened: Protocol not known: nowhere$"):
        open_pictures("nowhere://a/b")
    fsspec.register_implementation("far", "no_such_module.FileSystem", clobber=True,
                                   errtxt="Install far away\nand more")
    with pytest.raises(ValueError, match=r"^far://a/b cannot be opened: Install far away$"):
        open_pictures("far://a/b")


# made by hand

def test_pictures_by_hand():
    pictures = Pictures([png(3), png(4)].__getitem__, [1, 0], ["a", "b"])
    assert (pictures.files, pictures.boxes, values(pictures)) == (["0", "1"], None, [3, 4])


def test_fingerprint():
    def one(labels=(0, 1), classes=("a", "b"), **options):
        return Pictures(None, labels, list(classes), **options).fingerprint

    box = np.array([[0, 0, 1, 1], [np.nan] * 4])
    assert len({one(), one((0, -1)), one((0, 1, 1)), one(classes="ac"), one(classes="abc"), one(files=["x", "y"]),
                one(files=["y", "x"]), one(boxes=box), one(boxes=box + 1), one(sizes=[1, 2]), one(sizes=[2, 1])}) == 11
    assert one() == one(files=["0", "1"]) == one(np.array([0, 1])) == one(files=pa.array(["0", "1"]))
    assert one() == hashlib.sha256(b'[2, ["0", "1"], [0, 1], ["a", "b"], null, []]').hexdigest()
    assert one(boxes=box) == one(boxes=box.tolist())
    assert one(sizes=[1, 2]) == one(sizes=np.array([1, 2]))


def test_other_pictures_of_the_same_names(folder, parquet):
    """They have another fingerprint, by the sizes of their files or row groups."""
    before = open_pictures(folder, "val"), open_pictures(parquet, "val")
    (folder / "val" / "dog" / "1.png").write_bytes(png(21) + b"more")
    table = pa.table({"image": [png(21), png(12) + b"more"], "label": [1, 0]})
    pq.write_table(table, parquet / "val.parquet")
    for one, source in zip(before, (folder, parquet)):
        other = open_pictures(source, "val")
        assert (one.files, one.labels, one.classes) == (other.files, other.labels, other.classes)
        assert one.sizes[:-1] == other.sizes[:-1]
        assert one.fingerprint != other.fingerprint
    with pq.ParquetFile(parquet / "val.parquet") as file:
        assert other.sizes == [file.metadata.row_group(0).total_byte_size]


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


def test_pictures_spread_over_the_data():
    red = [png(value) if value % 4 else b"" for value in range(40)]
    pictures = Pictures(red.__getitem__, [0] * 40, ["a"])
    found = pictures.spread(14, transforms.PILToTensor())
    chosen = [value for value in np.linspace(0, 39, 14).round().astype(int).tolist() if value % 4]
    assert found[:, 0, 0, 0].tolist() == chosen and found.shape == (len(chosen), 3, 4, 4)
    assert len(pictures.spread(1000, transforms.PILToTensor())) == 30
    with pytest.raises(ValueError, match="none of 5 pictures of the data could be read"):
        Pictures([b""].__getitem__, [0], ["a"]).spread(5, transforms.PILToTensor())


# hostile folders and files


def test_folders_that_link_to_each_other(tmp_path):
    """Each folder is looked through once a class, however the links lead round."""
    for name, value in (("a", 10), ("b", 20)):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "0.png").write_bytes(png(value))
        (tmp_path / name / "up").symlink_to(tmp_path / name)
        (tmp_path / name / "deep" / "root").symlink_to(tmp_path)
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    pictures = open_pictures(tmp_path)
    assert pictures.files == ["a/0.png", "a/other/0.png", "b/0.png", "b/other/0.png"]
    assert values(pictures) == [10, 20, 20, 10]


def test_pipes_are_not_waited_for(folder):
    os.mkfifo(folder / "val" / "cat" / "9.png")
    pictures = open_pictures(folder, "val")
    with pytest.raises(UnreadableImage, match="It is a pipe or a device, not a file"):
        pictures[pictures.files.index("cat/9.png")]


def test_files_larger_than_any_picture_are_not_read(folder):
    with (folder / "val" / "cat" / "9.png").open("wb") as file:
        file.truncate(2 ** 35)  # of zeros that take no room on the disk
    pictures = open_pictures(folder, "val")
    with pytest.raises(UnreadableImage, match=r"The file has 32,768\.0 MB; at most 20 MB are read"):
        pictures[pictures.files.index("cat/9.png")]


def test_names_that_are_no_text(folder):
    """They are shown with a sign in the place of what is no UTF-8, and read by what they are."""
    (folder / "val" / os.fsdecode(b"\xff\xfe")).mkdir()
    (folder / "val" / os.fsdecode(b"\xff\xfe") / os.fsdecode(b"\xe9.png")).write_bytes(png(30))
    pictures = open_pictures(folder, "val")
    assert pictures.classes == ["cat", "dog", "\ufffd\ufffd"]
    assert pictures.files[-1] == "\ufffd\ufffd/\ufffd.png"
    assert values(pictures) == [10, 11, 20, 21, 30]
    assert len(pictures.fingerprint) == 64


def test_a_class_name_too_long_for_csv(parquet):
    (parquet / "classes.csv").write_text("label,name\n0," + "x" * 200_000 + "\n")
    with pytest.raises(ValueError, match=r"classes\.csv cannot be read as CSV: field larger than field limit"):
        open_pictures(parquet, "val")


def test_a_damaged_row_group_costs_its_own_pictures(tmp_path):
    path = tmp_path / "pictures.parquet"
    table = pa.table({"image": [png(i) for i in range(6)], "label": [0] * 6})
    pq.write_table(table, path, row_group_size=2, compression="none", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset
    content[start:start + 16] = b"\xff" * 16  # the page's header
    path.write_bytes(content)
    pictures = open_pictures(path, in_memory=False)
    for index in (0, 1, 4, 5):
        assert pictures[index][0].getpixel((0, 0)) == (index, 0, 0)
    for index in (2, 3):
        with pytest.raises(UnreadableImage, match=r"Row group 1 of pictures\.parquet cannot be read"):
            pictures[index]


@pytest.mark.parametrize("source", ["photos", "photos/", "./photos", "photos/.", "photos/cats/..", Path("photos"),
                                    "s3://bucket/photos", "s3://bucket/photos/"])
def test_data_are_called_as_their_folder_is(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert data_name(source) == "photos"


def test_the_folder_at_hand_has_a_name(tmp_path, monkeypatch):
    folder = tmp_path / "photos" / "cats"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert (data_name("."), data_name("..")) == ("cats", "photos")
