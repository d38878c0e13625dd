"""A run over uploaded photos in the background: started, followed, cancelled, and gone with its visitor."""
import logging
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath

from PIL import Image

from ..data.datasets import Pictures
from ..data.images import thumbnail
from ..models import Model
from ..statistics import Statistics, directions, summaries
from .collect import collect
from .runs import Stopped
from .shards import Settings

LOG = logging.getLogger(__name__)
PATIENCE = 5  # seconds that a run has to end, at the end of the process


def labels_of(files: Sequence[str]) -> list[str]:
    """The class of each photo in uploaded folders, "" for none: the sub-folder that it lies in.

    As in a folder that is given to ``collect``; but where several folders without sub-folders were chosen, each is one.

    Args:
        files: their paths, with "/" between.
    """
    paths = [PurePosixPath(file).parts for file in files]
    roots = {path[0] for path in paths if len(path) > 1}
    deep = {path[0] for path in paths if len(path) > 2}
    return [path[1] if len(path) > 2 else path[0] if path[0] in roots - deep and len(roots) > 1 else ""
            for path in paths]


def uploaded(files: Sequence[str], contents: Sequence[bytes]) -> Pictures:
    """Uploaded folders as a data set.

    Args:
        files: the photos' paths, which name their classes.
        contents: their encoded bytes.
    """
    labels = labels_of(files)
    classes = sorted(set(labels) - {""})
    return Pictures(list(contents).__getitem__, [classes.index(label) if label else -1 for label in labels],
                    classes, files=list(files))


class Job:
    """A run in a thread of its own.

    Attributes:
        total, done, used: photos; what could not be used is done as well.
        cancelled: set it to end the run after the shard that it is at.
        stopped: was it cancelled before it was done?
        error: what went wrong, a sentence; "" where nothing did.
        out: the folder of the statistics; it is removed with the job.
        outlying: small copies of the photos that ``directions.outliers`` names, by their index; others are not kept.

    Args:
        total: how many photos there are.
    """

    def __init__(self, total: int):
        self.total, self.done, self.used = total, 0, 0
        self.folder = tempfile.TemporaryDirectory(prefix="senet_viz_", ignore_cleanup_errors=True)
        self.out = str(Path(self.folder.name, "statistics"))
        self.cancelled = threading.Event()
        self.stopped, self.error = False, ""
        self.outlying: dict[int, Image.Image] = {}
        self.thread: threading.Thread | None = None
        _jobs.add(self)

    @property
    def running(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    @property
    def succeeded(self) -> bool:
        return not (self.running or self.stopped or self.error)

    def start(self, model: Model, pictures: Pictures, settings: Settings,
              turn: AbstractContextManager | None = None) -> "Held":
        """Run in a thread for as long as what is returned is kept; the arguments are those of ``run``."""
        self.thread = threading.Thread(target=self.run, args=(model, pictures, settings, turn), daemon=True)
        self.thread.start()
        return Held(self)

    def run(self, model: Model, pictures: Pictures, settings: Settings,
            turn: AbstractContextManager | None = None) -> None:
        """Collect; what goes wrong is kept as a sentence.

        Args:
            model: to look with.
            pictures: to look at.
            settings: how to compute; between two shards the run can be cancelled.
            turn: entered for the run, such as a semaphore at which others wait.
        """
        def tell(done: int, total: int) -> None:
            self.done = done

        try:
            with turn or nullcontext():
                stats = collect(model, pictures, self.out, settings, workers=0, progress=tell,
                                stop=self.cancelled.is_set)
                self.used = stats.metadata["images"]
                self.outlying = {index: thumbnail(pictures.read(index)) for index in _named(stats)}
        except Stopped:
            self.stopped = True
        except (ValueError, OSError, RuntimeError, ImportError) as error:  # their messages are sentences
            self.error = str(error)
        except Exception as error:  # networks of one's own fail wherever they like
            LOG.exception("told as one sentence")
            self.error = f"The network fails ({type(error).__name__}: {' '.join(str(error).split())})."


_jobs: "weakref.WeakSet[Job]" = weakref.WeakSet()


def end_all() -> None:
    """Cancel all runs of this process and remove their folders, where it ends without Python's own last steps."""
    jobs = list(_jobs)
    for job in jobs:
        job.cancelled.set()
    for job in jobs:
        if job.thread is not None:
            job.thread.join(PATIENCE)
        job.folder.cleanup()


def _named(stats: Statistics) -> list[int]:
    """The pictures that the page will name at any zoom."""
    if not stats.sampled:
        return []
    named = [directions.outliers(stats, summaries.dimension(stats, zoom=zoom), zoom)["index"] for zoom in stats.zooms]
    return sorted({int(index) for part in named for index in part})


class Held:
    """A hold on a run: when it is let go, as when a visitor's session ends, the run ends and its folder is removed."""

    def __init__(self, job: Job):
        self.job = job
        weakref.finalize(self, job.cancelled.set)
