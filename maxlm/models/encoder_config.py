"""What an encoder is: the family it belongs to, sizes and choices, and whether they go together. Needs no jax."""

from dataclasses import dataclass
from typing import Literal

from maxlm.errors import ConfigError

Family = Literal["bert", "roberta", "distilbert", "electra"]
Dtype = Literal["float32", "bfloat16"]

# What the first token's state goes through before the classes; RoBERTa's and ELECTRA's stand in their heads.
_POOLER_ACTIVATION = {"bert": "tanh", "roberta": "tanh", "distilbert": "relu", "electra": "gelu"}


@dataclass(frozen=True)
class EncoderConfig:
    """A bidirectional transformer with a norm after each sum (Devlin et al., 2019, arXiv 1810.04805)."""

    vocab_size: int
    family: Family = "bert"
    embed: int = 256  # width of the residual stream
    num_layers: int = 4
    num_heads: int = 4
    mlp: int = 1024
    max_positions: int = 512  # rows of the position table; RoBERTa leaves the first pad_id + 1 of them unused
    num_types: int = 2  # rows of the table of token types; 0: no such table
    pad_id: int = 0
    embedding_width: int = 0  # of the tables, widened to embed by a matrix (ELECTRA); 0: embed, no matrix
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"  # "gelu": exact, by erf
    norm_eps: float = 1e-12
    pooler: bool = True  # a dense layer over the first token's state; a head needs it
    num_labels: int = 0  # outputs of the head: classes, or 1 for a regression; 0: no head
    dropout: float = 0.1  # share of the residual stream's inputs dropped in training; attention weights never are
    init_std: float = 0.02
    dtype: Dtype = "float32"  # of the computation; parameters are kept in float32

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embed", "num_layers", "num_heads", "mlp"):
            if getattr(self, name) < 1:
                raise ConfigError(f"encoder: {name} must be at least 1, found {getattr(self, name)}")
        if self.embed % self.num_heads:
            raise ConfigError(f"encoder: embed={self.embed} is no multiple of num_heads={self.num_heads}")
        if self.max_tokens < 2:
            raise ConfigError(f"encoder: max_positions={self.max_positions} leaves no room for two tokens")
        if self.num_labels and not self.pooler:
            raise ConfigError("encoder: a head (num_labels > 0) needs the pooler")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"encoder: dropout={self.dropout} is outside [0, 1)")

    @property
    def table_width(self) -> int:
        """Width of the embedding tables."""
        return self.embedding_width or self.embed

    @property
    def max_tokens(self) -> int:
        """The longest sequence that has positions, special tokens included."""
        return self.max_positions - (self.pad_id + 1 if self.family == "roberta" else 0)

    @property
    def pooler_activation(self) -> str:
        return _POOLER_ACTIVATION[self.family]
