"""A private copy of a network that gives logits and what its attention blocks do together, fast, and compilable."""
import hashlib
import os
import platform
from collections.abc import Callable
from inspect import getattr_static
from types import MethodType
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..gates.blocks import AttentionBlock
from ..gates.hooks import Hooks
from ..gates.points import on_branch, on_gate
from ..gates.targets import logits_of
from ..models.copies import copied

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the number of dimensions
NORMS = (_BatchNorm.forward, nn.SyncBatchNorm.forward, BatchNormAct2d.forward)
OF_NORMS = ("running_mean", "running_var", "weight", "bias")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class GateNetwork:
    """One forward of a batch → its logits, and all gates, squeezed inputs z and hidden units of the attention blocks.

    The network is copied: its precision and memory format are the copy's own, nobody else waits for it, and its hooks
    may be compiled.

    Args:
        module: on any device.
        blocks: its attention blocks.
        device: to compute on.
        precision: "fp32", "bf16" or "fp16", of weights and feature maps.
        hidden: block → layer that is given its hidden units, as ``senet_viz.gates.hidden`` finds it.
        output: what the network returns → logits, where they lie in no usual place.
        compiled: run it through ``torch.compile``, for batches of this size; what else the process had compiled is
            dropped, because what exceeds torch's cache would silently run, and round, as if it were not compiled.
    """

    def __init__(self, module: nn.Module, blocks: list[AttentionBlock], device: torch.device, precision: str,
                 hidden: dict[str, str | None] | None = None, compiled: int | None = None,
                 output: Callable[[object], torch.Tensor] | None = None):
        self.blocks, self.dtype, self.output = blocks, PRECISIONS[precision], output
        self.module = private_copy(module, device, precision)
        self.gates: dict[str, list[torch.Tensor]] = {}
        self.squeezed: dict[str, list[torch.Tensor]] = {}
        self.units: dict[str, list[torch.Tensor]] = {}
        self.hidden = {name: layer for name, layer in (hidden or {}).items() if layer}
        self._watch(Hooks(self.module, shared=False))
        self.size, self._run = compiled, self._forward
        if compiled:
            torch.compiler.reset()
            self._run = torch.compile(self._forward, dynamic=False, options={"freezing": True})

    def _watch(self, hooks: Hooks) -> None:
        for block in self.blocks:
            gates: list[torch.Tensor] = []
            means: list[torch.Tensor] = []
            self.gates[block.name], self.squeezed[block.name] = gates, means
            on_gate(hooks, block, _kept(gates, block, lambda gate: gate.flatten(1)))
            if block.squeeze:  # the block's own z costs nothing
                hooks.before(block.squeeze, _kept(means, block, lambda z: z.flatten(1)))
                continue
            for m in range(block.branches):  # the mean over space of a sum of branches is the sum of their means
                on_branch(hooks, block, m, _kept(means, block, lambda u: u.flatten(2).mean(2)))
        for name, layer in self.hidden.items():
            self.units[name] = []
            block = next(block for block in self.blocks if block.name == name)
            hooks.before(layer, _kept(self.units[name], block, lambda given: given.flatten(1)))

    def _forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self._clear()  # what a forward that failed has left
        returned = self.module(batch)
        try:
            # not as a part of a larger tensor, which would be kept as long
            logits = logits_of(returned, len(batch), self.output).to(torch.float32, copy=True)
        except ValueError:  # of a segmentation, or a backbone, whose gates are to be had all the same
            logits = batch.new_empty(len(batch), 0).float()
        means = [self.squeezed[b.name] for b in self.blocks]
        found = (logits, torch.cat([gate for b in self.blocks for gate in self.gates[b.name]], 1).float(),
                 torch.cat([sum(others, first) for first, *others in means], 1).float(),
                 torch.cat([logits[:, :0], *(units[-1] for units in self.units.values())], 1).float())
        self._clear()  # compiled, the next forward would otherwise begin with full lists, and be compiled once more
        return found

    def _clear(self) -> None:
        for seen in (*self.gates.values(), *self.squeezed.values(), *self.units.values()):
            seen.clear()

    @torch.inference_mode()
    def __call__(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) → logits (N, K), gates (N, Σ M·C), squeezed inputs (N, Σ C) and hidden units (N, Σ H), float32.

        Without logits K is 0. Of a block with several gates a picture, one for each frame, their mean.
        Each block after block; hidden units of the layers in ``hidden``, in its order.
        """
        pictures = len(batch)
        if self.size and pictures < self.size:  # one shape, whatever came before: a run that goes on computes alike
            batch = nn.functional.pad(batch, (0, 0) * (batch.dim() - 1) + (0, self.size - pictures))
        found = self._run(prepared(batch, self.dtype))
        return tuple(values[:pictures] for values in found)


def prepared(batch: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A copy of a batch as networks here take it: of a type, pictures and volumes with channels last in memory."""
    layout = LAST.get(batch.dim(), torch.preserve_format)
    return batch.to(dtype).to(memory_format=layout, copy=True)  # both at once take three times as long


def _kept(values: list[torch.Tensor], block: AttentionBlock, read: Callable) -> Callable:
    """What a hook calls to append what it reads: a closure, because torch.compile loses a list in default arguments."""
    def keep(seen: torch.Tensor, *_) -> None:
        values.append(_by_picture(block, read(seen)))
    return keep


def _by_picture(block: AttentionBlock, rows: torch.Tensor) -> torch.Tensor:
    """One row a picture (N, …): of blocks with several, their mean."""
    if block.rows == 1:
        return rows
    pictures = len(rows) // block.rows
    return (rows.unflatten(0, (pictures, block.rows)).mean(1) if block.together
            else rows.unflatten(0, (block.rows, pictures)).mean(0))


def private_copy(module: nn.Module, device: torch.device, precision: str) -> nn.Module:
    """A network like this one that nobody else uses: without gradients, on a device, channels last, in a precision.

    On a CPU and CUDA torch's batch norms and timm's compute with float32 weights and statistics in any precision, as
    under torch's autocast: rounded, they would be the larger half of what makes a class's mean differ. Who reads their
    weights for something else finds them in the precision.

    Raises:
        ValueError: when a weight is not finite in that precision.
    """
    module = copied(module).requires_grad_(False)
    half = precision != "fp32" and device.type in ("cpu", "cuda")
    norms = [part for part in module.modules() if half and getattr_static(type(part), "forward", None) in NORMS]
    # detached, because a parameter takes on what it is converted to
    exact = [{name: values.detach() for name in OF_NORMS if (values := getattr(norm, name)) is not None}
             for norm in norms]
    module = module.to(device, PRECISIONS[precision])
    for norm, tensors in zip(norms, exact):
        for name in OF_NORMS:
            values = tensors.get(name)
            norm.register_buffer(f"exact_{name}", None if values is None else values.to(device, torch.float32))
        norm.forward = MethodType(_normalised, norm)
    for parameter in module.parameters():
        if parameter.dim() in LAST:
            parameter.data = parameter.data.contiguous(memory_format=LAST[parameter.dim()])
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point() and not tensor.isfinite().all():  # feature maps would not show it
            raise ValueError(f"{name} is not finite in {precision}; take another precision")
    return module


def _normalised(norm: Any, maps: torch.Tensor) -> torch.Tensor:
    """The forward of a batch norm with its weights and statistics as they were before they were rounded."""
    mean, var, weight, bias = (getattr(norm, f"exact_{name}") for name in OF_NORMS)
    maps = nn.functional.batch_norm(maps, mean, var, weight, bias, mean is None, 0.0, norm.eps)
    return norm.act(norm.drop(maps)) if isinstance(norm, BatchNormAct2d) else maps


def hardware(device: torch.device) -> str:
    """What computes, with the settings of torch that change how it rounds: the same words, the same bits."""
    backends: Any = torch.backends  # its stubs lack some
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        flags = [_rounding(backends.cuda.matmul, backends.cudnn.conv),
                 f"cuDNN benchmark {torch.backends.cudnn.benchmark}"]
    elif device.type == "cpu":
        # a level such as AVX512 has many dialects, and the environment can forbid some of them
        known = getattr(torch.cpu, "get_capabilities", platform.uname)()
        limits = [os.environ.get(name, "") for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")]
        dialect = hashlib.sha256(f"{known} {limits}".encode()).hexdigest()[:8]
        name = f"cpu {torch.backends.cpu.get_cpu_capability()} {dialect}"
        flags = [_rounding(backends.mkldnn.matmul, backends.mkldnn.conv)]
    else:
        name, flags = f"{device.type} {platform.machine()}", []
    return ", ".join([name, *flags])


def _rounding(products: Any, convolutions: Any) -> str:
    """What matrix products and convolutions of float32 are computed in: "ieee", which is float32 itself, or less.

    Torch's older names for this (``get_float32_matmul_precision``, ``allow_tf32``) raise where the newer were used.
    """
    kinds = ("ieee" if of.fp32_precision == "none" else of.fp32_precision for of in (products, convolutions))
    return "float32 matrix products {}, convolutions {}".format(*kinds)
