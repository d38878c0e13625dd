"""A network with what is needed to use it: transform, class names, device, attention blocks."""
import difflib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from ..data.class_names import short_names
from ..data.images import as_picture
from ..data.windows import Window, window
from ..gates.answers import Answer, answer_of
from ..gates.blocks import AttentionBlock, eager, find_blocks, network_of, to_module
from ..gates.hooks import hooked
from ..gates.inspection import inspect, record


class Model:
    """A network in evaluation mode, its transform and its class names.

    Pictures are what it is made for. A network of signals or volumes needs a reader and an example of its own: it can
    be inspected, edited and collected, and shows no pictures.

    Args:
        module: nn.Module, (N, 3, H, W) → (N, K) logits.
        transform: PIL image (RGB), or what ``reader`` gives → float tensor (3, H, W), or (channels, *space).
        classes: K names.
        name: shown where the model speaks.
        info: facts to show: "data", "accuracy", "licence", … as text.
        output: what the module returns → logits (N, K), where they lie in no usual place
            (``senet_viz.gates.targets.logits_of``).
        reader: the bytes of a file → what the transform takes, such as ``lambda data: np.load(io.BytesIO(data))``;
            None for pictures. A file for which it raises ValueError or OSError is left out of a run, and listed; any
            other error ends the run.
        example: (channels, *space), transformed: what the network is tried on. A picture of noise when None.

    Raises:
        ValueError: one sentence, for a module that is none, such as a state_dict.

    >>> model = Model(MyNet(), transforms.Compose([...]), ["cat", "dog"])
    """

    def __init__(
            self,
            module: nn.Module,
            transform: Callable[[Image.Image], torch.Tensor],
            classes: Sequence[str],
            *,
            name: str = "",
            info: dict[str, str] | None = None,
            output: Callable[[object], torch.Tensor] | None = None,
            reader: Callable[[bytes], Any] | None = None,
            example: torch.Tensor | None = None,
    ):
        given: Any = module
        self.module = given if isinstance(given, nn.Module) else network_of(given)
        self.module.eval()  # which gives nothing where a network's own train() does not
        self.transform = transform
        self.classes = list(classes)
        self.name = name or type(module).__name__
        self.info = dict(info or {})
        self.output, self.reader = output, reader
        self._example = example
        self._windows: dict[tuple, Window] = {}

    def __repr__(self) -> str:
        blocks = (f", {len(self.blocks)} attention block{'s' * (len(self.blocks) != 1)}" if "blocks" in vars(self)
                  else "")  # looking for them takes a forward
        return (f"Model({self.name!r}: {self.parameters:,} parameters, {len(self.classes):,} "
                f"class{'es' * (len(self.classes) != 1)}{blocks}, on {self.device})")

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        parameter = next(self.module.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.module.parameters())

    @property
    def example(self) -> torch.Tensor:
        """What the network is tried on, (channels, *space): a picture of noise, transformed, or what was given."""
        return self.transform(self.noise()) if self._example is None else self._example

    @property
    def example_batch(self) -> torch.Tensor:
        """The example as a batch (1, channels, *space) on the model's device."""
        return self.example[None].to(self.device)

    @cached_property
    def input_size(self) -> tuple[int, ...]:
        """Height and width of the transform's output, in pixels; of signals and volumes their extents."""
        return tuple(self.example.shape[1:])

    @cached_property
    def blocks(self) -> list[AttentionBlock]:
        """The attention blocks in network order; found once, on the example."""
        return find_blocks(self.module, self.example_batch)

    @cached_property
    def stages(self) -> dict[str, str]:
        """Layers whose output stands for a stage: "Stage 2" → module path, for Grad-CAM.

        ``layer1`` … ``layer4`` where the network has them and no ``layer5``; elsewhere, for each stage with attention,
        the largest module around its last block that holds no block of another stage; where there is none, the last
        that gives a map of the size of the block's. A stage without either is left out, so that there may be none.
        """
        children = dict(eager(self.module).named_children())
        if all(f"layer{i}" in children for i in range(1, 5)) and "layer5" not in children:  # else units are counted
            return {f"Stage {i + 1}": f"layer{i}" for i in range(1, 5)}
        maps = self._map_layers()
        last = {block.stage: block for block in self.blocks}
        stages: dict[str, str] = {}
        for stage, block in sorted(last.items()):
            layer = self._stage_around(block, maps)
            if layer is not None and layer not in stages.values():
                stages[f"Stage {stage}"] = layer
        return stages

    def _stage_around(self, block: AttentionBlock, maps: dict[str, float]) -> str | None:
        best, path = None, block.path
        while path and not any(b.stage != block.stage for b in self.blocks
                               if b.name.startswith((f"{path}.", f"{path}#"))):
            best = path if path in maps else best
            path = path.rpartition(".")[0]
        if best is None:
            given = inspect(self, self.example_batch, features=[(block.name, "input")]).features[block.name, "input"]
            best = next((path for path, side in reversed(maps.items()) if side == self._side(given.shape)), None)
        return best

    def _map_layers(self) -> dict[str, float]:
        """Modules that give one feature map (N, C, *space) a forward, as they end, with its side in pixels.

        Lists of modules are never called.
        """
        shapes: dict[str, list] = {}
        module = eager(self.module)
        with hooked(module) as hooks, torch.no_grad():
            for path, _ in module.named_modules():
                if path:
                    hooks.after(path, lambda _, output, path=path: shapes.setdefault(path, []).append(
                        output.shape if isinstance(output, torch.Tensor) else ()))
            module(to_module(self.example_batch, module))
        return {path: self._side(seen[0]) for path, seen in shapes.items()
                if len(seen) == 1 and len(seen[0]) == len(self.input_size) + 2}

    def _side(self, shape: Sequence[int]) -> float:
        """Of a map (N, C, *space), in pixels."""
        return math.prod(shape[2:]) ** (1 / len(self.input_size))

    @cached_property
    def answer(self) -> Answer:
        """What the network says of a picture, told from what it returns of the example; found once."""
        return answer_of(record(self, self.example_batch), self.classes)

    @cached_property
    def class_labels(self) -> list[str]:
        """The classes as they are shown: ImageNet's by their first synonym, all different; ``classes`` has whole names.

        See ``senet_viz.data.class_names.short_names``.
        """
        return short_names(self.classes)

    def class_index(self, name: str) -> int:
        """The class of a name, whole or as it is shown, or of the only name that begins with it or contains it.

        Case does not matter.

        Raises:
            ValueError: one sentence with the nearest names, where there is none or more than one.
        """
        counts = Counter(self.classes)
        whole = [f"{each} [{index}]" if counts[each] > 1 else each for index, each in enumerate(self.classes)]
        for names in (self.class_labels, whole):
            if name in names:
                return names.index(name)
        wanted, labels = name.strip().casefold(), [each.casefold() for each in whole]
        for matches in (lambda label: wanted in (part.strip() for part in label.split(",")),
                        lambda label: label.startswith(wanted), lambda label: wanted in label):
            found = [index for index, label in enumerate(labels) if wanted and matches(label)]
            if len(found) == 1:
                return found[0]
            if found:
                some = "; ".join(self.class_labels[i] for i in found[:4])
                raise ValueError(f"{name!r} could be any of {len(found)} classes: {some}{'; …' * (len(found) > 4)}.")
        near = [self.class_labels[labels.index(label)] for label in difflib.get_close_matches(wanted, labels, n=3)]
        raise ValueError(f"{self.name} has no class {name!r}{'; near to it: ' + '; '.join(near) if near else ''}.")

    def check_pictures(self) -> None:
        """Whether the network takes pictures, as the app gives them.

        Raises:
            ValueError: one sentence, for a network of signals or volumes, or whose transform fails.
        """
        try:
            given: Any = self.transform(self.noise()) if self.reader is None else "a reader of other files"
            why = given if isinstance(given, str) else ""
            if isinstance(given, torch.Tensor) and given.dim() != 3:
                why = f"its transform makes of one a tensor {tuple(given.shape)}, not (channels, height, width)"
            elif not isinstance(given, torch.Tensor | str):
                why = f"its transform makes of one no tensor but {type(given).__name__}"
        except Exception as error:  # it may be any code
            why = f"its transform fails: {type(error).__name__}: {' '.join(str(error).split())}"
        if why:
            raise ValueError(f"{self.name} takes no pictures ({why}), and photos are all that the app has: sv.inspect, "
                             f"sv.find_blocks and sv.Monitor take batches of signals and volumes too.")

    def batch(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Pictures (PIL, RGB), one or more → (N, 3, H, W) on the model's device."""
        if not images:
            raise ValueError("a batch takes one picture or more")
        made = [self.transform(image) for image in images]
        if len({each.shape for each in made}) > 1:
            raise ValueError(f"{self.name} takes each picture in its own proportions, so that several of different "
                             f"ones make no batch: look at one at a time.")
        return torch.stack(made).to(self.device)

    def window(self, size: tuple[int, int]) -> Window:
        """Which part of a photo of a size (width, height) the network sees: left, top, right, bottom edge in pixels.

        Found once a size, by what the transform makes of ramps (``senet_viz.data.windows.window``, which see for the
        ValueError of a transform that cannot be followed).

        >>> [round(edge) for edge in load("demo/se_resnet50_slim").window((640, 480))]
        [75, 0, 558, 480]
        """
        key = id(self.transform), tuple(size)
        if key not in self._windows:
            self._windows[key] = window(self.transform, (int(size[0]), int(size[1])))
        return self._windows[key]

    def seen(self, tensor: torch.Tensor) -> np.ndarray:
        """A transformed picture (channels, H, W) as the network sees it: (H, W, 3) uint8, its normalisation undone.

        Of other numbers of channels than three their mean, in grey.
        Where the transform's mean and standard deviation are not known, the values are stretched to 0..255.
        """
        return as_picture(tensor.detach().cpu().float().numpy(), *self._normalisation)

    @cached_property
    def _normalisation(self):
        for step in [self.transform, *getattr(self.transform, "transforms", [])]:  # presets; Compose of v1, v2 or timm
            if hasattr(step, "mean") and hasattr(step, "std"):
                return step.mean, step.std
        return None, None

    @staticmethod
    def noise() -> Image.Image:
        """A picture of noise, always the same, to try the network on."""
        # of the size of a photo, not of the input: a gate on a 1×1 map could not be told from other products
        return Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
