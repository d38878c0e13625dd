"""Writing files whole or not at all."""
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file to write in place of ``path``, which it replaces when the block ends without an exception.

    >>> with replacing("numbers.csv") as part:
    ...     table.to_csv(part)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", suffix=".part", delete=False) as file:
        part = Path(file.name)
    try:
        yield part
        os.chmod(part, 0o644)  # NamedTemporaryFile's own mode shuts other users out
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
