"""What a training run consists of; equal recipes and numbers of workers give equal weights on one machine."""
import math
from dataclasses import dataclass

MOST_PIXELS = 4096  # of a side
MOST = {  # far beyond what trains, but a slip of the hand neither fills the memory nor ends in a message of PyTorch's
    "widths": 1024, "strides": 64, "reduction": 4096, "min_width": 4096, "epochs": 100_000, "batch_size": 65_536}
MOST_SEED = 10 ** 14  # a generator takes 64 bits, of a number that is the seed with the epoch behind it


@dataclass(frozen=True)
class Recipe:
    """Architecture, optimiser and augmentation of a run.

    SGD with Nesterov momentum; the rate rises linearly over ``warmup`` epochs to ``lr`` and falls as a cosine to 0;
    weight decay on everything but biases, BN and the gates' own layers: where a gate's direction gets no gradient,
    decay alone would take it to zero, and the gate's channels would all move as one. Pictures are cropped at random to
    ``scale`` of their area or more and mirrored. Over the first ``grow`` share of the epochs the side of the training
    pictures grows from ``start_size`` to
    ``image_size``, which takes much less time at little cost in accuracy.

    Args:
        attention: "se", "sk" or "none"; see ``senet_viz.models.slim_resnet50`` for this and the next four.
        image_size: side of the pictures in pixels; both sizes are multiples of 8.
        batch_size: pictures in a batch, 2 or more.
        momentum: Nesterov's, above 0 and below 1.
        decay_gates: let the weights of the gates' layers decay like all others.
        clip: the largest norm of all gradients together in a step; 0 for no limit.
        precision: "bf16" (autocast), "fp32", or "auto" for the one that is faster where the run begins.

    Raises:
        ValueError: one sentence, for a value that makes no sense.
    """

    attention: str = "se"
    widths: tuple[int, ...] = (16, 32, 64, 128)
    strides: tuple[int, ...] = (1, 2, 2, 1)
    reduction: int = 16
    min_width: int = 8
    image_size: int = 64
    start_size: int = 64
    grow: float = 0.75
    epochs: int = 30
    batch_size: int = 128
    lr: float = 0.2
    warmup: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_gates: bool = False
    clip: float = 0.0
    label_smoothing: float = 0.1
    scale: float = 0.35
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self):
        if self.attention not in ("se", "sk", "none"):
            raise ValueError(f"attention must be se, sk or none, not {self.attention!r}")
        if self.precision not in ("bf16", "fp32", "auto"):
            raise ValueError(f"precision must be bf16, fp32 or auto, not {self.precision!r}")
        if len(self.widths) != 4 or len(self.strides) != 4:
            raise ValueError("widths and strides need one number for each of the 4 stages")
        if (min(*self.widths, *self.strides, self.epochs, self.batch_size, self.start_size) < 1
                or not 0 < self.lr < math.inf):
            raise ValueError("widths, strides, epochs, batch size, image sizes and learning rate must be positive and "
                             "finite")
        if min(self.reduction, self.min_width) < 1:
            raise ValueError("reduction and min_width must be at least 1")
        for name, most in MOST.items():
            value = getattr(self, name)
            if max((value,) if isinstance(value, int) else value) > most:
                raise ValueError(f"{name} cannot be more than {most:,}")
        if self.batch_size == 1:
            raise ValueError("a batch has 2 pictures or more, for batch normalisation needs their spread")
        if abs(self.seed) >= MOST_SEED:
            raise ValueError("seed is a whole number of at most 14 digits")
        if not 0 <= self.warmup < math.inf:
            raise ValueError(f"warmup is a number of epochs, 0 or more, not {self.warmup}")
        if not 0 < self.momentum < 1:
            raise ValueError(f"momentum is Nesterov's, above 0 and below 1, not {self.momentum}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is 0 (none) or more, not {self.weight_decay}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is a share, 0 to below 1, not {self.label_smoothing}")
        if not 0 <= self.clip < math.inf:
            raise ValueError(f"clip is a norm, 0 (no limit) or more, not {self.clip}")
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale is a share of the picture's area, above 0 and at most 1, not {self.scale}")
        if not 0 <= self.grow <= 1:
            raise ValueError(f"grow is a share of the epochs, 0 to 1, not {self.grow}")
        if self.image_size > MOST_PIXELS:
            raise ValueError(f"pictures are of {MOST_PIXELS:,}×{MOST_PIXELS:,} pixels or less, not {self.image_size:,}")
        if self.image_size % 8 or self.start_size % 8 or self.start_size > self.image_size:
            raise ValueError("image sizes must be multiples of 8, the first no larger than the last")

    def size_at(self, epoch: int) -> int:
        """Side of the training pictures in an epoch (from 0): linear growth, rounded to a multiple of 8."""
        share = min(1.0, epoch / (self.grow * self.epochs)) if self.grow > 0 else 1.0
        return round((self.start_size + share * (self.image_size - self.start_size)) / 8) * 8
