"""What a model is: sizes and choices, and whether they go together."""

from dataclasses import dataclass
from typing import Literal

from maxlm.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """A decoder of the Llama family."""

    vocab_size: int = 0  # rows of the embedding; 0: as the data set says
    embed: int = 384  # width of the residual stream
    num_layers: int = 6
    num_heads: int = 6  # query heads
    num_kv_heads: int = 6  # key and value heads; num_heads is a multiple
    head_dim: int = 64
    mlp: int = 1024  # width of the SwiGLU's hidden layer
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = True  # one matrix for input and output; usual at 1B parameters and below
    init_std: float = 0.02  # of all matrices; those that write to the residual stream: / sqrt(2 num_layers)
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation; parameters are kept in float32
    attention: str = "auto"  # a name in maxlm/models/kernels.py; "auto": the best for the device
    scan_layers: bool = True  # compile one layer and loop; False: unrolled, slower to compile, sometimes faster to run
    remat: Literal["none", "dots", "full"] = "none"  # what the backward pass computes anew instead of keeping

    def __post_init__(self) -> None:
        for name in ("embed", "num_layers", "num_heads", "num_kv_heads", "head_dim", "mlp"):
            if getattr(self, name) < 1:
                raise ConfigError(f"config.model.{name}: must be at least 1, found {getattr(self, name)}")
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(
                f"config.model.num_heads={self.num_heads} is no multiple of num_kv_heads={self.num_kv_heads}"
            )
        if self.head_dim % 2:
            raise ConfigError(f"config.model.head_dim={self.head_dim} must be even: RoPE turns pairs")
