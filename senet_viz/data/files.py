"""Writing files whole or not at all."""
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file to write in place of ``path``, which it replaces when the block ends without an exception.

    Raises:
        OSError: with the path, where nothing can be written beside it, or the disk is full.

    >>> with replacing("numbers.csv") as part:
    ...     table.to_csv(part)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _called(path), tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", suffix=".part",
                                                    delete=False) as file:
        part = Path(file.name)
    try:
        yield part
        os.chmod(part, 0o644)  # NamedTemporaryFile's own mode shuts other users out
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:  # a full disk names no file
            error.filename = str(path)
        raise


@contextmanager
def alone(folder: Path, busy: type[Exception]) -> Iterator[None]:
    """The only run that writes into a folder, on this machine, whichever path names it; a killed run holds nothing.

    Args:
        folder: it need not be there; its parent must.
        busy: raised where another run has it.

    Raises:
        OSError: with the folder, where nothing can be written beside it.
    """
    place = folder.resolve()  # "." has no name, and a link another one
    with _called(folder):
        check_writable(place)  # where nothing can be written, a lock looks as if others held it
    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise busy(f"another run is writing into {folder}") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def check_writable(path: Path) -> None:
    """See whether a file can be written beside a path, before work is done for it; the folder must be there.

    Raises:
        OSError: with the path, where none can.
    """
    with _called(path), tempfile.TemporaryFile(dir=path.parent):
        pass


@contextmanager
def _called(path: Path) -> Iterator[None]:
    """Errors of a temporary file beside a path name the path, which whoever asked for it knows."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise
