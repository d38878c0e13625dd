"""Small runs to compare: a network, one near it, its random-weights draw, and runs over other classes."""
import copy
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from senet_viz.models import Model
from senet_viz.models.copies import random_weights
from senet_viz.statistics import Statistics
from tests.runs import make_batch, make_model, make_module, picture

PICTURES = 40


def data_of(folder: Path, kinds: range) -> Path:
    """Pictures by turns of these kinds, called "kind 0" and so on."""
    folder.mkdir()
    labels = [i % len(kinds) for i in range(PICTURES)]
    pq.write_table(pa.table({"image": [picture(i, 5 * kinds[label]) for i, label in enumerate(labels)],
                             "label": labels, "file": [f"picture {i}" for i in range(PICTURES)]}),
                   folder / "val.parquet")
    (folder / "classes.csv").write_text(
        "label,name\n" + "".join(f"{label},kind {kind}\n" for label, kind in enumerate(kinds)))
    return folder


@pytest.fixture(scope="session")
def kinds(tmp_path_factory) -> Path:
    """40 pictures of eight classes."""
    return data_of(tmp_path_factory.mktemp("comparing") / "kinds", range(8))


@pytest.fixture(scope="session")
def many(run, kinds, tmp_path_factory) -> Statistics:
    """A network over them."""
    return run(tmp_path_factory.mktemp("comparing") / "many", make_model("se"), kinds)


def near_model() -> Model:
    """Its weights, a little beside."""
    module = copy.deepcopy(make_module("se"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.add_(0.05 * parameter.std() * torch.randn(parameter.shape, generator=generator))
    model = make_model("se", module)
    model.name = "near"
    return model


@pytest.fixture(scope="session")
def near(run, kinds, tmp_path_factory) -> Statistics:
    """One near it, of which fewer pictures are kept whole."""
    return run(tmp_path_factory.mktemp("comparing") / "near", near_model(), kinds, options={"sample": 30})


@pytest.fixture(scope="session")
def without(run, kinds, tmp_path_factory) -> Statistics:
    """The same, compact."""
    return run(tmp_path_factory.mktemp("comparing") / "without", near_model(), kinds, compact=True)


@pytest.fixture(scope="session")
def drawn(run, kinds, tmp_path_factory) -> Statistics:
    """The network with weights drawn anew."""
    model = make_model("se", random_weights(make_module("se"), make_batch(32), 5))
    model.name = "drawn"
    return run(tmp_path_factory.mktemp("comparing") / "drawn", model, kinds)


@pytest.fixture(scope="session")
def other_classes(run, tmp_path_factory) -> Statistics:
    """A network of other blocks over pictures of which six classes are the same by name."""
    data = data_of(tmp_path_factory.mktemp("comparing") / "others", range(2, 10))
    return run(tmp_path_factory.mktemp("comparing") / "others run", make_model("sk"), data)
