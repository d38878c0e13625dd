"""Labelled pictures on disk: an ImageFolder, or Parquet files with encoded pictures. Decoded one by one, on demand."""
import csv
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from .images import UnreadableImage, open_image


class Pictures(Dataset):
    """Pictures with labels: item i is ``(transform(PIL image), label)``; ``classes`` are the labels' names.

    Use ``open_pictures`` to make one. ``read(i)`` gives the encoded bytes of picture i.
    """

    def __init__(self, read, labels: list[int], classes: list[str], transform=None):
        self.read, self.labels, self.classes, self.transform = read, labels, classes, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        try:
            image = open_image(self.read(index))
        except UnreadableImage as error:
            raise UnreadableImage(f"Picture {index} of the data set: {error}") from error
        return (self.transform(image) if self.transform else image), self.labels[index]


def open_pictures(source: str | Path, split: str | None = None) -> Pictures:
    """The pictures of a folder, a Parquet file, or a folder of Parquet files.

    Args:
        source: a folder with one sub-folder a class (ImageFolder); a Parquet file, or a folder of them, with the
            columns ``image`` (encoded bytes) and ``label`` (0, 1, …), and beside them an optional ``classes.csv`` with
            the columns ``label`` and ``name``.
        split: "train" or "val": the sub-folder of that name, or the Parquet files whose names begin with it.

    Raises:
        FileNotFoundError: when there is no such folder or file, or nothing in it.
        ValueError: when a column is missing or of another type.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    if split and source.is_dir() and not any(source.glob(f"{split}*.parquet")):
        source = source / split
        if not source.is_dir():  # the other split's pictures would do for neither
            raise FileNotFoundError(f"{source.parent} has neither a folder {split} nor files {split}*.parquet")
        split = None
    if source.is_file():  # one file is not both splits
        files = [source] if source.name.startswith(split or "") else []
    else:
        files = sorted(source.glob(f"{split or ''}*.parquet"))
    if files:
        return _parquet(files)
    try:
        folder = ImageFolder(source)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{source} holds neither {split + '*' if split else ''}.parquet files nor one sub-folder of pictures a "
            f"class") from error
    return Pictures(partial(_file_bytes, [path for path, _ in folder.samples]), folder.targets, folder.classes)


def _parquet(files: list[Path]) -> Pictures:
    try:
        table = pa.concat_tables([pq.read_table(file, columns=["image", "label"]) for file in files])
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(f"{files[0].parent} cannot be read as Parquet with the columns image and label: "
                         f"{str(error).splitlines()[0]}") from error
    image, label = (table.schema.field(name).type for name in ("image", "label"))
    if not (pa.types.is_binary(image) or pa.types.is_large_binary(image)) or not pa.types.is_integer(label):
        raise ValueError(f"{files[0].parent} needs the columns image (encoded bytes) and label (0, 1, …), not {image} "
                         f"and {label}")
    labels = table["label"].to_pylist()
    names = files[0].parent / "classes.csv"
    classes = [str(label) for label in range(max(labels, default=-1) + 1)]
    if names.exists():
        with names.open(newline="") as lines:
            rows = csv.DictReader(lines)
            if not {"label", "name"} <= set(rows.fieldnames or ()):
                raise ValueError(f"{names} has no columns label and name")
            for row in rows:
                if int(row["label"]) < len(classes):
                    classes[int(row["label"])] = row["name"]
    return Pictures(partial(_cell_bytes, table["image"]), labels, classes)


# functions of the module, not closures, so that a data set can be sent to worker processes
def _file_bytes(paths: list[str], index: int) -> bytes:
    return Path(paths[index]).read_bytes()


def _cell_bytes(column: pa.ChunkedArray, index: int) -> bytes:
    return column[index].as_py()
