"""Finished folders with a checksum of every file in their description: a flipped bit is told, not taken as a number.

The description is a JSON file. Its key "checksums" holds the SHA-256 (hex) of each file beside it by name, and under
the description's own name that of everything else it says.
"""
import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from .files import replacing

KEY = "checksums"


def write_described(path: Path, described: dict, files: Iterable[str]) -> None:
    """Write a description, whole or not at all, with checksums of itself and of files beside it that are there.

    Args:
        path: of the JSON file.
        described: what it says.
        files: names of the files.
    """
    sums = {name: _of_file(path.with_name(name)) for name in sorted(files) if path.with_name(name).is_file()}
    described = described | {KEY: sums | {path.name: _of_itself(described)}}
    with replacing(path) as part:
        part.write_text(json.dumps(described, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def damaged(path: Path, described: dict) -> str | None:
    """The first file that is not what the description says of it, or not there; None where all are, or it says nothing.

    Args:
        path: of the description, which lies beside the files.
        described: what it says.
    """
    sums = described.get(KEY, {})
    if not isinstance(sums, dict):
        return path.name
    for name, wanted in sums.items():
        file = path.with_name(name)
        found = (_of_itself({key: value for key, value in described.items() if key != KEY}) if name == path.name
                 else _of_file(file) if file.is_file() else None)
        if found != wanted:
            return name
    return None


def _of_file(path: Path) -> str:
    status = path.stat()
    return _of_bytes(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=256)  # a file of hundreds of megabytes takes a second, and is opened often
def _of_bytes(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_itself(described: dict) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
