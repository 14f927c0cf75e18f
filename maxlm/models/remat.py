"""What the backward pass computes anew instead of keeping (rematerialisation): config value -> policy.

Every layer is a checkpoint of its own (Chen et al., 2016, arXiv 1604.06174). With "full" a layer keeps only the
residual stream that enters it, `tokens × embed` numbers; "offload" moves even that to the host's memory.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

_ATTENTION, _ENTERING = "attention", "entering"
# Kernels keep the output and what their backward pass needs of the softmax without a name of ours.
_KERNELS = ("pallas_call", "dot_product_attention_fwd_wrapper")

_save = jax.checkpoint_policies


def attention_result(x: Any) -> Any:
    """Marks what attention's backward pass needs beside queries, keys and values."""
    return checkpoint_name(x, _ATTENTION)


def _is_kernel(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name in _KERNELS


_attention = _save.save_from_both_policies(_save.save_only_these_names(_ATTENTION), _is_kernel)

# name -> what is kept of a layer; None: everything
POLICIES: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "dots": _save.save_from_both_policies(_save.dots_with_no_batch_dims_saveable, _attention),
    "attention": _attention,
    "full": _save.nothing_saveable,
    "offload": _save.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[_ENTERING],
        offload_src="device",
        offload_dst="pinned_host",
    ),
}


def checkpointed(layer: Callable[..., Any], policy: str) -> Callable[..., Any]:
    """The layer, a function of the residual stream and more, which keeps for its backward pass what `policy` says."""
    if POLICIES[policy] is None:
        return layer

    def marked(x_BTD: jax.Array, *arguments: Any) -> Any:
        return layer(checkpoint_name(x_BTD, _ENTERING), *arguments)

    return jax.checkpoint(marked, policy=POLICIES[policy], prevent_cse=False)
