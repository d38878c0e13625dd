"""Photos named on the command line."""
from collections.abc import Sequence
from pathlib import Path


def open_photo(path: str):
    """The picture in a file.

    Raises:
        UnreadableImage: one sentence that names the file.
    """
    from ..data.images import UnreadableImage, open_image

    try:
        return open_image(path)
    except UnreadableImage as error:
        raise UnreadableImage(f"{path}: {error}") from error


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Paths → the names of the files; the paths themselves where two files have one name."""
    names = {path: Path(path).name for path in paths}
    return names if len(set(names.values())) == len(names) else {path: path for path in names}
