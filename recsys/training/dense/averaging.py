"""A running mean of dense weights."""

from __future__ import annotations

import copy

import torch

from recsys.models.base import RankingModel

WARM_UP = 10
"""The mean is over about `steps / WARM_UP` steps until it reaches its full length."""


class AveragedModel:
    r"""A copy of a model whose weights are an exponential mean of the learning one's (Polyak and Juditsky 1992).

    mean <- mean + (1 - d) (weights - mean) after each step, with d = min(decay, (1 + steps) / (WARM_UP + steps))

    The newest weights carry the noise of the last steps; the mean is served and evaluated instead. Embedding
    rows are not averaged: few rows of a batch update each, and what it learns should take effect at once. With
    `decay` 0 the mean is the weights themselves. Buffers are copied.

    `torch.optim.swa_utils.AveragedModel` counts its updates in a buffer, saved as `n_averaged`, beside weights named
    `module.*`: the learner counts steps already, and checkpoints name weights as the model does. It also always copies
    the model, where `decay` 0 needs no second one.
    """

    def __init__(self, model: RankingModel, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model) if decay else model
        self._learning = model
        self._means: list[torch.Tensor] = list(self.model.parameters())
        self._weights: list[torch.Tensor] = list(model.parameters())
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Update the mean after the learning model's `steps`-th step, counted from 1."""
        if not self.decay:
            return
        share = 1 - min(self.decay, (1 + steps) / (WARM_UP + steps)) if steps > 1 else 1.0
        torch._foreach_lerp_(self._means, self._weights, share)
        for mean_buffer, buffer in self._buffers:
            mean_buffer.copy_(buffer)

    def state(self) -> dict[str, torch.Tensor]:
        """Tensors by name; empty when nothing is averaged."""
        return dict(self.model.state_dict()) if self.decay else {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the state returned by `state()`; if empty, copy the learning model's weights."""
        if self.decay:
            self.model.load_state_dict(state or self._learning.state_dict())
