"""What a model is: sizes and choices, and whether they go together."""

from dataclasses import dataclass
from typing import Literal

from maxlm.errors import ConfigError


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched to longer contexts than those of the training (maxlm/models/rope.py)."""

    kind: Literal["none", "linear", "ntk", "yarn", "llama3"] = "none"
    factor: float = 1.0  # how many times longer the context becomes
    original_length: int = 8192  # context of the training before; yarn and llama3
    low_freq_factor: float = 1.0  # llama3: frequencies of fewer turns than this in that context are divided
    high_freq_factor: float = 4.0  # llama3: those of more turns than this stay
    beta_fast: float = 32.0  # yarn: frequencies of more turns than this stay
    beta_slow: float = 1.0  # yarn: those of fewer turns than this are divided

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ConfigError(f"config.model.rope_scaling.factor={self.factor} would shorten the context; 1 or more")
        if self.original_length < 1:
            raise ConfigError(f"config.model.rope_scaling.original_length={self.original_length} is less than 1")
        for low, high in (("low_freq_factor", "high_freq_factor"), ("beta_slow", "beta_fast")):
            if not 0 < getattr(self, low) < getattr(self, high):
                raise ConfigError(f"config.model.rope_scaling: {low} must be positive and below {high}")


UNSCALED = RopeScaling()


@dataclass(frozen=True)
class ModelConfig:
    """A decoder. The defaults make one of the Llama family; maxlm/models/families.py says what the others change."""

    vocab_size: int = 0  # rows of the embedding; 0: as the data set says
    embed: int = 384  # width of the residual stream
    num_layers: int = 6
    num_heads: int = 6  # query heads
    num_kv_heads: int = 6  # key and value heads; num_heads is a multiple
    head_dim: int = 64
    mlp: int = 1024  # width of the MLP's hidden layer
    mlp_kind: Literal["swiglu", "gelu"] = "swiglu"  # gelu: two matrices, tanh's approximation of GELU (GPT-2)
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-5
    bias: Literal["none", "qkv", "all"] = "none"  # which products add one: none, query key and value, or all of them
    qk_norm: bool = False  # RMSNorm over each head's query and key, before they are rotated (Qwen3)
    position: Literal["rope", "learned"] = "rope"
    max_positions: int = 0  # learned: rows of the table, the longest context
    rope_base: float = 10_000.0
    rope_scaling: RopeScaling = UNSCALED
    sliding_window: int = 0  # a token sees itself and so many - 1 before it; 0: all of its document
    tie_embeddings: bool = True  # one matrix for input and output; usual at 1B parameters and below
    init_std: float = 0.02  # of all matrices; those that write to the residual stream: / sqrt(2 num_layers)
    mup_base_embed: int = 0  # width whose best learning rate is to hold at this width too (muP); 0: no transfer
    mup_base_layers: int = 0  # the same of the depth (CompleteP: layers add a share of what they make); 0: no transfer
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation; parameters are kept in float32
    matmul: Literal["plain", "fp8"] = "plain"  # of the layers; fp8: rounded to 8 bits, for Hopper and later
    attention: str = "auto"  # a name in maxlm/models/kernels.py; "auto": the best for the device
    scan_layers: bool = True  # compile one layer and loop; False: unrolled, slower to compile, sometimes faster to run
    # What the backward pass keeps of a layer (maxlm/models/remat.py): none: everything; dots: products and attention;
    # attention: its results; full: what enters the layer; offload: the same, in the host's memory.
    remat: Literal["none", "dots", "attention", "full", "offload"] = "none"
    pipeline_microbatches: int = 0  # with mesh.stage: parts of a batch, a multiple of the stages; 0: as many as stages
    pipeline_repeats: int = 1  # with mesh.stage: rounds in which the layers are dealt out, which shortens idle times

    def __post_init__(self) -> None:
        for name in ("embed", "num_layers", "num_heads", "num_kv_heads", "head_dim", "mlp", "pipeline_repeats"):
            if getattr(self, name) < 1:
                raise ConfigError(f"config.model.{name}: must be at least 1, found {getattr(self, name)}")
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(
                f"config.model.num_heads={self.num_heads} is no multiple of num_kv_heads={self.num_kv_heads}"
            )
        if self.position == "rope" and self.head_dim % 2:
            raise ConfigError(f"config.model.head_dim={self.head_dim} must be even: RoPE turns pairs")
        if (self.position == "learned") != (self.max_positions > 0):
            raise ConfigError(
                f"config.model.max_positions={self.max_positions} with position={self.position!r}: learned positions "
                "need the longest context, and RoPE has no table"
            )
        for name in ("mup_base_embed", "mup_base_layers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"config.model.{name}={getattr(self, name)} is less than 0")
        if self.sliding_window < 0:
            raise ConfigError(f"config.model.sliding_window={self.sliding_window} is less than 0")

    @property
    def width_multiplier(self) -> float:
        """How much wider the model is than the one that its learning rate was found on (Yang et al., 2022, muP)."""
        return self.embed / self.mup_base_embed if self.mup_base_embed else 1.0

    @property
    def depth_multiplier(self) -> float:
        """How much deeper, the same (Dey et al., 2025, arXiv 2505.01618, CompleteP)."""
        return self.num_layers / self.mup_base_layers if self.mup_base_layers else 1.0
