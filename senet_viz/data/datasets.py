"""Pictures of a folder, a list or Parquet files, on this machine or behind any fsspec address; decoded on demand."""
import atexit
import csv
import hashlib
import io
import json
import os
import posixpath
import re
import shutil
import sys
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pyarrow import types
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from .files import replacing
from .images import UnreadableImage, open_image, read_file

# how a DataLoader starts processes where it can: they have what is in memory, also what cannot be pickled
FORK = "fork" if sys.platform == "linux" else None
_SUFFIXES = (*IMG_EXTENSIONS, ".gif")
_BOX = ("x0", "y0", "x1", "y1")
_COLUMNS = {  # of a Parquet file: what they must hold
    "image": ("encoded bytes", lambda t: types.is_binary(t) or types.is_large_binary(t)),
    "label": ("whole numbers", types.is_integer),
    "file": ("text", lambda t: types.is_string(t) or types.is_large_string(t)),
    **dict.fromkeys(_BOX, ("numbers", lambda t: types.is_integer(t) or types.is_floating(t)))}


class Pictures(Dataset):
    """Pictures with labels: item i is ``(transform(PIL image), label)``. Use ``open_pictures`` to make one.

    Attributes:
        read: gives the encoded bytes of picture i.
        labels: N indices into ``classes``; −1 where there is none.
        classes: the labels' names.
        wnids: the classes' WordNet ids, where those alone say what they are; else none.
        files: N names, relative to the source.
        split: "train" or "val", where one was opened; else None.
        sizes: of the files in bytes, as far as they are known without opening each; they tell of other pictures under
            the same names.
        boxes: where the object is, float64 (N, 4): x0, y0, x1, y1 in pixels, the edges of the box (half-open, so that
            x1 − x0 is its width); NaN where it is not known, which one that is empty, not finite or wholly outside the
            picture counts as. None when no picture has one.
    """

    def __init__(
            self,
            read: Callable[[int], bytes],
            labels: list[int],
            classes: list[str],
            transform: Callable | None = None,
            *,
            files: Sequence[str] | None = None,
            boxes: np.ndarray | None = None,
            sizes: Sequence[int] = (),
            wnids: Sequence[str] = (),
    ):
        self.read, self.labels, self.classes, self.transform = read, labels, classes, transform
        self.files = [str(i) for i in range(len(labels))] if files is None else files
        self.boxes, self.sizes, self.wnids = boxes, sizes, wnids
        self.split: str | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        try:
            image = open_image(self.read(index))
        except UnreadableImage as error:
            where = f" of {self.split}" if self.split else ""
            raise UnreadableImage(f"Picture {self.files[index]}{where}: {error}") from error
        return (self.transform(image) if self.transform else image), self.labels[index]

    def through(self, transform: Callable) -> "Pictures":
        """The same pictures, through another transform."""
        other = copy(self)
        other.transform = transform
        return other

    def spread(self, count: int, transform: Callable, reader: Callable | None = None) -> torch.Tensor:
        """Up to ``count`` pictures, evenly spread over those there are, transformed: (N, 3, H, W).

        Pictures that cannot be read are left out.

        Raises:
            ValueError: when none of them can be read.
        """
        found = []
        for index in np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)).tolist():
            try:
                found.append(transform((reader or open_image)(self.read(index))))
            except (UnreadableImage, OSError, ValueError):
                continue
        if not found:
            raise ValueError(f"none of {count:,} pictures of the data could be read")
        return torch.stack(found)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (64 hex digits) of number, names, labels, classes, boxes and sizes: of all but the bytes."""
        boxes = None if self.boxes is None else np.asarray(self.boxes, float).tolist()
        content = [len(self), list(map(str, self.files)), list(map(int, self.labels)), self.classes, boxes,
                   list(map(int, self.sizes))]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def open_pictures(source: str | os.PathLike, split: str | None = None, *, in_memory: bool = True,
                  spill: Path | None = None, any_file: bool = False) -> Pictures:
    """The pictures of a folder, a list, a Parquet file, or a folder of Parquet files.

    Args:
        source: a path, or any address that fsspec knows ("s3://…", "memory://…"), of

            - a folder with one sub-folder a class (ImageFolder). Where these are all WordNet ids, a ``classes.csv``
              in the folder or its parent (columns ``wnid`` and ``name``) names them, or else timm does;
            - a folder with pictures and no such sub-folders: they have no labels;
            - a Parquet file, or a folder of them, with the columns ``image`` (encoded bytes), ``label`` (0, 1, …; null
              or negative where there is none) and, optionally, ``file`` (the pictures' names) and ``x0``, ``y0``,
              ``x1``, ``y1`` (pixels, both ends included), and beside them an optional ``classes.csv`` with the columns
              ``label`` and ``name``;
            - a list (.txt, .csv, .tsv, without a header): a line "path label" a picture, split at a tab or else at the
              last space or comma, in a .csv also as CSV is, with quotes or without; lines without a label, empty lines
              and lines from # on are fine. Paths are relative
              to the list's folder, absolute, or addresses. Labels are names, or all of them numbers, which a
              ``classes.csv`` may name as it does for Parquet files.
        split: "train" or "val": the sub-folder of that name, or the files whose names begin with it.
        in_memory: read Parquet files whole, for random access. Otherwise row group by row group, of which the last one
            is kept: for data sets larger than memory, read in order.
        spill: read row groups when a picture of them is asked for, and keep them in this folder, from which they are
            mapped into memory: for data sets larger than memory, read in no order. It takes the disk that they take,
            and whoever names it removes it.
        any_file: take every file of a folder, and not those alone whose ending is a picture's.

    Raises:
        FileNotFoundError: when there is no such folder or file, or nothing in it.
        ValueError: when the address cannot be opened, a file cannot be read, a column is missing or of another type,
            labels are no indices, or a folder holds splits and none was chosen.
    """
    pictures = _open(os.fspath(source), split, in_memory, spill, any_file)
    pictures.split = split
    return pictures


def _open(source: str, split: str | None, in_memory: bool, spill: Path | None, any_file: bool) -> Pictures:
    fs, path = _place(source)
    if not fs.exists(path):
        raise FileNotFoundError(f"no such file or folder: {source}")
    if fs.isfile(path):
        folder, name = posixpath.split(path)
        if split and not name.startswith(split):  # one file is not both splits
            raise FileNotFoundError(f"{source} is one file, and its name does not begin with {split}")
        if name.lower().endswith((".txt", ".csv", ".tsv")):
            return _list(source, fs, folder, name)
        return _parquet(source, fs, folder, [name], in_memory, spill)
    folders, files = _entries(fs, path)
    parquet = [name for name in files if name.startswith(split or "") and name.endswith(".parquet")]
    if split and not parquet:
        if split not in folders:  # the other split's pictures would do for neither
            raise FileNotFoundError(f"{source} has neither a folder {split} nor files {split}*.parquet")
        path = f"{path}/{split}"
        folders, files = _entries(fs, path)
        parquet = [name for name in files if name.endswith(".parquet")]
    if parquet:
        return _parquet(source, fs, path, parquet, in_memory, spill)
    return _folder(source, fs, path, folders, files, any_file)


def _folder(source: str, fs: AbstractFileSystem, path: str, folders: list[str], files: list[str], any_file: bool
            ) -> Pictures:
    wanted = (lambda name: True) if any_file else _is_picture
    if {"train", "val"} <= {*folders}:
        raise ValueError(f"{source} has the splits {', '.join(folders)}: choose one")
    # class by class: what fsspec knows of each of a million files would fill the memory
    found, sizes = {}, []
    for name in folders:
        below = _below(fs, f"{path}/{name}", {Path(path), Path(path, name)})
        found[name] = sorted(filter(wanted, below), key=posixpath.split)
        sizes += [below[file] for file in found[name]]
    if any(found.values()):
        if empty := [name for name in folders if not found[name]]:
            raise FileNotFoundError(f"{source} has sub-folders without a picture: {', '.join(empty)}")
        files = [f"{name}/{file}" for name in folders for file in found[name]]
        labels = [label for label, name in enumerate(folders) for _ in found[name]]
        classes, wnids = _named(fs, path, list(map(_shown, folders)))
    else:
        files = list(filter(wanted, files))
        labels, classes, wnids, sizes = [-1] * len(files), [], [], []
    if not files:
        raise FileNotFoundError(f"{source} holds neither Parquet files nor pictures, in sub-folders or without")
    read = partial(_file_bytes, source, path, files, not any_file)
    return Pictures(read, labels, classes, files=list(map(_shown, files)), sizes=sizes, wnids=wnids)


def _list(source: str, fs: AbstractFileSystem, folder: str, name: str) -> Pictures:
    lines = (line.strip() for line in _text(fs, f"{folder}/{name}").split("\n"))
    entry = partial(_csv_entry, source) if name.lower().endswith(".csv") else _entry
    entries = [entry(line) for line in lines if line and not line.startswith("#")]
    if not entries:
        raise FileNotFoundError(f"{source} names no picture")
    files, names = map(list, zip(*entries))
    found, wnids = sorted(set(names) - {""}), list[str]()
    if all(re.fullmatch(r"-?\d+", name) for name in found):
        labels = [max(int(name), -1) if name else -1 for name in names]
        classes = _numbered(fs, folder, labels)
    else:
        index = {name: label for label, name in enumerate(found)} | {"": -1}
        labels, (classes, wnids) = [index[name] for name in names], _named(fs, folder, found)
    return Pictures(partial(_file_bytes, source, folder, files, True), labels, classes, files=files, wnids=wnids)


def _entry(line: str) -> tuple[str, str]:
    """Path and label, "" where there is none."""
    if "\t" in line:
        file, label = line.split("\t", 1)
        return file.strip(), label.strip()
    file, label = [*re.split(r"[\s,]+(?=[^\s,]*$)", line), ""][:2]
    return (line, "") if _is_picture(label) else (file, label)  # "my cat.png" has a space, but no label


def _csv_entry(source: str, line: str) -> tuple[str, str]:
    """The same of a line of CSV: by its quotes, or at its only comma where "path label" would be no picture's path."""
    file, label = _entry(line)
    quoted = re.search(r'(^|,)\s*"', line)
    if "\t" in line or (not quoted and _is_picture(file)):
        return file, label
    try:
        fields = [field.strip() for field in next(csv.reader([line], skipinitialspace=True, strict=True))]
    except csv.Error as error:
        raise ValueError(f"{source}: the line {line} cannot be read as CSV: {error}") from error
    if quoted and len(fields) > 2:
        raise ValueError(f"{source}: the line {line} has {len(fields)} columns, not a path and a label")
    return (fields[0], [*fields, ""][1]) if quoted or len(fields) == 2 else (file, label)


def _parquet(source: str, fs: AbstractFileSystem, folder: str, names: list[str], in_memory: bool, spill: Path | None
             ) -> Pictures:
    in_memory = in_memory and spill is None
    tables, groups, starts, sizes = [], [], [0], []
    try:
        for name in names:
            with pq.ParquetFile(f"{folder}/{name}", filesystem=fs) as file:
                schema = file.schema_arrow
                needed = {"image", "label", *(_BOX if set(_BOX) & set(schema.names) else ())}
                if missing := sorted(needed - set(schema.names)):
                    raise ValueError(f"{source}: {name} lacks the columns {', '.join(missing)}; it has "
                                     f"{', '.join(schema.names)}")
                columns = [field for field in schema if field.name in _COLUMNS]
                for field in columns:
                    kind, fits = _COLUMNS[field.name]
                    if not fits(field.type) and not types.is_null(field.type):
                        raise ValueError(f"{source}: the column {field.name} of {name} holds {field.type}, not {kind}")
                table = file.read([field.name for field in columns if in_memory or field.name != "image"])
                rows = pa.array([f"{name}:{row}" for row in range(file.metadata.num_rows)], pa.string())
                tables.append(table.append_column("row", rows))
                for group in range(file.num_row_groups):
                    sizes.append(file.metadata.row_group(group).total_byte_size)
                    groups.append((f"{folder}/{name}", group))
                    starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
        table = pa.concat_tables(tables, promote_options="permissive")  # files may lack what is optional
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{source} cannot be read as Parquet: {_line(error)}") from error

    labels, files, boxes = pc.fill_null(table["label"].cast(pa.int64()), -1).to_numpy(), table["row"], None
    labels = np.maximum(labels, -1).tolist()
    if "file" in table.column_names:
        files = pc.coalesce(table["file"].cast(pa.string()), files)
    if "x0" in table.column_names:
        boxes = np.stack([table[side].cast(pa.float64()).to_numpy() for side in _BOX], 1)
        boxes[:, 2:] += 1  # from the last pixel to its far edge
        boxes[np.isnan(boxes).any(1)] = np.nan
    read = (partial(_cell_bytes, table["image"]) if in_memory else
            _RowGroups(source, groups, starts) if spill is None else _SpilledRowGroups(source, groups, starts, spill))
    return Pictures(read, labels, _numbered(fs, folder, labels), files=files.to_pylist(), boxes=boxes,
                    sizes=sizes)


# what reads a picture: no closures, and no file system, which may be of no use in another process
def _file_bytes(source: str, folder: str, files: list[str], limited: bool, index: int) -> bytes:
    file = files[index]
    if "://" in file or Path(file).is_absolute():
        fs, path = _place(file)
    else:
        fs, path = _place(source)[0], f"{folder}/{file}"
    return read_file(path, limited) if isinstance(fs, LocalFileSystem) else fs.cat_file(path)


def _cell_bytes(column: pa.ChunkedArray, index: int) -> bytes:
    return column[index].as_py() or b""


class _RowGroups:
    """Reads the row group of the picture that is asked for, and keeps it until another one's turn."""

    def __init__(self, source: str, groups: list[tuple[str, int]], starts: list[int]):
        self.source, self.groups, self.starts = source, groups, starts  # group i: rows from starts[i] to starts[i + 1]
        self.kept: tuple[int, pa.ChunkedArray] | None = None

    def __call__(self, index: int) -> bytes:
        index = range(self.starts[-1])[index]
        group = bisect_right(self.starts, index) - 1
        return _cell_bytes(self._group(group), index - self.starts[group])

    def _group(self, group: int) -> pa.ChunkedArray:
        kept = self.kept
        if kept is None or kept[0] != group:
            self.kept = kept = None  # first, so that there are never two
            self.kept = kept = group, self._read(*self.groups[group])
        return kept[1]

    def _read(self, path: str, number: int) -> pa.ChunkedArray:
        fs = _place(self.source)[0]
        try:
            with pq.ParquetFile(path, filesystem=fs) as file:
                return file.read_row_group(number, ["image"])["image"]
        except (pa.ArrowException, OSError) as error:
            if not isinstance(fs, LocalFileSystem) and isinstance(error, OSError):
                raise  # the network's, which may pass
            raise UnreadableImage(f"Row group {number} of {posixpath.basename(path)} cannot be read "
                                  f"({_line(error)}).") from error

    def __getstate__(self) -> dict:
        return self.__dict__ | {"kept": None}


class _SpilledRowGroups(_RowGroups):
    """Keeps each row group that was read in a file, mapped into memory: all processes of a machine share its pages."""

    def __init__(self, source: str, groups: list[tuple[str, int]], starts: list[int], folder: Path):
        super().__init__(source, groups, starts)
        self.folder = folder.absolute()
        self.mapped: dict[int, pa.ChunkedArray] = {}

    def _group(self, group: int) -> pa.ChunkedArray:
        if group not in self.mapped:
            if not self.folder.parent.is_dir():  # on another machine of a cluster
                own = tempfile.mkdtemp(prefix="senet_viz-")
                atexit.register(shutil.rmtree, own, ignore_errors=True)
                self.folder = Path(own, self.folder.name)
            path = self.folder / f"{group:06}.arrow"
            if not path.exists():
                table = pa.table({"image": self._read(*self.groups[group])})
                with replacing(path) as part, pa.ipc.new_file(str(part), table.schema) as file:
                    file.write_table(table)
            self.mapped[group] = pa.ipc.open_file(pa.memory_map(str(path))).read_all()["image"]
        return self.mapped[group]

    def __getstate__(self) -> dict:
        return super().__getstate__() | {"mapped": {}}


# names of classes
def _numbered(fs: AbstractFileSystem, folder: str, labels: list[int]) -> list[str]:
    names = _names(fs, folder, "label") or {}
    used = {label for label in labels if label >= 0}
    if max(labels, default=-1) >= max(10_000, 100 * len(used)) and not names.keys() >= set(map(str, used)):
        raise ValueError(f"labels run up to {max(labels):,}, and only {len(used):,} are in use: number them from 0, or "
                         f"name them in classes.csv")
    return [names.get(str(label), str(label)) for label in range(max(labels, default=-1) + 1)]


def _named(fs: AbstractFileSystem, folder: str, classes: list[str]) -> tuple[list[str], list[str]]:
    """WordNet ids by their names, which tell the birds from the machines among the cranes; others as they are.

    The ids come behind, except where a file names them: then it says what the classes are.
    """
    if not all(re.fullmatch(r"n\d{8}", name) for name in classes):
        return classes, []
    wnids = classes
    names = _names(fs, folder, "wnid") or _names(fs, posixpath.dirname(folder), "wnid")
    if names:
        wnids = []
    else:
        from timm.data import ImageNetInfo  # reads files of all synsets
        info = ImageNetInfo()
        try:
            names = {wnid: info.label_name_to_description(wnid) for wnid in classes}
        except KeyError:
            return classes, wnids
    named = [names.get(wnid, wnid) for wnid in classes]
    count = Counter(named)
    return [name if count[name] == 1 else f"{name} [{wnid}]" for name, wnid in zip(named, classes)], wnids


def _names(fs: AbstractFileSystem, folder: str, key: str) -> dict[str, str] | None:
    path = f"{folder}/classes.csv"
    if not fs.isfile(path):
        return None
    try:
        rows = csv.DictReader(io.StringIO(_text(fs, path), newline=""))
        if not {key, "name"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path} has no columns {key} and name")
        return {row[key].strip(): row["name"] for row in rows if row[key] and row["name"]}
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error


def data_name(source: str | os.PathLike) -> str:
    """What data are called: as their folder or file is, wherever it lies."""
    path = Path(source)
    return (path.resolve() if path.name in {"", ".."} else path).name


# files and folders, of any file system
def _place(address: str) -> tuple[AbstractFileSystem, str]:
    try:
        fs, path = url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{address} cannot be opened: {_line(error)}") from error
    return fs, path.rstrip("/") or path


def _entries(fs: AbstractFileSystem, folder: str) -> tuple[list[str], list[str]]:
    """The sorted names of the folders and of the files in a folder."""
    folders: list[str] = []
    files: list[str] = []
    for info in fs.ls(folder, detail=True):
        name = _relative(info["name"], folder)
        if name:  # object stores list the folder itself
            (folders if info["type"] == "directory" or _is_linked_folder(fs, info) else files).append(name)
    return sorted(folders), sorted(files)


def _below(fs: AbstractFileSystem, folder: str, seen: set[Path]) -> dict[str, int]:
    """All files of a folder and of the folders in it, relative to it → their sizes in bytes.

    Links to folders are followed once: not to one that was ``seen``, and not to one that holds such a one, which would
    lead round in a circle.
    """
    files: dict[str, int] = {}
    for path, info in fs.find(folder, detail=True).items():
        name = _relative(path, folder)
        if not _is_linked_folder(fs, info):
            files[name] = int(info.get("size") or 0)
            continue
        target = Path(path).resolve()
        if not any(place.resolve().is_relative_to(target) for place in seen):
            seen.add(target)
            files |= {f"{name}/{file}": size for file, size in _below(fs, path, seen).items()}
    return files


def _is_linked_folder(fs: AbstractFileSystem, info: dict) -> bool:  # fsspec itself does not follow these
    return bool(info.get("islink")) and fs.isdir(info["name"])


def _relative(path: str, folder: str) -> str:
    return path.removeprefix(folder).strip("/")


def _shown(name: str) -> str:
    """A file's name as text: bytes of it that are no UTF-8 are shown as �."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _text(fs: AbstractFileSystem, path: str) -> str:
    try:
        return fs.cat_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8") from error


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
