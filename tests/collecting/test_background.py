import errno
import gc
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet_viz.collecting import Settings, background
from senet_viz.collecting.background import Job, labels_of, uploaded
from senet_viz.data.datasets import Pictures
from senet_viz.statistics import directions, open_statistics, summaries
from tests.runs import picture


@pytest.mark.parametrize(("files", "labels"), [
    (["p/cat/1.png", "p/cat/2.png", "p/dog/3.png"], ["cat", "cat", "dog"]),
    (["p/cat/a/1.png", "p/0.png"], ["cat", ""]),
    (["p/1.png", "p/2.png"], ["", ""]),
    (["cat/1.png", "dog/2.png"], ["cat", "dog"]),
    (["p/cat/1.png", "dog/2.png", "3.png"], ["cat", "dog", ""]),
    ([], []),
])
def test_folders_are_classes(files, labels):
    assert labels_of(files) == labels


def test_uploaded_folders_are_a_data_set():
    contents = [picture(i) for i in range(4)]
    pictures = uploaded(["p/dog/1.png", "p/cat/2.png", "p/3.png", "p/dog/4.png"], contents)
    assert (pictures.classes, pictures.labels) == (["cat", "dog"], [1, 0, -1, 1])
    assert [pictures.read(i) for i in range(4)] == contents and pictures.files[1] == "p/cat/2.png"


@pytest.fixture(scope="module")
def photos():
    contents = [picture(i, i % 2) for i in range(20)]
    return Pictures(contents.__getitem__, [i % 2 for i in range(20)], ["cat", "dog"])


def test_a_run_leaves_statistics(network, photos, settings):
    job = Job(20)
    held = job.start(network("se"), photos, settings())
    assert held.job is job
    job.thread.join(60)
    assert (job.done, job.stopped, job.error, job.running, job.succeeded) == (20, False, "", False, True)
    np.testing.assert_array_equal(open_statistics(job.out).count, [10, 10])


def flat(seed: int) -> bytes:
    """Grey, a little noise on it: pictures that are all alike, but for one in a hundred."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (30, 30, 3)) if seed == 60 else 128 + rng.normal(0, 2, (30, 30, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_run_keeps_small_copies_of_the_photos_that_it_names(network, settings):
    contents = [flat(i) for i in range(110)]
    job = Job(110)
    job.run(network("se"), Pictures(contents.__getitem__, [i % 2 for i in range(110)], ["cat", "dog"]),
            settings(sample=110))
    assert job.succeeded and 60 in job.outlying
    table = summaries.dimension(open_statistics(job.out))
    named = directions.outliers(open_statistics(job.out), table)
    assert set(job.outlying) == set(named["index"]) and len(job.outlying) <= 2 * directions.NAMED
    whole = np.asarray(Image.open(io.BytesIO(contents[60])))
    np.testing.assert_array_equal(np.asarray(job.outlying[60]), whole)  # smaller than a small copy


def test_a_cancelled_run_stops_before_its_next_shard(network, photos):
    job = Job(20)
    job.cancelled.set()
    job.run(network("se"), photos, Settings(batch_size=4, shard_size=4))
    assert job.stopped and not job.succeeded and job.done == 0 and job.error == ""


def test_what_goes_wrong_is_a_sentence(network, settings, monkeypatch):
    job = Job(2)
    job.run(network("se"), Pictures([b"no", b"no"].__getitem__, [0, 0], ["cat"]), settings())
    assert job.error and "\n" not in job.error and not job.succeeded and not job.stopped
    monkeypatch.setattr("senet_viz.collecting.background.collect", lambda *_, **__: {}["weights"])
    job.run(network("se"), Pictures([b""].__getitem__, [0], ["cat"]), settings())
    assert job.error == "The network fails (KeyError: 'weights')."


def test_a_run_waits_for_its_turn(network, photos, settings):
    turn = threading.Lock()
    job = Job(20)
    with turn:
        held = job.start(network("se"), photos, settings(), turn)
        job.thread.join(0.3)
        assert held.job.running and job.done == 0
    job.thread.join(60)
    assert job.succeeded and job.done == 20 and not turn.locked()


def test_a_run_ends_with_who_holds_it(network, photos):
    job = Job(20)
    held = job.start(network("se"), photos, Settings(batch_size=1, shard_size=1))
    cancelled, thread, folder = job.cancelled, job.thread, Path(job.folder.name)
    assert folder.is_dir()
    del held, job
    gc.collect()
    assert cancelled.is_set()
    thread.join(60)
    del thread
    gc.collect()
    assert not folder.exists()


def test_a_folder_that_is_still_written_into_does_not_keep_the_others(network, photos, monkeypatch):
    """As by a run that does not end in time when the server does."""
    monkeypatch.setattr(background, "PATIENCE", 0)
    jobs = [Job(1), Job(1)]
    folders = [Path(job.folder.name) for job in jobs]
    busy = folders[0] / "statistics"
    busy.mkdir()
    remove = os.rmdir

    def remove_what_is_written_into(path, **options):
        if Path(path).name == "statistics":
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        remove(path, **options)

    monkeypatch.setattr(os, "rmdir", remove_what_is_written_into)
    background.end_all()
    assert busy.is_dir() and not folders[1].exists()
