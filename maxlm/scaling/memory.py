"""Memory that training takes on each device, and that a model takes where it is used.

Estimates: what a compiler allocates on top is its own. `maxlm compile` says it for a TPU slice.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from maxlm.models import cost, tensors
from maxlm.models.config import ModelConfig
from maxlm.parallel.axes import BATCH_AXES, CONTEXT, MESH_AXES, RULES, STAGE, TENSOR
from maxlm.parallel.chips import Chip

GIB = 2**30
_CHUNK_BYTES = 32 * 2**20  # of logits at a time: train/losses.py
_MOMENTS = {"adamw": 2, "muon": 1, "lion": 1, "adafactor": 1 / 64, "sgd": 1}  # float32 copies; muon: of matrices
_USABLE = 0.9  # of a card's memory; the rest goes to the runtime and to fragments (vLLM's default too)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on a device at the peak of a step."""

    params: float  # float32
    optimizer: float
    gradients: float  # float32; accumulation sums them up in one more copy
    activations: float  # what the forward pass keeps, and the layer that the backward pass is at
    gathered: float  # what fsdp brings together at a time: a layer and the embedding, in the computation's dtype
    logits: float

    @property
    def total(self) -> float:
        return self.params + self.optimizer + self.gradients + self.activations + self.gathered + self.logits


def training(
    model: ModelConfig,
    mesh: Mapping[str, int],
    batch: int,
    seq_len: int,
    *,
    optimizer: str = "adamw",
    accumulate: int = 1,
    ema: bool = False,
) -> TrainingMemory:
    """What a device of a mesh holds.

    Args:
      mesh: devices along each axis of maxlm/parallel/axes.py; one that is not named is 1.
      batch: rows of a step over all devices.
    """
    ways = {axis: mesh.get(axis, 1) for axis in MESH_AXES}
    params = 4 * sum(_share(tensor, model, ways) for tensor in tensors.tensors(model))
    rows = batch / math.prod(ways[axis] for axis in BATCH_AXES) / accumulate
    tokens = rows * ways[STAGE] * seq_len / ways[CONTEXT]  # stages share their rows within the layers
    kept, whole = activation_bytes(model, ways[TENSOR])
    layers = model.num_layers / ways[STAGE]
    logits = min(_CHUNK_BYTES, 4 * tokens * model.vocab_size / ways[TENSOR])
    return TrainingMemory(
        params=params,
        optimizer=params * (_MOMENTS[optimizer] + (1 if ema else 0)),
        gradients=params * (2 if accumulate > 1 else 1),
        activations=tokens * (layers * kept + whole),
        gathered=_gathered(model, ways),
        logits=3 * logits,
    )


def activation_bytes(model: ModelConfig, tensor: int = 1) -> tuple[float, float]:
    """Bytes that a layer keeps of a token for its backward pass under model.remat, and without any remat."""
    each = 2 if model.dtype == "bfloat16" else 4
    heads, kv = model.num_heads * model.head_dim / tensor, model.num_kv_heads * model.head_dim / tensor
    residual, mlp = model.embed / tensor, model.mlp / tensor  # between the products tensor splits the sequence
    # Inputs of all products and of attention, the MLP's parts, and what the two norms compute in float32.
    whole = each * (residual + 2 * model.embed + 2 * heads + 2 * kv + 6 * mlp)
    whole += 4 * (4 * residual + model.num_heads / tensor + 4)
    products = each * (2 * residual + heads + 2 * kv + (2 if model.mlp_kind == "swiglu" else 1) * mlp)
    attention = each * heads + 4 * model.num_heads / tensor  # its result, and what the softmax came to
    kept = {
        "none": whole,
        "dots": products + attention,
        "attention": each * residual + attention,
        "full": each * residual,
        "offload": 0.0,  # even that lies in the host's memory
    }
    return kept[model.remat], whole


def _gathered(model: ModelConfig, ways: Mapping[str, int]) -> float:
    split = math.prod(ways[axis] for axis in RULES["embed"])
    if split == 1:
        return 0.0
    one = {**ways, **dict.fromkeys(RULES["embed"], 1), STAGE: model.num_layers}  # a single layer, whole over fsdp
    largest = max(_share(tensor, model, one) for tensor in tensors.tensors(model) if not tensor.in_layers)
    layer = sum(_share(tensor, model, one) for tensor in tensors.tensors(model) if tensor.in_layers)
    return (2 if model.dtype == "bfloat16" else 4) * (layer + largest)


def _share(tensor: tensors.Tensor, model: ModelConfig, ways: Mapping[str, int]) -> float:
    """Numbers of a parameter on a device."""
    split = math.prod(ways[axis] for name in tensor.axes for axis in RULES[name])
    return tensor.size * tensors.copies(tensor, model) / split / (ways[STAGE] if tensor.in_layers else 1)


@dataclass(frozen=True)
class Serving:
    """A model on cards of one kind, its weights and caches split evenly between them."""

    cards: int  # a power of two, as heads are split
    weights: float  # bytes
    cache: float  # bytes of keys and values of the whole batch
    usable: float  # bytes, of one card

    @property
    def share(self) -> float:
        """Of what is usable."""
        return (self.weights + self.cache) / (self.cards * self.usable)


def serving(
    model: ModelConfig, chip: Chip, batch: int, context: int, *, weight_bits: int = 16, cache_bits: int = 16
) -> Serving:
    """How many cards a model takes to answer `batch` prompts of `context` tokens at a time."""
    weights = cost.num_params(model) * weight_bits / 8
    cache = batch * context * cost.cache_bytes_per_token(model, cache_bits / 8)
    usable = chip.memory_gib * GIB * _USABLE
    cards = 1
    while weights + cache > cards * usable:
        cards *= 2
    return Serving(cards, weights, cache, usable)


def near_miss(model: ModelConfig, found: Serving, weight_bits: int = 16, tolerance: float = 0.25) -> str | None:
    """A warning where a somewhat smaller model would do with half the cards; None where none would."""
    if found.cards == 1:
        return None
    params, each = cost.num_params(model), weight_bits / 8
    fits_half = (found.cards / 2 * found.usable - found.cache) / each
    if fits_half < params * (1 - tolerance):
        return None
    fits_these = (found.cards * found.usable - found.cache) / each
    return (
        f"just misses {_cards(found.cards // 2)}: {params / 1e9:.3g}B needs {_cards(found.cards)} as "
        f"{fits_these / 1e9:.3g}B does; {fits_half / 1e9:.3g}B fits {_cards(found.cards // 2)}"
    )


def largest_params(chip: Chip, cards: int, weight_bits: int, cache: float = 0.0) -> float:
    """Parameters that some cards hold beside a cache."""
    return (cards * chip.memory_gib * GIB * _USABLE - cache) / (weight_bits / 8)


def _cards(number: int) -> str:
    return "one card" if number == 1 else f"{number} cards"
