"""What a network returns, and what of it is to be explained: classes' logits, or any score computed from it."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

INDICES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
NAMES = ("logits", "out", "output", "pred", "predictions")  # under which networks return logits in a dictionary
Score = Callable[[object], torch.Tensor]  # what the network returns → a scalar, or one number for each image (N,)


def logits_of(output, pictures: int, pick: Callable[[object], torch.Tensor] | None = None) -> torch.Tensor:
    """The logits (N, K) in what a network returns for N pictures.

    Without ``pick`` they are the tensor (N, K), or of a network that squeezes its output (K,) for one picture and (N,)
    for several; in a list or tuple the first such tensor; in a dictionary, or an object with attributes, "logits",
    "out", "output", "pred" or "predictions", or its only tensor.

    Args:
        pictures: N.
        pick: what the network returns → the logits, for what is found in no such place.

    Raises:
        ValueError: where there are none.
    """
    found = pick(output) if pick is not None else _logits(output, pictures)
    if isinstance(found, torch.Tensor) and found.dim() < 2:
        found = found.reshape(1, -1) if pictures == 1 else found.reshape(-1, 1)
    if not isinstance(found, torch.Tensor) or found.dim() != 2 or len(found) != pictures:
        shape = f", but {tuple(found.shape)}" if isinstance(found, torch.Tensor) else ""
        raise ValueError(f"the network returns no logits of shape (N, classes){shape}; output= says where they are, "
                         f"and a function of what it returns can be a target")
    return found


def numbers_of(output, pictures: int, pick: Callable[[object], torch.Tensor] | None = None) -> list[torch.Tensor]:
    """What can be compared of what two networks return: logits, or where there are none all tensors of real numbers.

    Arguments as of ``logits_of``. Of a segmentation these are maps, of a detector boxes and scores.
    """
    try:
        return [logits_of(output, pictures, pick)]
    except ValueError:
        return [tensor for tensor in _tensors(output) if tensor.is_floating_point() and tensor.numel()]


def _tensors(output) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, list | tuple):
        parts = list(output)
    else:
        parts = [getattr(output, name) for name in NAMES if hasattr(output, name)]
    return [tensor for part in parts for tensor in _tensors(part)]


def _logits(output, pictures: int):
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):  # transformers' outputs among them
        tensors = {name: value for name, value in output.items() if isinstance(value, torch.Tensor)}
        named = [tensors[name] for name in NAMES if name in tensors]
        return [*named, *(tensors.values() if len(tensors) == 1 else ()), None][0]
    named = [value for name in NAMES if isinstance(value := getattr(output, name, None), torch.Tensor)]
    listed = [value for value in output if isinstance(value, torch.Tensor) and value.dim() == 2
              and len(value) == pictures] if isinstance(output, list | tuple) else []
    return [*named, *listed, None][0]


def scores_of(targets, output, logits: torch.Tensor | None, pictures: int,
              class_index: Callable[[str], int] | None = None) -> list[torch.Tensor]:
    """What Grad-CAM is asked to explain: T scores, each (N,) or a scalar, with the graph of the output.

    Args:
        targets: T class indices, class names or functions of the output, or one of them alone; or (N, T) indices or
            names, for each image its own; the class with the highest logit of each image when None.
        output: what the network returned.
        logits: (N, K), or None where there are none.
        pictures: N.
        class_index: a class's name → its index.

    Raises:
        ValueError: one sentence, for a class that the network lacks, and for what is none of these.
    """
    targets = listed(targets)
    if isinstance(targets, list) and any(callable(target) for target in targets):
        return [_score(target, output, pictures) if callable(target)
                else _columns([target], logits, class_index)[0] for target in targets]
    return _columns(targets, logits, class_index)


def listed(targets):
    """Targets as lists, (T,) or (N, T), of plain numbers, names and functions, in whatever they came."""
    plain = _plain(targets)
    return [plain] if isinstance(plain, str | int) or callable(plain) else plain


def _plain(targets):
    if isinstance(targets, torch.Tensor | np.ndarray | np.generic):
        return targets.tolist()
    many = isinstance(targets, Sequence) and not isinstance(targets, str | bytes)
    return [_plain(target) for target in targets] if many else targets


def _score(target: Score, output, pictures: int) -> torch.Tensor:
    score: object = target(output)
    if not isinstance(score, torch.Tensor) or score.numel() not in (1, pictures) or not score.is_floating_point():
        what = f"a tensor {tuple(score.shape)}" if isinstance(score, torch.Tensor) else type(score).__name__
        raise ValueError(f"a target is a function of what the network returns that gives one number, or one for each "
                         f"image, not {what}")
    return score


def _columns(targets, logits: torch.Tensor | None, class_index) -> list[torch.Tensor]:
    """The logits (N,) of T classes."""
    if logits is None:
        raise ValueError("the network returns no logits of shape (N, classes) to choose a class in; output= says where "
                         "they are, and a function of what it returns can be a target")
    return list(logits.gather(1, _indices(_numbered(targets, class_index), logits)).unbind(1))


def _numbered(targets, class_index):
    """Targets with classes' indices for their names."""
    if isinstance(targets, list):
        return [_numbered(target, class_index) for target in targets]
    if isinstance(targets, str):
        if class_index is None:
            raise ValueError("classes are named where a senet_viz.Model knows their names; of a network alone targets "
                             "are class indices")
        return class_index(targets)
    return targets


def _indices(targets, logits: torch.Tensor) -> torch.Tensor:
    n, k = logits.shape
    if targets is None:
        return logits.detach().argmax(1, keepdim=True)
    try:
        targets = torch.as_tensor(targets, device=logits.device)
    except (TypeError, ValueError, RuntimeError):  # of rows of several lengths, and of what is no number
        targets = torch.empty(0)
    if targets.dtype not in INDICES or targets.dim() not in (1, 2) or targets.numel() == 0:
        raise ValueError("targets are class indices: T of them, or (N, T)")
    if targets.dim() == 1:
        targets = targets.expand(n, -1)
    if targets.shape[0] != n:
        raise ValueError(f"targets have {targets.shape[0]} rows for {n} images")
    if int(targets.min()) < 0 or int(targets.max()) >= k:
        raise ValueError(f"targets must lie in 0..{k - 1}; found {int(targets.min())} to {int(targets.max())}")
    return targets.long()


@dataclass(frozen=True, eq=False)
class BinaryClassifierOutputTarget:
    """For or against the one logit of a binary classifier.

    Args:
        category: 1 explains the logit itself, 0 its negative.
    """

    category: int

    def __call__(self, output) -> torch.Tensor:
        logit = first_tensor(output)
        return (logit if self.category == 1 else -logit).flatten()


@dataclass(frozen=True, eq=False)
class SemanticSegmentationTarget:
    """A class's score over the pixels of a mask: what Seg-Grad-CAM explains (https://arxiv.org/abs/2002.11434).

    Args:
        category: the class.
        mask: (H, W) or (N, H, W), weights of pixels in 0..1, scaled to the output's size; the pixels in which the class
            has the highest score when None (of the only class those above 0); "all" for the whole map.

    The score of an image is Σ mask · output[category], (N,); calling raises ValueError for a class that the output
    lacks, and for a mask of another shape.
    """

    category: int
    mask: torch.Tensor | str | None = None

    def __call__(self, output) -> torch.Tensor:
        maps = first_tensor(output, dims=4)
        if not 0 <= self.category < maps.shape[1]:
            raise ValueError(f"targets must lie in 0..{maps.shape[1] - 1}; found {self.category}")
        score = maps[:, self.category]
        if self.mask is None:
            alone = maps.shape[1] == 1  # of one class, which is where its logit is above 0
            mask = (score.detach() > 0 if alone else maps.detach().argmax(1) == self.category).to(score)
        elif isinstance(self.mask, str) and self.mask == "all":
            mask = torch.ones_like(score)
        elif isinstance(self.mask, str):
            raise ValueError(f"a mask is a tensor, None or 'all', not {self.mask!r}")
        else:
            mask = torch.as_tensor(self.mask).to(score)
            mask = mask[None] if mask.dim() == 2 else mask
            if mask.dim() != 3 or len(mask) not in (1, len(score)):
                raise ValueError(f"a mask is (H, W), or ({len(score)}, H, W) for {len(score)} images, not "
                                 f"{tuple(mask.shape)}")
            if mask.shape[-2:] != score.shape[-2:]:
                mask = F.interpolate(mask[:, None], score.shape[-2:], mode="nearest")[:, 0]
        return (score * mask).sum((1, 2))


@dataclass(frozen=True, eq=False)
class FasterRCNNBoxScoreTarget:
    """The scores of a detector's boxes that lie where given ones do, in torchvision's form of boxes and labels.

    Args:
        labels: (B,), the class of each given box.
        bounding_boxes: (B, 4), x1, y1, x2, y2 in pixels of the batch.
        iou_threshold: for each given box the found one that overlaps it most counts, if it has the same label and at
            least this much of their union in common.

    The score is the sum of these boxes' scores and overlaps, over all images; calling raises ValueError where none of
    the found boxes is one of these.
    """

    labels: Sequence[int]
    bounding_boxes: Sequence[Sequence[float]]
    iou_threshold: float = 0.5

    def __call__(self, output) -> torch.Tensor:
        from torchvision.ops import box_iou

        found = [output] if isinstance(output, Mapping) else list(output)
        score, matched = torch.zeros((), device=found[0]["boxes"].device), False
        wanted = torch.as_tensor(self.bounding_boxes, dtype=torch.float32, device=score.device).reshape(-1, 4)
        for image in found:
            if not len(image["boxes"]):
                continue
            for label, overlaps in zip(self.labels, box_iou(wanted, image["boxes"])):
                best = int(overlaps.argmax())
                if overlaps[best] > self.iou_threshold and int(image["labels"][best]) == int(label):
                    score = score + overlaps[best] + image["scores"][best]
                    matched = True
        if not matched:
            raise ValueError("no box that was found lies where a given one does and has its label, so there is no "
                             "score to explain")
        return score


@dataclass(frozen=True, eq=False)
class SimilarityToConceptTarget:
    """How alike a picture's embedding is to another one's: their cosine.

    Args:
        features: (D,), the other's embedding; calling raises ValueError for one of another length.
    """

    features: torch.Tensor

    def __call__(self, output) -> torch.Tensor:
        embeddings = first_tensor(output, dims=2)
        other = torch.as_tensor(self.features).to(embeddings).reshape(1, -1)
        if other.shape[1] != embeddings.shape[1]:
            raise ValueError(f"the embedding to compare with has {other.shape[1]} numbers, the network's "
                             f"{embeddings.shape[1]}")
        return F.cosine_similarity(embeddings, other, dim=1)


def first_tensor(output, dims: int | None = None) -> torch.Tensor:
    """The tensor of so many dimensions in what a network returns, the first or the one with a usual name."""
    values: list[object]
    if isinstance(output, torch.Tensor):
        values = [output]
    elif isinstance(output, Mapping):
        values = [output[name] for name in (*NAMES, *output) if name in output]
    elif isinstance(output, list | tuple):
        values = list(output)
    else:
        values = [getattr(output, name) for name in NAMES if hasattr(output, name)]
    for value in values:
        if isinstance(value, torch.Tensor) and dims in (None, value.dim()):
            return value
    raise ValueError(f"the network returns no tensor of {dims} dimensions" if dims else "the network returns no tensor")
