"""The papers' attention layers and what is taken for them, one mechanism a file."""
from .parallel_gate import ParallelGate
from .plain_convolution import PlainConvolution
from .pooled_gate import PooledGate
from .selective_kernel import SelectiveKernel
from .squeeze_excite import SqueezeExcite
from .unsqueezed_excite import UnsqueezedExcite

__all__ = ["ParallelGate", "PlainConvolution", "PooledGate", "SelectiveKernel", "SqueezeExcite", "UnsqueezedExcite"]
