"""How much a network's accuracy rests on its gates: top-1 and top-5 over a data set, unedited and with edits."""
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..data.datasets import Pictures
from ..data.files import replacing
from ..data.places import ASSETS
from ..gates import AttentionBlock, Edit, EditError, parse_edits
from ..gates.removals import removals
from ..models import Model
from ..models.identity import weights_hash
from ..statistics.archive import IMAGES, METADATA, Statistics, StatisticsError, describe, open_statistics
from .engines import engine_of
from .evaluation import UNEDITED, Evaluation, deals_images, edits_hash
from .merge import Result, list_unreadable
from .plan import Computing
from .runs import open_data, run

TABLE, SPEED = "evaluation.csv", "speed.csv"
Z = 1.959963984540054  # of 95 %


def evaluate(
        model: Model,
        data: str | Path | Pictures,
        out: str | Path | None = None,
        edits: Sequence[str | Edit | Sequence[Edit]] = (),
        settings: Computing | None = None,
        *,
        statistics: Statistics | str | Path | None = None,
        split: str | None = None,
        limit: int | None = None,
        compact: bool = False,
        device: str | torch.device | None = None,
        engine: str = "local",
        workers: int = 2,
        address: str | None = None,
        progress: Callable[[int, int], None] | bool = True,
        stop: Callable[[], bool] = lambda: False,
) -> pd.DataFrame:
    """Top-1 and top-5 over labelled pictures, unedited and with each edit, on the same pictures.

    Every batch goes through the network once for each edit. It is a run like ``collect``'s: in shards, resumed by
    running it again, to the same bytes (but for ``speed.csv``). Nothing is trained anew: a network may rest more on a
    block that it was trained with than one trained without it would miss it.

    The list of pictures, often sorted by class, is dealt out by a fixed permutation before it is cut into shards. So
    batches mix classes, and "shuffle images" gives a picture the gates of another of its batch, mostly of another class
    (one and the same for all blocks). With such an edit a shard's last picture, were it alone, joins the batch before;
    one that is alone because the others cannot be read is not used either, and is listed in ``unreadable.csv``.

    Args:
        model: with attention blocks.
        data: labelled pictures, as ``collect`` takes them, of classes that the model knows: by their names, or by
            number where they have none. All are kept in memory as they are encoded.
        out: the folder to write: ``evaluation.csv`` (the table), ``images.parquet`` (a row a picture and edit),
            ``speed.csv``, ``metadata.json``; nothing is kept when None.
        edits: each is evaluated by itself: text ("SE_5_*=1; SE_4_6=mean", see ``parse_edits``), an edit, or several
            together. "mean" stands for the mean of a block's gates over a data set. ``each_block`` and ``each_stage``
            make lists. Other edits that are written alike (arrays) get numbers: "*=array", "*=array (2)".
        settings: how to compute; part of the run's identity, as are the model's weights and device, data, and edits.
        statistics: where "mean" is taken from; the embedded ones for an embedded model.
        split: of the data.
        limit: look only at so many pictures, spread evenly over the labelled ones.
        compact: write probabilities in float16, and no names of files.
        device, engine, workers, address, progress, stop: as in ``collect``.

    Returns:
        The table, as ``open_evaluation``.

    Raises:
        FileNotFoundError, ValueError: when the data cannot be opened, have no labels, or others than the model's
            classes; when none of them can be read; for statistics of another network.
        EditError: for an edit that cannot be read or made.
        StatisticsError: when the folder holds another run, and what is different about it.
        Stopped: when ``stop`` said so.
    """
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            return evaluate(model, data, Path(folder, "out"), edits, settings, statistics=statistics, split=split,
                            limit=limit, compact=compact, device=device, engine=engine, workers=workers,
                            address=address, progress=progress, stop=stop)
    settings, out = settings or Computing(), Path(out)
    settings.check()
    computer = engine_of(engine, workers, address)
    if limit is not None and limit < 1:
        raise ValueError(f"the limit is 1 picture or more, not {limit}")
    if not model.blocks:
        raise ValueError(f"{model.name} has no attention blocks, so there is nothing to edit.")
    named = _named(model, edits, statistics)
    if settings.batch_size == 1 and any(map(deals_images, named.values())):
        raise EditError("\"shuffle images\" takes batches of 2 pictures or more, not of 1")
    pictures, name = open_data(data, split, out, in_memory=True)  # they are read in no order
    labels = np.asarray(pictures.labels)
    labelled = int((labels >= 0).sum())
    if not labelled:
        raise ValueError(f"the pictures in {name} have no labels, so there is nothing to be right about")
    with computer as compute:
        plan = Evaluation(model, pictures, settings, name, min(labelled, limit or labelled),
                          *compute.device(model, device), named, class_targets(model, pictures))
        run(plan, out, compute, {"compact": compact}, partial(_merge, compact=compact), progress, stop)
    return open_evaluation(out)


def open_evaluation(path: str | Path) -> pd.DataFrame:
    """The table that ``evaluate`` wrote into a folder; its metadata are in ``.attrs``.

    A row an edit, the first one "unedited". Columns: edit, blocks (the labels of those that it changes), images;
    top1 and top5 (0..1); difference (top1 minus the unedited), low, high (its 95 % interval, see
    ``paired_interval``), lost and gained (pictures that were right and are wrong now, and the other way round);
    difference5, low5 and high5 of top5; probability (of the right class, mean), and images_per_second (of the forward
    passes with this edit, which begin at the first edited block).

    Raises:
        FileNotFoundError: when there is no such folder.
        StatisticsError: when it holds no evaluation, not yet, or a damaged one.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}")
    if not (path / METADATA).is_file() or not (path / TABLE).is_file():
        raise StatisticsError(f"{path} holds no finished evaluation")
    try:
        found = pd.read_csv(path / TABLE).fillna({"blocks": ""})
        if (path / SPEED).is_file():
            found = found.merge(pd.read_csv(path / SPEED), on="edit", how="left")
        found.attrs = json.loads((path / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise StatisticsError(f"the evaluation in {path} is damaged ({error})") from error
    return found


def harmless(table: pd.DataFrame, blocks: Iterable[AttentionBlock], value: str, within: float) -> list[str]:
    """Labels of the blocks whose own edit, "LABEL=value", lost no more than so many points of top-1 (0..100).

    What each loses by itself does not say what all of them lose together: that is to be evaluated.

    Raises:
        EditError: for a value that is none.
        ValueError: where no block was evaluated with it.
    """
    # as the table has it: "1.0" is "1"
    edits = {block.label: str(*parse_edits(f"{block.label}={value}", mean={})) for block in blocks}
    lost = -100 * table.set_index("edit")["difference"]
    if not lost.index.isin(list(edits.values())).any():
        raise ValueError(f"the evaluation has no rows BLOCK={value}: evaluate with --each-block {value}")
    return [label for label, edit in edits.items() if lost.get(edit, np.inf) <= within]


def each_block(model: Model, values: Sequence[str] = ()) -> list[str]:
    """An edit for each block and value.

    Args:
        model: whose blocks.
        values: what gates are set to; where there are none 1 (no attention; in NFNets ½), and where a block weighs
            branches each kernel alone (each branch, where kernels are equal) and the even mixture.
    """
    return [f"{block.label}={value}" for block in model.blocks for value in values or removals(block)]


def each_stage(model: Model, values: Sequence[str] = ()) -> list[str]:
    """An edit for each stage and value, all its blocks together, and for all blocks; arguments as of ``each_block``."""
    edits = []
    for stage in (*sorted({block.stage for block in model.blocks}), None):
        blocks = [block for block in model.blocks if stage in (None, block.stage)]
        kinds: dict[tuple[str, ...], list[AttentionBlock]] = {}
        for block in blocks:
            kinds.setdefault(tuple(values or removals(block)), []).append(block)
        for wanted, alike in kinds.items():
            where = ("*" if stage is None else f"stage {stage}") if len(alike) == len(blocks) else ",".join(
                block.label for block in alike)
            edits += [f"{where}={value}" for value in wanted]
    return edits


def class_targets(model: Model, pictures: Pictures) -> np.ndarray:
    """The model's class of each class of the data, int64; −1 for one without pictures that the model does not know.

    Classes are matched by name; by their order where all names are the same in the same order, which tells ImageNet's
    two cranes apart, and where they are mere numbers.

    Raises:
        ValueError: when pictures are of a class that the model does not know.
    """
    names = [re.sub(r" \[n\d{8}\]$", "", name) for name in pictures.classes]
    here, used = np.arange(len(names)), np.unique([label for label in pictures.labels if label >= 0])
    if names == model.classes or (all(name == str(i) for i, name in enumerate(names))
                                  and used[-1] < len(model.classes)):
        return here
    bearers = Counter(model.classes)
    known = {name: i for i, name in enumerate(model.classes) if bearers[name] == 1}
    targets = np.array([known.get(name, -1) for name in names], dtype=np.int64)
    missing = [pictures.classes[label] for label in used if targets[label] < 0]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise ValueError(f"the data's classes are not those of {model.name}: it does not know "
                         f"{missing[0]!r}{more} (its classes are {', '.join(map(repr, model.classes[:3]))}, …)")
    return targets


def paired_interval(lost, gained, images) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The difference between two accuracies over the same pictures, and its 95 % interval.

    Wald's interval for matched proportions with half a picture added to each of the four cells of McNemar's table
    (A. Agresti, Y. Min: "Simple improved confidence intervals for comparing matched proportions", Statistics in
    Medicine 24, 2005), which keeps its width where few pictures change, or none.

    Args:
        lost: pictures that were right and are wrong.
        gained: pictures that were wrong and are right.
        images: all of them.

    Returns:
        difference ((gained − lost) / images, −1..1), low, high.

    >>> [round(float(value), 4) for value in paired_interval(0, 0, 98)]
    [0.0, -0.0196, 0.0196]
    """
    lost, gained, images = (np.asarray(value, dtype=float) for value in (lost, gained, images))
    n, shift = images + 2, gained - lost
    half = Z * np.sqrt(lost + gained + 1 - shift ** 2 / n) / n
    return shift / images, np.maximum(shift / n - half, -1), np.minimum(shift / n + half, 1)


def gate_means(model: Model, statistics: Statistics | str | Path | None = None) -> dict[str, np.ndarray]:
    """The mean gate (M, C) of each block, by name, over all pictures of statistics.

    Args:
        model: whose blocks.
        statistics: of this very network; the embedded ones, for an embedded model, when None.

    Raises:
        ValueError: when there are none, or they are of other weights.
    """
    stats = statistics_of(model, statistics)
    return {block.name: stats.overall_mean(block.name).astype(np.float32) for block in model.blocks}


def statistics_of(model: Model, statistics: Statistics | str | Path | None = None) -> Statistics:
    """Statistics of a network: these, or the embedded ones of an embedded model when None.

    Raises:
        ValueError: when there are none, or they are of other weights.
    """
    if statistics is None:
        source, _, name = model.name.partition("/")
        statistics = ASSETS / "statistics" / name
        if source != "demo" or not statistics.is_dir():
            raise ValueError(f"the mean of gates needs statistics of {model.name}: give a folder that collect wrote")
    stats = statistics if isinstance(statistics, Statistics) else open_statistics(statistics)
    if stats.metadata["weights"] != weights_hash(model.module):
        raise ValueError(f"the statistics in {stats.path} are of other weights than those of {model.name}")
    return stats


def _named(model: Model, edits: Sequence[str | Edit | Sequence[Edit]],
           statistics: Statistics | str | Path | None) -> dict[str, list[Edit]]:
    """Edits by name, each of them one that can be made."""
    words: dict[str, Any] = {}
    if any(isinstance(edit, str) and re.search(r"=\s*(mean|rank\s+\d+)\s*(;|$)", edit, re.M) for edit in edits):
        stats = statistics_of(model, statistics)
        words = {"mean": gate_means(model, stats), "rank": stats.rank}
    named: dict[str, list[Edit]] = {}
    contents = set()
    for given in edits:
        several = parse_edits(given, **words) if isinstance(given, str) else [given] if isinstance(
            given, Edit) else list(given)
        name = "; ".join(map(str, several))
        if not several:
            raise EditError("an edit without any change would be the unedited network")
        for edit in several:
            touched = [block for block in model.blocks if edit.matches(block)]
            if not touched:
                raise EditError(f"{edit} matches no block; the network's are: "
                                f"{', '.join(block.label for block in model.blocks)}")
            for block in touched:
                edit.check(block)
        content = edits_hash(several, model.blocks)
        if content in contents:
            raise EditError(f"the edit {name} is given twice")
        contents.add(content)
        if name in named:
            name = next(other for number in count(2) if (other := f"{name} ({number})") not in named)
        named[name] = several
    return named


def _merge(plan: Evaluation, shards: Sequence[Path], out: Path, compact: bool) -> None:
    """Write the result of a run into ``out``; the metadata last, which make it whole."""
    files = [Result(path) for path in shards]
    unreadable = list_unreadable(plan, files, out)
    used = [file for file in files if "index" in file.names]
    columns = {name: torch.cat([file.get(name) for file in used], -1).numpy()
               for name in ("index", "right1", "right5", "probability")}
    order = columns["index"].argsort()
    index, right1, right5, probability = (values[..., order] for values in columns.values())
    names = [UNEDITED, *plan.edits]
    table = _table(plan, names, right1, right5, probability)
    described = {"index": index} | ({} if compact else {"file": [str(plan.pictures.files[i]) for i in index]}) | {
        "label": plan.targets[plan.labels[index]]}
    if compact:
        probability = probability.astype(np.float16)
    with replacing(out / IMAGES) as path:
        write_rows(path, names, described, right1, right5, probability)
    with replacing(out / TABLE) as path:
        table.to_csv(path, index=False)
    seconds = np.sum([file.note["seconds"] for file in files], axis=0)
    with replacing(out / SPEED) as path:
        pd.DataFrame({"edit": names, "images_per_second": (len(index) / seconds).round(2)}).to_csv(path, index=False)
    metadata = plan.identity | {
        "blocks": describe(plan.model.blocks), "compact": compact, "images": len(index), "unreadable": unreadable,
        "unlabelled": int((plan.labels < 0).sum())}
    with replacing(out / METADATA) as path:
        path.write_text(json.dumps(metadata, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def write_rows(path: Path, names: Sequence[str], described: dict, right1: np.ndarray, right5: np.ndarray,
               probability: np.ndarray) -> None:
    """Write a row an edit and picture: columns of the N pictures, and arrays (edits, N)."""
    parts = [pa.table({"edit": [name] * right1.shape[1], **described, "right1": right1[row], "right5": right5[row],
                       "probability": probability[row]}) for row, name in enumerate(names)]
    pq.write_table(pa.concat_tables(parts), path, compression="zstd")


def _table(plan: Evaluation, names: Iterable[str], right1: np.ndarray, right5: np.ndarray, probability: np.ndarray
           ) -> pd.DataFrame:
    images = right1.shape[1]
    lost, gained = ((~right1 & right1[0]).sum(1), (right1 & ~right1[0]).sum(1))
    difference, low, high = paired_interval(lost, gained, images)
    difference5, low5, high5 = paired_interval((~right5 & right5[0]).sum(1), (right5 & ~right5[0]).sum(1), images)
    table = pd.DataFrame({
        "edit": list(names),
        "blocks": ["", *(" ".join(block.label for block in plan.model.blocks if any(
            edit.matches(block) for edit in edits)) for edits in plan.edits.values())],
        "images": images, "top1": right1.mean(1), "difference": difference, "low": low, "high": high, "lost": lost,
        "gained": gained, "top5": right5.mean(1), "difference5": difference5, "low5": low5, "high5": high5,
        "probability": probability.astype(float).mean(1)})
    # with itself it is compared exactly
    table.loc[0, ["low", "high", "low5", "high5"]] = 0.0
    return table
