"""Changing gates: what would the network say if a block were off, a channel silent, a kernel forced?"""
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
import torch
from torch import nn

from . import dealing
from .blocks import AttentionBlock, blocks_of, network_of
from .hooks import Hooks, hooked
from .points import on_gate

Array = torch.Tensor | np.ndarray
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
MOST_CHANNELS = 65536  # that an edit may name; a longer range is a slip, or meant to fill the memory
WORDS = {  # what a value may say, and how
    "scale": re.compile(rf"[*×]\s*({NUMBER})"), "top": re.compile(r"top\s+(\d+)"),
    "branch": re.compile(r"branch\s+(\d+)"), "kernel": re.compile(r"(\d+)\s*[x×]\s*\1"),
    "mix": re.compile(rf"mix((?:\s+{NUMBER})+)"), "uniform": re.compile("uniform()"),
    "shuffle": re.compile(r"shuffle\s+(channels|images|class|classes)(?:\s+(\d{1,9}))?"),
}
RANK = re.compile(r"rank\s+(\d{1,4})")
ELSEWHERE = {  # words for gates that were met elsewhere: what they take, and how that is given
    "mean": "statistics: parse_edits(text, mean={block.name: statistics.overall_mean(block) for block in blocks})",
    "rank": "statistics: parse_edits(text, rank=statistics.rank)",
    "photo": "another picture's gates: parse_edits(text, photo=sv.record(model, batch).gates)"}
MOST = torch.finfo(torch.float32).max  # what a gate can be set to


def hint(*more: str) -> str:
    """What values there are, and those that there are besides where it is said."""
    return ", ".join(("a number", "'*0.5' (scaled)", "'top 8' (only the 8 most excited)", "'shuffle channels'",
                      "'shuffle images'", *more)) + "; for kernels 'branch 0' or '3x3', 'mix 0.3 0.7', 'uniform'"


class EditError(ValueError):
    """An edit that cannot be made; the message is one sentence."""


class UnknownValue(EditError):
    """A value that says nothing, and which ones there are; ``more`` of them where it was given."""

    def __init__(self, value: str, more: Sequence[str] = ()):
        super().__init__(f"{value!r} is no value of a gate; there are {hint(*more)}")
        self.value = value


@dataclass(frozen=True, eq=False)
class Subspace:
    """A gate's mean over a data set, and its first principal directions: ``Statistics.rank`` makes one for each block.

    An edit with it keeps of each picture's gate the mean and what lies along the directions, branch by branch:
    g → m + VᵀV(g − m). With no direction that is the mean, with all of them the gate itself. It can leave 0..1.

    Attributes:
        mean: (M, C).
        directions: V, (k, M, C); in each branch of length 1 and at right angles to each other.
        wanted: how many were asked for, where there may be fewer; an edit of such a block is refused.
    """

    mean: Array
    directions: Array
    wanted: int = 0

    def nearest(self, gate: torch.Tensor, first: int) -> torch.Tensor:
        """What is kept of the gate (…, B, C) of the branches from ``first`` on."""
        branches = slice(first, first + gate.shape[-2])
        mean = torch.as_tensor(self.mean).to(gate)[branches]
        directions = torch.as_tensor(self.directions).to(gate)[:, branches]
        along = torch.einsum("...bc,kbc->...bk", gate - mean, directions)
        return mean + torch.einsum("...bk,kbc->...bc", along, directions)


Values = float | str | Array | Mapping[str, Array] | Mapping[str, Subspace]


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of gates, in the blocks that a pattern names.

    Gates are changed after their activation. Edits of one block compose in the order in which they are given.

    Args:
        where: a label or name, or a pattern of them ("SE_5_3", "SE_5_*", "layer4.*"), or a stage ("stage 5"); several
            with commas between.
        value: a number: every gate is set to it (1: the block without SE). An array (C,), (M, C) or (N, M, C): set to
            these, such as another picture's gates or a mean over a data set. A mapping from block names or labels to
            arrays: each block to its own (``View.gates`` is one). A mapping to ``Subspace``: each picture's gate keeps
            the mean and what lies along a few directions (``Statistics.rank`` is one). Or words: "*0.5" scales; "top 8"
            keeps each picture's 8 most excited channels and sets the others to 0; "shuffle channels" gives every
            channel another one's values, the same for all pictures and branches; "shuffle images" every image another
            one's, of the same batch (a number behind is the seed), "shuffle class" that of another image of its class,
            "shuffle classes" that of an image of another class (both need to be told the classes, see ``dealt``);
            "branch 0" or "3x3" forces a branch, "mix 0.3 0.7" a mixture, "uniform" the even one.
        channels: only these channels; all when None.
        rows: only these images of the batch; all when None.
        seed: of the shuffles.
        text: how the value is written in a list of edits; from the value when "".
        donors: (N,), for "shuffle class" and "shuffle classes": whose gates each image of the batch gets; ``dealt``
            finds them.

    Raises:
        EditError: for words that say none of this, and numbers that are not finite.

    >>> sv.inspect(model, batch, edits=[sv.Edit("SE_5_*", 1), sv.Edit("SE_3_4", 0, channels=[7])])
    """

    where: str
    value: Values
    channels: Sequence[int] | None = None
    rows: Sequence[int] | None = None
    seed: int = 0
    text: str = ""
    donors: Array | None = None
    _said: tuple[str, str] | None = field(default=None, init=False, repr=False)

    def __post_init__(self):
        given = self.value
        if isinstance(self.value, (np.generic, np.ndarray, torch.Tensor)) and not self.value.ndim:
            object.__setattr__(self, "value", float(self.value))
        if isinstance(self.value, str):
            found = {verb: match for verb, words in WORDS.items() if (match := words.fullmatch(self.value.strip()))}
            said = next(((verb, match[1]) for verb, match in found.items()), None)
            if said is None and re.fullmatch(NUMBER, self.value.strip()):
                object.__setattr__(self, "value", float(self.value))
            elif takes := ELSEWHERE.get("rank" if RANK.fullmatch(self.value.strip()) else self.value.strip()):
                raise EditError(f"{self.value!r} stands for nothing without {takes}")
            elif said is None:
                raise UnknownValue(self.value)
            elif said[0] == "shuffle" and found["shuffle"][2]:
                object.__setattr__(self, "seed", int(found["shuffle"][2]))
            object.__setattr__(self, "_said", said)
        numbers = ([self.value] if isinstance(self.value, int | float) else
                   map(float, self._said[1].split()) if self._said and self._said[0] in ("scale", "mix") else [])
        if not all(abs(number) <= MOST for number in numbers):  # nor is nan
            raise EditError(f"a gate takes finite numbers, up to {MOST:.2g}, not {given}")

    def __str__(self) -> str:
        channels = f"[{_ranges(self.channels)}]" if self.channels is not None else ""
        if self._said is not None and self._said[0] == "shuffle":
            value = f"shuffle {self._said[1]}{f' {self.seed}' if self.seed else ''}"
        elif isinstance(self.value, (int, float)):
            value = repr(float(self.value)).removesuffix(".0")
        else:
            value = self.value if isinstance(self.value, str) else "array"
        return f"{self.where}{channels}={self.text or value}"

    @property
    def deals(self) -> str:
        """Whose gates an image gets: "images", "class" or "classes"; "" where it does not get another's."""
        verb, words = self._said or ("", "")
        return words if verb == "shuffle" and words in dealing.WORDS else ""

    def dealt(self, labels: Sequence[int] | np.ndarray) -> "Edit":
        """The same edit for a batch of images of these classes (N,): "shuffle class" and "shuffle classes" need them.

        An image for which the batch holds no other that may give it gates keeps its own (``donors`` has its own place
        there).

        >>> sv.inspect(model, batch, edits=[sv.Edit("SE_4_*", "shuffle class").dealt([3, 3, 7, 7])])
        """
        return replace(self, donors=dealing.donors(self.deals, labels, self.seed)) if self.deals in (
            "class", "classes") else self

    def matches(self, block: AttentionBlock) -> bool:
        """Whether the edit is of this block."""
        return any(_names(pattern, block) for pattern in self._patterns)

    def among(self, blocks: Iterable[AttentionBlock]) -> list[AttentionBlock]:
        """Those blocks that the edit is of; a pattern that fits gates of channels and of space means the channels'."""
        blocks = list(blocks)
        found: set[str] = set()
        for pattern in self._patterns:
            named = [block for block in blocks if _names(pattern, block)]
            found |= {block.name for block in named if not block.spatial} or {block.name for block in named}
        return [block for block in blocks if block.name in found]

    @property
    def _patterns(self) -> list[str]:
        return [pattern.strip() for pattern in self.where.split(",")]

    def check(self, block: AttentionBlock, rows: int | None = None) -> None:
        """Whether it can be made on a block, in a batch of ``rows``.

        Raises:
            EditError: one sentence, where it cannot.
        """
        if block.spatial:
            raise EditError(f"{self}: the gate of {block.label} varies over space, and only gates of channels are "
                            f"edited")
        if self.channels is not None:
            wrong = [c for c in self.channels if not 0 <= c < block.channels]
            if wrong or not len(self.channels):
                raise EditError(f"{self}: {block.label} has the channels 0 to {block.channels - 1}, not "
                                f"{wrong[0] if wrong else 'none'}")
        if self.rows is not None and rows is not None:
            wrong = [row for row in self.rows if not 0 <= row < rows]
            if wrong:
                raise EditError(f"{self}: the batch has the images 0 to {rows - 1}, not {wrong[0]}")
        verb, words = self._said or ("", "")
        if verb == "shuffle" and words == "images" and rows == 1:
            raise EditError(f"{self}: there is only one image in the batch, and no other whose gates it could have")
        if self.donors is not None and rows is not None and len(self.donors) != rows:
            raise EditError(f"{self}: the gates were dealt to {len(self.donors)} images, and the batch has {rows}")
        if verb in ("branch", "kernel", "mix", "uniform") and block.branches == 1:
            raise EditError(f"{self}: {block.label} has no branches to choose between")
        if verb == "branch" and int(words) >= block.branches:
            raise EditError(f"{self}: {block.label} has the branches 0 to {block.branches - 1}")
        if verb == "kernel" and int(words) not in (block.kernels or ()):
            kernels = ", ".join(f"{k}x{k}" for k in block.kernels or ()) or "not known"
            raise EditError(f"{self}: the kernels of {block.label} are {kernels}")
        if verb == "kernel" and (bearers := (block.kernels or ()).count(int(words))) > 1:
            raise EditError(f"{self}: {bearers} branches of {block.label} have the kernel {words}x{words}; one is "
                            f"named by its number, from 'branch 0' to 'branch {block.branches - 1}'")
        if verb == "mix" and len(words.split()) != block.branches:
            raise EditError(f"{self}: {block.label} has {block.branches} branches")
        if verb == "top" and not 1 <= int(words) <= block.channels:
            raise EditError(f"{self}: {block.label} has {block.channels} channels")
        subspace = self.subspace(block)
        if subspace is not None:
            wanted = tuple(subspace.mean.shape), tuple(subspace.directions.shape[1:])
            if wanted != ((block.branches, block.channels),) * 2:
                raise EditError(f"{self}: a mean of shape {wanted[0]} with directions of {wanted[1]} does not fit "
                                f"{block.label}, whose gate is ({block.branches}, {block.channels})")
            if subspace.wanted > len(subspace.directions):
                raise EditError(f"{self}: the statistics hold the first {len(subspace.directions)} directions of "
                                f"{block.label}, and no more")
        elif not verb and not isinstance(self.value, (int, float)):
            shape = tuple(self.array(block).shape)
            fits = (block.branches, block.channels) if len(shape) > 1 or block.branches > 1 else (block.channels,)
            if shape[-len(fits):] != fits or len(shape) > 3 or (len(shape) == 3 and rows is not None
                                                                and shape[0] not in (1, rows, rows * block.rows)):
                raise EditError(f"{self}: values of shape {shape} do not fit {block.label}, whose gate is "
                                f"({rows or 'N'}, {block.branches}, {block.channels})")

    def apply(self, block: AttentionBlock, gate: torch.Tensor, first: int) -> torch.Tensor:
        """The gate (N, B, C) of the branches from ``first`` on, changed.

        Of a block with several rows a picture the gate has N · rows, and what is said of an image is done to all of its
        rows; an array may have values for each.
        """
        rows = gate
        gate = _by_picture(rows, block)
        new = self._changed(block, gate, first)
        if self.channels is not None:
            mask = torch.zeros(block.channels, dtype=torch.bool, device=gate.device)
            mask[list(self.channels)] = True
            new = torch.where(mask, new, gate)
        if self.rows is not None:
            mask = torch.zeros(len(gate), 1, 1, 1, dtype=torch.bool, device=gate.device)
            mask[list(self.rows)] = True
            new = torch.where(mask, new, gate)
        return (new if block.together else new.transpose(0, 1)).reshape(rows.shape)

    def _changed(self, block: AttentionBlock, gate: torch.Tensor, first: int) -> torch.Tensor:
        """Of (N, rows, B, C)."""
        verb, words = self._said or ("", "")
        branches = slice(first, first + gate.shape[2])
        if verb == "scale":
            return gate * float(words)
        if verb == "top":
            kept = gate.topk(int(words), dim=-1)
            return torch.zeros_like(gate).scatter(-1, kept.indices, kept.values)
        if verb == "shuffle":
            if words == "channels":
                return gate.index_select(3, dealing.others(gate.shape[3], self.seed).to(gate.device))
            self.check(block, len(gate))  # in a loop of one's own the batch is not known before
            order = dealing.others(len(gate), self.seed) if words == "images" else self._donors()
            return gate.index_select(0, order.to(gate.device))
        if verb in ("branch", "kernel", "mix", "uniform"):
            weights = {"branch": lambda: [float(m == int(words)) for m in range(block.branches)],
                       "kernel": lambda: [float(kernel == int(words)) for kernel in block.kernels or ()],
                       "mix": lambda: [float(word) for word in words.split()],
                       "uniform": lambda: [1 / block.branches] * block.branches}[verb]()
            return gate.new_tensor(weights[branches])[:, None].expand_as(gate)
        if isinstance(self.value, (int, float)):
            return torch.full_like(gate, self.value)
        subspace = self.subspace(block)
        if subspace is not None:
            return subspace.nearest(gate, first)
        values = self.array(block).to(gate)
        if values.dim() > 1:
            values = values[..., branches, :]
        if values.dim() == 3:
            values = _by_picture(values, block) if len(values) == gate.shape[:2].numel() else values[:, None]
        return values.expand_as(gate)

    def _donors(self) -> torch.Tensor:
        if self.donors is None:
            raise EditError(f"{self}: nobody says here which classes the images are of; evaluate knows them, and "
                            f"Edit.dealt takes them")
        return torch.as_tensor(self.donors)

    def subspace(self, block: AttentionBlock) -> Subspace | None:
        """What an edit with a mapping keeps of a block's gate; None where it sets the gate to values."""
        value = self._for(block)
        return value if isinstance(value, Subspace) else None

    def _for(self, block: AttentionBlock) -> object:
        """The block's own value."""
        if not isinstance(self.value, Mapping):
            return self.value
        found = [self.value[key] for key in (block.name, block.label) if key in self.value]
        if not found:
            raise EditError(f"{self}: there are no values for {block.label}")
        return found[0]

    def array(self, block: AttentionBlock) -> torch.Tensor:
        """The values, (C,), (M, C) or (N, M, C), to which an edit with an array or a mapping sets a block's gate.

        Raises:
            EditError: where there are none for the block, or they are no numbers.
        """
        try:
            return torch.as_tensor(self._for(block), dtype=torch.float32)
        except (TypeError, ValueError) as error:
            raise EditError(f"{self}: the values are neither a number nor an array nor words ({error})") from error


def parse_edits(text: str, *, rank: Callable[[int], Mapping[str, Subspace]] | None = None,
                **values: Mapping[str, Array]) -> list[Edit]:
    """Edits as text: "SE_5_*=1; SE_3_4[7,9-12]=0; SK_*=5x5; SE_4_1=mean; SE_4_2=rank 1".

    Args:
        text: ``str(edit)`` of each, with semicolons or line ends between.
        rank: what "rank k" stands for, the mean and first k principal directions: ``Statistics.rank``.
        values: what further words stand for, such as ``mean={block: array}``.

    Raises:
        EditError: one sentence, for what cannot be read.
    """
    edits = []
    for part in filter(None, map(str.strip, re.split(r"[;\n]", text))):
        found = re.fullmatch(r"([^=\[\]]+?)\s*(?:\[([\d\s,-]+)\])?\s*=\s*(.+)", part)
        if not found:
            raise EditError(f"{part!r} is no edit: one is BLOCKS=VALUE or BLOCKS[CHANNELS]=VALUE, such as "
                            f"SE_5_*=1 or SE_3_4[7,9-12]=0")
        where, channels, value = found.groups()
        known: Values | None = values.get(value)
        directions = RANK.fullmatch(value)
        if directions and rank is not None:
            known, value = rank(int(directions[1])), f"rank {int(directions[1])}"
        edits.append(Edit(where, value if known is None else known, _numbers(channels, part) if channels else None,
                          text="" if known is None else value))
    return edits


def _names(pattern: str, block: AttentionBlock) -> bool:
    return pattern == f"stage {block.stage}" or fnmatchcase(block.label, pattern) or fnmatchcase(block.name, pattern)


def edits_of(edits: Sequence[Edit | str] | Edit | str) -> list[Edit]:
    """Edits as a list: several, one, or text as of ``parse_edits``.

    Raises:
        EditError: for what is none of these, and for text that cannot be read.
    """
    found: list[Edit] = []
    for edit in [edits] if isinstance(edits, Edit | str) or not isinstance(edits, Iterable) else edits:
        if not isinstance(edit, Edit | str):
            raise EditError(f"an edit is a senet_viz.Edit or text such as SE_5_*=1, not {type(edit).__name__}")
        found += parse_edits(edit) if isinstance(edit, str) else [edit]
    return found


def install(hooks: Hooks, blocks: Iterable[AttentionBlock], edits: Sequence[Edit | str] | Edit | str,
            rows: int | None = None) -> None:
    """Hook edits into a network.

    Raises:
        EditError: for an edit that matches no block, or that cannot be made on one that it matches.
    """
    blocks = list(blocks)
    touched: list[tuple[Edit, set[str]]] = []
    for edit in edits_of(edits):
        touched.append((edit, {block.name for block in edit.among(blocks)}))
        if not touched[-1][1]:
            known = ", ".join(block.label for block in blocks) or "none"
            raise EditError(f"{edit} matches no block; the network's are: {known}")
    for block in blocks:
        chosen = [edit for edit, names in touched if block.name in names]
        for edit in chosen:
            edit.check(block, rows)
            if edit.deals in ("class", "classes"):
                edit._donors()
        if chosen:
            on_gate(hooks, block, partial(_apply, chosen, block))


def _by_picture(gate: torch.Tensor, block: AttentionBlock) -> torch.Tensor:
    """(N · rows, B, C) → (N, rows, B, C)."""
    if block.together:
        return gate.unflatten(0, (-1, block.rows))
    return gate.unflatten(0, (block.rows, -1)).transpose(0, 1)


def _apply(edits: list[Edit], block: AttentionBlock, gate: torch.Tensor, first: int) -> torch.Tensor:
    for edit in edits:
        gate = edit.apply(block, gate, first)
    return gate


@contextmanager
def edited(model, edits: Sequence[Edit | str] | Edit | str, *, example: torch.Tensor | None = None,
           wait: float | None = None) -> Iterator[nn.Module]:
    """The network with edits, for loops of one's own; unedited again afterwards, whatever happens.

    Within, this thread alone has the network, in evaluation mode. Forwards of other threads that do not ask for it are
    not edited.

    Args:
        model: a ``senet_viz.Model``, or any ``nn.Module``, with
        edits: several, one, or their text (``parse_edits``).
        example: (N, 3, H, W), a picture on which to find its blocks.
        wait: seconds to wait for a model in use, ``senet_viz.gates.hooks.WAIT`` when None.

    Raises:
        EditError: as ``install``.
        ValueError: for what is no network that can be watched.
        ModelBusy: when the model stayed in use.

    >>> with sv.edited(model, [sv.Edit("SE_5_*", 1)]) as module:
    ...     logits = module(batch)
    """
    module = network_of(model)
    with hooked(module, wait) as hooks:
        if not isinstance(model, nn.Module):
            blocks = model.blocks
        elif example is None:
            raise EditError(f"to find the blocks of {type(module).__name__}, give an example (N, 3, H, W), or a "
                            f"senet_viz.Model")
        else:
            blocks = blocks_of(module, example)
        install(hooks, blocks, edits)
        yield module


def _numbers(text: str, part: str) -> tuple[int, ...]:
    """"7, 9-12" → (7, 9, 10, 11, 12)."""
    numbers: list[int] = []
    for piece in text.split(",")[:MOST_CHANNELS]:
        found = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", piece)
        if not found or not int(found[1]) <= int(found[2] or found[1]) < MOST_CHANNELS:
            raise EditError(f"{part!r}: {text.strip()!r} names no channels; they are written 7,9-12")
        numbers += range(int(found[1]), int(found[2] or found[1]) + 1)
    return tuple(numbers)


def _ranges(numbers: Iterable[int]) -> str:
    """(7, 9, 10, 11, 12) → "7,9-12"."""
    runs: list[list[int]] = []
    for number in sorted({int(number) for number in numbers}):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
