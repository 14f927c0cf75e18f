"""A well-proportioned model of a given size, and the config file that trains it."""

import dataclasses
import math
from collections.abc import Iterator

from maxlm.errors import ConfigError
from maxlm.models.config import ModelConfig
from maxlm.models.cost import num_params

_TIED_BELOW = 1.5e9  # parameters: at about 1B and below the embedding is a large part of a model
_WIDE_HEADS_FROM = 2e9
_MULTIPLE = 128  # of width, mlp and vocabulary: what matrix units work on
_HEADS = 8


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What a model must divide by, and what it reads."""

    vocab_size: int = 0  # 0: chosen by size
    stage: int = 1  # layers are a multiple
    tensor: int = 1  # heads, mlp and vocabulary are a multiple
    fsdp: int = 1  # width is a multiple

    def __post_init__(self) -> None:
        if min(self.stage, self.tensor, self.fsdp) < 1:
            raise ConfigError(f"--mesh: sizes are 1 or more, found {dataclasses.asdict(self)}")


def suggest(params: float, wishes: Wishes = Wishes()) -> ModelConfig:
    """The best-proportioned model within 1 % of `params` (below 20M, where steps are coarse, 5 %; below 1M 12 %).

    Depth and width grow together: from about 64 wide for each layer at 100M parameters to 128 at 10B, between GPT-2's
    and Llama's. Heads are 64 wide, from 2B on 128; 8 of keys and values where there are more queries than that.

    Raises:
      ConfigError: none that large divides as wished.
    """
    if not params >= 1e4:
        raise ConfigError(f"--suggest: {params:.3g} parameters are too few for a model; 10,000 at least")
    tolerance = 0.01 if params >= 2e7 else 0.05 if params >= 1e6 else 0.12
    best, fewest = None, math.inf
    for model in _candidates(params, wishes):
        away = abs(math.log(num_params(model) / params))
        faults = 20 * away + _disproportion(model, params)
        if away <= tolerance and faults < fewest:
            best, fewest = model, faults
    if best is None:
        raise ConfigError(
            f"--suggest: no model of {params:.4g} parameters divides by stage={wishes.stage}, tensor={wishes.tensor}, "
            f"fsdp={wishes.fsdp} with {wishes.vocab_size or default_vocab(params):,} rows of vocabulary; change the "
            "mesh, the vocabulary or the size"
        )
    return best


def default_vocab(params: float) -> int:
    """Rows that leave the embedding a modest part of the model."""
    for limit, rows in ((3e5, 512), (2e7, 4096), (1e8, 16_384), (1e9, 32_768), (1e10, 65_536)):
        if params < limit:
            return rows
    return 131_072


def aspect(params: float) -> float:
    """Width for each layer, as published models of that size have it."""
    return 64 * 2 ** min(max(math.log10(params / 1e8) / 2, -0.5), 1.0)


def _candidates(params: float, wishes: Wishes) -> Iterator[ModelConfig]:
    vocab = _up(wishes.vocab_size or default_vocab(params), _MULTIPLE * wishes.tensor)
    head_dim = 128 if params >= _WIDE_HEADS_FROM else 64
    head_dim = head_dim if params >= 1e6 else 16
    width_step = math.lcm(_MULTIPLE if params >= 1e6 else 32, head_dim, wishes.fsdp)
    # Twelve or so width² numbers in a layer: depth · width² ≈ N / 12, and width ≈ aspect · depth.
    centre = (params / 12 * aspect(params)) ** (1 / 3)
    for width in range(width_step, _up(int(2.2 * centre), width_step) + 1, width_step):
        heads = width // head_dim
        whole = math.lcm(wishes.tensor, _HEADS if heads >= _HEADS else 1)
        if width < centre / 2.2 or width % head_dim or heads % whole:
            continue
        kv_heads = max(_HEADS, wishes.tensor) if heads > _HEADS and heads % max(_HEADS, wishes.tensor) == 0 else heads
        for layers in range(wishes.stage, 200, wishes.stage):
            shape = ModelConfig(
                vocab_size=vocab, embed=width, num_layers=layers, num_heads=heads, num_kv_heads=kv_heads,
                head_dim=head_dim, mlp=1, tie_embeddings=params < _TIED_BELOW,
                dtype="bfloat16",
            )  # fmt: skip
            mlp_step = math.lcm(_MULTIPLE if params >= 1e6 else 32, wishes.tensor)
            left = (params - num_params(shape)) / (3 * width * layers)
            mlp = max(round(left / mlp_step), 1) * mlp_step
            if (2 if params >= 1e6 else 1) * width <= mlp <= 5 * width:
                yield dataclasses.replace(shape, mlp=mlp)


def _disproportion(model: ModelConfig, params: float) -> float:
    """How far a shape is from the usual one of its size."""
    ratio = 8 / 3 if model.num_kv_heads == model.num_heads else 3.5  # grouped heads leave parameters to the mlp
    of_depth = math.log(model.embed / model.num_layers / aspect(params))
    of_mlp = math.log(model.mlp / (ratio * model.embed))
    return abs(of_depth) + 2 * abs(of_mlp)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def learning_rate(flops: float) -> float:
    """Peak learning rate for C FLOPs (DeepSeek-AI, 2024, arXiv 2401.02954, section 3.1)."""
    return 0.3118 * flops**-0.1250


def batch_tokens(flops: float) -> float:
    """Tokens of a step for C FLOPs (the same)."""
    return 0.2920 * flops**0.3271


def config_file(model: ModelConfig, title: str, settings: dict[str, object]) -> str:
    """A config file, Python text: what differs from the defaults, and `settings` by dotted key."""
    default, lines = ModelConfig(), []
    for field in dataclasses.fields(ModelConfig):
        value = getattr(model, field.name)
        if value != getattr(default, field.name):
            lines.append(f"    config.model.{field.name} = {_literal(value)}")
    lines += [f"    config.{key} = {_literal(value)}" for key, value in settings.items()]
    head = f'"""{title}"""\n\nfrom maxlm.train.config import base\n\n\ndef get_config():\n    config = base()\n'
    return head + "\n".join(lines) + "\n    return config\n"


def _literal(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:_}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 else repr(value)
