"""One batch through a network with many edits, one after the other."""
from collections.abc import Callable, Sequence

import torch
from torch import nn

from ..gates import AttentionBlock, Edit
from ..gates.edits import install
from ..gates.hooks import Hooks, part_and_call
from ..gates.points import on_gate
from ..gates.targets import logits_of
from .network import PRECISIONS, prepared, private_copy


class EditedNetwork:
    """A private copy of a network that gives a batch's logits, unedited and then with one edit after the other.

    What a forward computes before the first edited gate is what it computed without edits. So modules that were done by
    then (stages, units, and what stands outside of them) are not run again: they give what they gave.

    Args:
        module: on any device.
        blocks: its attention blocks.
        device: to compute on.
        precision: "fp32", "bf16" or "fp16".
        output: what the network returns → logits, where they lie in no usual place.
    """

    def __init__(self, module: nn.Module, blocks: list[AttentionBlock], device: torch.device, precision: str,
                 output: Callable[[object], torch.Tensor] | None = None):
        self.module, self.blocks, self.output = private_copy(module, device, precision), blocks, output
        self.dtype = PRECISIONS[precision]
        # what modules gave in the unedited forward, in the order they ended; None where it is of no use
        self._kept: list[tuple[str, torch.Tensor | None]] = []
        self._before: dict[str, int] = {}  # block → how many of them had ended when its gate came
        self._batch = torch.empty(0)

    @torch.no_grad()  # not inference mode, whose tensors do not tell of changes in place
    def unedited(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → logits (N, K) float32; the batch is kept for ``edited``."""
        self._batch = prepared(batch, self.dtype)
        ended: list[tuple[str, torch.Tensor, int]] = []
        spoilt, entered = set(), {}
        self._before = {}
        hooks = Hooks(self.module, shared=False)
        try:
            for path in self._candidates():
                def enter(x, path=path):
                    if path in entered:
                        spoilt.add(path)  # runs more than once
                    entered[path] = x, getattr(x, "_version", None)

                def leave(_, output, path=path):
                    x, version = entered[path]
                    if isinstance(output, torch.Tensor) and getattr(x, "_version", None) == version:
                        ended.append((path, output, output._version))

                hooks.before(path, enter)
                hooks.after(path, leave)
            for block in self.blocks:
                def gated(*_, name=block.name):
                    self._before.setdefault(name, len(ended))

                on_gate(hooks, block, gated)
            logits = logits_of(self.module(self._batch), len(self._batch), self.output).float()
        finally:
            hooks.remove()
        # what a later operation changed in place is no longer what the module gave
        self._kept = [(path, output if path not in spoilt and output._version == version else None)
                      for path, output, version in ended]
        return logits

    @torch.no_grad()
    def edited(self, edits: Sequence[Edit]) -> torch.Tensor:
        """Logits (N, K) float32 of the batch that ``unedited`` was given last."""
        touched = [block for block in self.blocks if any(edit.matches(block) for edit in edits)]
        first = min((self._before[block.name] for block in touched), default=0)
        counted = [part_and_call(product.path)[0]
                   for block in touched if block.gate is None for product in block.products]
        known = {path: output for path, output in self._kept[:first] if output is not None
                 # the multiplications of a module are counted, its parts' among them: these have to run
                 and not any(path.startswith(f"{other}." if other else "") for other in counted)}
        hooks, skipped = Hooks(self.module, shared=False), []
        try:
            for path, output in known.items():
                part = self.module.get_submodule(path)
                skipped.append((part, part.__dict__.get("forward")))
                part.forward = lambda *_, output=output, **__: output
            install(hooks, self.blocks, edits, len(self._batch))
            return logits_of(self.module(self._batch), len(self._batch), self.output).float()
        finally:
            hooks.remove()
            for part, forward in skipped:
                del part.forward
                if forward is not None:
                    part.forward = forward

    def _candidates(self) -> list[str]:
        """Modules worth keeping the output of: not those within a unit, which would fill the memory."""
        def several(path: str) -> bool:
            inside = f"{path}." if path else ""
            return sum(block.name.startswith(inside) for block in self.blocks) > 1

        return [path for path, _ in self.module.named_modules() if path and several(path.rpartition(".")[0])]
