"""The papers' attention layers, one mechanism a file."""
from .selective_kernel import SelectiveKernel
from .squeeze_excite import SqueezeExcite

__all__ = ["SelectiveKernel", "SqueezeExcite"]
