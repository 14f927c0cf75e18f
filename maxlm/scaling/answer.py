"""What `maxlm plan` answers, as plain values: the run, the laws beside each other, the model, its memory."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maxlm.errors import ConfigError
from maxlm.models import cost, tensors
from maxlm.models.config import ModelConfig
from maxlm.scaling import memory
from maxlm.scaling.accelerators import find_chip
from maxlm.scaling.laws import LAWS, LossLaw
from maxlm.scaling.plan import Plan
from maxlm.scaling.suggest import suggest


@dataclass(frozen=True)
class Training:
    """How a model is trained, as far as memory depends on it."""

    mesh: Mapping[str, int]
    batch: int  # rows of a step
    seq_len: int
    optimizer: str = "adamw"
    accumulate: int = 1


@dataclass(frozen=True)
class Use:
    """How a model is used once it is there."""

    chip: str = "h100"
    batch: int = 1  # prompts at a time
    context: int = 8192  # tokens of each
    weight_bits: int = 16
    cache_bits: int = 16


def of_run(plan: Plan) -> dict[str, Any]:
    """The run itself."""
    return {
        "parameters": plan.params, "tokens": plan.tokens, "flops": plan.flops,
        "tokens_per_parameter": plan.tokens / plan.params, "pf_days": plan.flops / 8.64e19, "loss": plan.loss,
        "loss_interval": plan.interval, "epochs": plan.epochs, "chips": plan.chips, "chip": plan.chip,
        "days": plan.days, "mfu": plan.mfu, "tokens_per_s": plan.tokens_per_s, "chip_hours": plan.chip_hours,
        "cost": plan.cost, "law": plan.law.name, "law_source": plan.law.source, "law_counts": plan.law.counts,
        "assumptions": plan.assumptions, "warnings": plan.warnings,
    }  # fmt: skip


def of_laws(flops: float, unique_tokens: float | None = None) -> dict[str, dict[str, float | None]]:
    """What each published law would make of the same compute."""
    found = {}
    for name, law in LAWS.items():
        if isinstance(law, LossLaw) and unique_tokens:
            law = dataclasses.replace(law, unique=unique_tokens)
        params, tokens = law.best_params(flops), law.best_tokens(flops)
        loss = float(law.loss(params, tokens)) if isinstance(law, LossLaw) else None
        found[name] = {"parameters": params, "tokens": tokens, "loss": loss}
    return found


def of_model(model: ModelConfig, seq_len: int, tokens: float) -> dict[str, Any]:
    """Parameters and FLOPs of a model, matrix by matrix."""
    flops = cost.flops_by_matrix(model, seq_len)
    square = cost.flops_by_matrix(model, seq_len, square=True)
    matrices = {
        tensor.name: {"shape": list(tensor.shape), "copies": tensors.copies(tensor, model),
                      "parameters": tensor.size * tensors.copies(tensor, model)}
        for tensor in tensors.tensors(model)
    }  # fmt: skip
    return {
        "parameters": cost.num_params(model), "matmul_parameters": cost.matmul_params(model), "seq_len": seq_len,
        "tensors": matrices, "forward_flops_per_token": {**flops.matrices, "attention": flops.attention},
        "flops_per_token": {
            "forward": flops.forward, "backward": flops.backward, "model": flops.model,
            "recomputed": flops.recomputed, "hardware": flops.hardware, "model_whole_square": square.model,
            "6N": 6 * cost.num_params(model),
        },
        "flops": flops.model * tokens, "flops_6nd": 6 * cost.num_params(model) * tokens,
    }  # fmt: skip


def of_training(model: ModelConfig, training: Training, chip: str | None) -> dict[str, Any]:
    """Memory of a training step on each device, in GiB."""
    found = memory.training(
        model, training.mesh, training.batch, training.seq_len, optimizer=training.optimizer,
        accumulate=training.accumulate,
    )  # fmt: skip
    gib = {name: value / memory.GIB for name, value in dataclasses.asdict(found).items()}
    gib["total"] = found.total / memory.GIB
    answer: dict[str, Any] = {"mesh": dict(training.mesh), "batch": training.batch, "accumulate": training.accumulate}
    answer |= {"gib": gib, "remat": model.remat}
    if chip is not None:
        answer |= {"chip": chip, "chip_gib": find_chip(chip).memory_gib}
        answer["share"] = gib["total"] / answer["chip_gib"]
    return answer


def of_use(model: ModelConfig, use: Use) -> dict[str, Any]:
    """Cards that a model needs where it is used, and a warning where it just misses fewer."""
    found = memory.serving(
        model, find_chip(use.chip), use.batch, use.context, weight_bits=use.weight_bits, cache_bits=use.cache_bits
    )
    return {
        **dataclasses.asdict(use), "cards": found.cards, "weights_gib": found.weights / memory.GIB,
        "cache_gib": found.cache / memory.GIB, "usable_gib_per_card": found.usable / memory.GIB, "share": found.share,
        "warning": memory.near_miss(model, found, use.weight_bits),
    }  # fmt: skip


def params_for_memory(gib: float, use: Use) -> float:
    """The largest well-proportioned model whose weights and cache take `gib` GiB.

    Raises:
      ConfigError: the cache leaves no room for weights.
    """
    each = use.weight_bits / 8
    params = gib * memory.GIB / each
    for _ in range(6):  # the cache depends on the shape, the shape on the size
        cache = use.batch * use.context * cost.cache_bytes_per_token(suggest(params), use.cache_bits / 8)
        left = gib * memory.GIB - cache
        if left <= 0:
            raise ConfigError(f"--inference-gib={gib:g}: the cache alone takes {cache / memory.GIB:.1f} GiB")
        params = left / each
    return params


def of_versus(first: Plan, second: Plan) -> dict[str, Any]:
    """A second run beside the first."""
    ratio = {"flops": second.flops / first.flops, "tokens": second.tokens / first.tokens}
    if first.loss is not None and second.loss is not None:
        ratio["loss_difference"] = second.loss - first.loss
    return {**of_run(second), "against_first": ratio}
