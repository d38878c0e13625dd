"""How much a network's accuracy rests on its gates: top-1 and top-5 over a data set, unedited and with edits."""
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..data.checksums import damaged, write_described
from ..data.class_names import wordnet_ids
from ..data.datasets import Pictures
from ..data.files import replacing
from ..data.places import ASSETS
from ..gates import AttentionBlock, Edit, EditError, parse_edits
from ..gates.edits import UnknownValue
from ..gates.removals import removals
from ..models import Model, for_and_against
from ..models.identity import weights_hash
from ..statistics.archive import IMAGES, METADATA, Statistics, StatisticsError, describe, open_statistics
from ..statistics.paired import UNEDITED, class_interval, paired_interval
from .engines import engine_of
from .evaluation import LEAST, Evaluation, deals, edits_hash
from .fastest import settled
from .merge import UNREADABLE, Result, list_unreadable
from .plan import Computing
from .runs import open_data, run

VALUES = ("'mean' and 'rank 1' (over a data set)", "'shuffle class'", "'shuffle classes'")  # of an edit, beside others
TABLE, SPEED = "evaluation.csv", "speed.csv"


def evaluate(
        model: Model,
        data: str | Path | Pictures,
        out: str | Path | None = None,
        edits: str | Edit | Sequence[str | Edit | Sequence[Edit]] | Mapping[str, str | Sequence[Edit]] = (),
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
    (one and the same for all blocks); "shuffle class" those of another picture of its class, "shuffle classes" those of
    a picture of another class. The other's gates are those of the same forward, in which it has another's gates, too.
    For "shuffle class" pictures of one class stay together by two or three when they are dealt out. With any of these
    edits a shard's last picture, were it alone, joins the batch before. A picture that finds no other for one of the
    edits (its class has no second one, or the others cannot be read) is left out of every row, so that all rows are of
    the same pictures, and listed in ``unreadable.csv``.

    Args:
        model: with attention blocks.
        data: labelled pictures, as ``collect`` takes them, of classes that the model knows: by their names or WordNet
            ids, or by number where they have none. Of Parquet files the row groups are kept in ``out`` until the run
            ends.
        out: the folder to write: ``evaluation.csv`` (the table), ``images.parquet`` (a row a picture and edit),
            ``speed.csv``, ``metadata.json``; nothing is kept when None.
        edits: each is evaluated by itself: text ("SE_5_*=1; SE_4_6=mean", see ``parse_edits``), an edit, or several
            together; or one alone. "mean" stands for the mean of a block's gates over a data set. ``each_block`` and
            ``each_stage`` make lists. One that is there twice is made once. Other edits that are written alike (arrays)
            get numbers: "*=array", "*=array (2)"; a mapping gives names to them.
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
    model = for_and_against(model) if model.answer.binary else model
    if not model.blocks:
        raise ValueError(f"{model.name} has no attention blocks, so there is nothing to edit.")
    named = _named(model, edits, statistics)
    for word in sorted(deals(edit for several in named.values() for edit in several)):
        if settings.batch_size < LEAST[word]:
            raise EditError(f"\"shuffle {word}\" takes batches of {LEAST[word]} pictures or more, not of "
                            f"{settings.batch_size}")
    pictures, name = open_data(data, split, out, in_order=False, any_file=model.reader is not None)
    labels = np.asarray(pictures.labels)
    labelled = int((labels >= 0).sum())
    if not labelled:
        raise ValueError(f"the pictures in {name} have no labels, so there is nothing to be right about")
    with computer as compute:
        plan = Evaluation(model, pictures, settings, name, min(labelled, limit or labelled),
                          *compute.device(model, device), named, class_targets(model, pictures))
        _check_classes(plan)
        plan = settled(plan, out, compute)
        run(plan, out, compute, {"compact": compact}, partial(_merge, compact=compact), progress, stop)
    return open_evaluation(out)


def _check_classes(plan: Evaluation) -> None:
    """Whether there are pictures to take gates from."""
    _, counts = np.unique([plan.target(index) for index in plan.order], return_counts=True)
    if "class" in plan.deals and counts.max() < 2:
        raise EditError(f"\"shuffle class\" takes two pictures of a class or more, and none of the {len(counts)} "
                        f"classes has them")
    if "classes" in plan.deals and len(counts) < 2:
        raise EditError("\"shuffle classes\" takes pictures of two classes or more, and all are of one")


def open_evaluation(path: str | Path) -> pd.DataFrame:
    """The table that ``evaluate`` wrote into a folder; its metadata are in ``.attrs``.

    A row an edit, the first one "unedited". Columns: edit, blocks (the labels of those that it changes), images;
    top1 and top5 (0..1); difference (top1 minus the unedited), low and high (its 95 % interval for other pictures of
    these classes, see ``senet_viz.statistics.paired``), low_classes and high_classes (for other classes of the same
    kind; never narrower than the other), lost and gained (pictures that were right and are wrong now, and the other way
    round); difference5, low5, high5, low5_classes and high5_classes of top5; probability (of the right
    class, mean), and images_per_second (of the forward passes with this edit, which begin at the first edited block).

    An evaluation from before there were intervals over classes gets them from its ``images.parquet``; they are nan
    where there is none, or a single class.

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
        metadata = json.loads((path / METADATA).read_text(encoding="utf-8"))
        if name := damaged(path / METADATA, metadata):
            raise ValueError(f"{name} has changed since it was written")
        found = pd.read_csv(path / TABLE).fillna({"blocks": ""})
        if "low_classes" not in found:
            found = _with_classes(found, path / IMAGES)
        if (path / SPEED).is_file():
            found = found.merge(pd.read_csv(path / SPEED), on="edit", how="left")
        found.attrs = metadata
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
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
    """An edit for each stage and value, all its blocks together, and for all blocks; arguments as of ``each_block``.

    A single stage is all blocks, and gets no other edit.
    """
    edits, stages = [], sorted({block.stage for block in model.blocks})
    for stage in (*(stages if len(stages) > 1 else []), None):
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

    Classes are matched by name, and where WordNet ids say what the data's are by the ids that the model's names tell
    (``senet_viz.data.class_names.wordnet_ids``); by their order where all names are the same in the same order, which
    tells ImageNet's two cranes apart, and where they are mere numbers.

    Raises:
        ValueError: when pictures are of a class that the model does not know.
    """
    names = [re.sub(r" \[n\d{8}\]$", "", name) for name in pictures.classes]
    here, used = np.arange(len(names)), np.unique([label for label in pictures.labels if label >= 0])
    if names == model.classes or (all(name == str(i) for i, name in enumerate(names))
                                  and used[-1] < len(model.classes)):
        return here
    wanted, offered = (pictures.wnids, wordnet_ids(model.classes)) if pictures.wnids else (names, model.classes)
    bearers = Counter(offered)
    known = {name: i for i, name in enumerate(offered) if bearers[name] == 1}
    targets = np.array([known.get(name, -1) for name in wanted], dtype=np.int64)
    missing = [pictures.classes[label] for label in used if targets[label] < 0]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        way_out = ("; a classes.csv beside the folders of pictures, with columns wnid and name, can call them as the "
                   "model does") if pictures.wnids else ""
        raise ValueError(f"the data's classes are not those of {model.name}: it does not know "
                         f"{missing[0]!r}{more} (its classes are {', '.join(map(repr, model.classes[:3]))}, …)"
                         f"{way_out}")
    return targets


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


def _named(model: Model, edits: str | Edit | Sequence[str | Edit | Sequence[Edit]] | Mapping[str, str | Sequence[Edit]],
           statistics: Statistics | str | Path | None) -> dict[str, list[Edit]]:
    """Edits by name, each of them one that can be made."""
    if isinstance(edits, str | Edit):  # one alone
        edits = [edits]
    words: dict[str, Any] = {}
    pairs = edits.items() if isinstance(edits, Mapping) else [("", edit) for edit in edits]
    if any(isinstance(edit, str) and re.search(r"=\s*(mean|rank\s+\d+)\s*(;|$)", edit, re.M) for _, edit in pairs):
        stats = statistics_of(model, statistics)
        words = {"mean": gate_means(model, stats), "rank": stats.rank}
    named: dict[str, list[Edit]] = {}
    contents = set()
    for said, given in pairs:
        try:
            several = parse_edits(given, **words) if isinstance(given, str) else [given] if isinstance(
                given, Edit) else list(given)
        except UnknownValue as error:
            raise UnknownValue(error.value, VALUES) from None
        own = said if not isinstance(given, str) else ""
        name = own or "; ".join(map(str, several))
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
        if content in contents and not own:
            continue
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
    labels = plan.targets[plan.labels[index]]
    table = _table(plan, names, labels, right1, right5, probability)
    described = {"index": index} | ({} if compact else {"file": [str(plan.pictures.files[i]) for i in index]}) | {
        "label": labels}
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
    write_described(out / METADATA, metadata, (IMAGES, TABLE, UNREADABLE))  # not speeds, which are never the same


def write_rows(path: Path, names: Sequence[str], described: dict, right1: np.ndarray, right5: np.ndarray,
               probability: np.ndarray) -> None:
    """Write a row an edit and picture: columns of the N pictures, and arrays (edits, N)."""
    parts = [pa.table({"edit": [name] * right1.shape[1], **described, "right1": right1[row], "right5": right5[row],
                       "probability": probability[row]}) for row, name in enumerate(names)]
    pq.write_table(pa.concat_tables(parts), path, compression="zstd")


def _table(plan: Evaluation, names: Iterable[str], labels: np.ndarray, right1: np.ndarray, right5: np.ndarray,
           probability: np.ndarray) -> pd.DataFrame:
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
    return _add_classes(table, labels, right1, right5)


def _add_classes(table: pd.DataFrame, labels: np.ndarray, right1: np.ndarray, right5: np.ndarray) -> pd.DataFrame:
    """The same with intervals over classes behind those over pictures."""
    for n, right in (("", right1), ("5", right5)):
        low, high = class_interval(right.astype(int) - right[0], labels)
        place = list(table.columns).index(f"high{n}") + 1
        # other classes' pictures are other pictures, too: less is not known of them
        table.insert(place, f"low{n}_classes", np.minimum(low, table[f"low{n}"]))
        table.insert(place + 1, f"high{n}_classes", np.maximum(high, table[f"high{n}"]))
    return table


def _with_classes(table: pd.DataFrame, images: Path) -> pd.DataFrame:
    """A table from before there were intervals over classes, with them, from its rows of pictures and edits."""
    if not images.is_file():
        return table.assign(**{f"{end}{n}_classes": np.nan for n in ("", "5") for end in ("low", "high")})
    rows = pq.read_table(images, columns=["edit", "label", "right1", "right5"])
    pictures = len(rows) // len(table)  # edit after edit, as ``write_rows`` has them, the unedited first
    right1, right5 = (rows[name].to_numpy().reshape(len(table), pictures) for name in ("right1", "right5"))
    return _add_classes(table, rows["label"].to_numpy()[:pictures], right1, right5)
