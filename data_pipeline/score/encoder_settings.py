"""How an encoder is fine-tuned for scores, with the defaults. Needs no jax."""

from dataclasses import dataclass

from maxlm.errors import ConfigError

SCORE_FILE, REPORT_FILE = "score.json", "report.json"  # what applying needs; what training found


@dataclass(frozen=True)
class MeshSizes:
    """Devices along each axis, as in a training run's config.mesh; one may be -1, "the rest"."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


@dataclass(frozen=True)
class EncoderSettings:
    """How an encoder is fine-tuned. The defaults are BERT's (Devlin et al., 2019, appendix A.3)."""

    start: str = ""  # folder of a checkpoint (config.json, safetensors, tokenizer); "": from scratch, sizes below
    regression: bool = False  # labels are numbers to be met, not classes
    positive: str = ""  # the class whose probability is the score; "": the probability of the likeliest class
    text_key: str = "text"
    label_key: str = "label"
    epochs: int = 4  # at most; the learning rate falls to 0 over them
    batch: int = 32  # texts in a step, over all devices
    learning_rate: float = 5e-5  # peak
    warmup_share: float = 0.1  # of all steps
    weight_decay: float = 0.01  # on matrices
    clip_norm: float = 1.0
    patience: int = 2  # stop after so many epochs that did not better the held-out loss
    holdout: float = 0.2  # share of the texts held out: half to choose the epoch and the temperature, half to report
    max_tokens: int = 512  # of a window, special tokens included
    windows: int = 1  # windows of a long text, whose outputs are averaged; 1: its head
    seed: int = 0
    dtype: str = "float32"  # of the computation; "bfloat16" on accelerators
    mesh: MeshSizes = MeshSizes()
    # from scratch only
    vocab_size: int = 8192
    embed: int = 128
    num_layers: int = 2
    num_heads: int = 4
    mlp: int = 512

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience", "windows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"encoder: {name} must be at least 1, found {getattr(self, name)}")
        if self.max_tokens < 3:
            raise ConfigError(
                f"encoder: max_tokens={self.max_tokens} leaves no room for text between two special tokens"
            )
        if self.learning_rate <= 0:
            raise ConfigError(f"encoder: learning_rate={self.learning_rate} is not positive")
        for name in ("holdout", "warmup_share"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"encoder: {name}={getattr(self, name)} is outside (0, 1)")
        if self.dtype not in ("float32", "bfloat16"):
            raise ConfigError(f"encoder: dtype={self.dtype!r} is neither 'float32' nor 'bfloat16'")
        if self.positive and self.regression:
            raise ConfigError("encoder: a regression has no positive class; its score is its value")
