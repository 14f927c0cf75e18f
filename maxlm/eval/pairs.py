"""Held-out pairs of answers: how often the preferred one is the likelier, and how far both moved from the reference."""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from maxlm.train.config import TrainSettings
from maxlm.train.preference import LOSSES, Answers, pair_losses

LIKELIER = "validation/pairs/likelier"  # share of the pairs whose preferred answer, as a whole, is the likelier one
_LOSS = "validation/pairs/loss"  # what config.train.loss makes of them


class HeldOutPairs:
    """Figures of held-out pairs. What the reference says of them is kept: it stays the same for a whole run."""

    def __init__(self, settings: TrainSettings):
        self._settings = settings
        self._reference: list[Answers] = []
        self._compare = jax.jit(lambda found, reference: pair_losses(found, reference, settings, jnp.ones(())))

    def scalars(self, found: Sequence[Answers], reference: Iterable[Answers] | None) -> dict[str, float]:
        """LIKELIER, and beside a reference the loss and ``validation/rewards/…``, as a training step has them.

        Args:
          found: what the model says of each batch.
          reference: the same of the reference, read at the first call alone; None: there is none.
        """
        there, right = 0, 0
        for one in found:
            there += int(np.sum(one.there_BP))
            right += int(np.sum((one.logprobs_BP2[..., 0] > one.logprobs_BP2[..., 1]) & one.there_BP))
        values = {LIKELIER: right / max(1, there)}
        if reference is None or self._settings.loss not in LOSSES:
            return values
        self._reference = self._reference or list(reference)
        sums = {_LOSS: 0.0}
        for one, compared in zip(found, self._reference, strict=True):
            loss, figures = self._compare(one, compared)
            sums[_LOSS] += float(loss)
            for name, (total, _) in figures.items():
                sums[f"validation/{name}"] = sums.get(f"validation/{name}", 0.0) + float(total)
        return values | {name: total / max(1, there) for name, total in sums.items()}
