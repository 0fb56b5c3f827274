"""Learning online as if impressions had been drawn at random: from the propensities that serving logs.

Shape suffixes: B training rows, K positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from recsys.errors import InvalidValueError
from streaming.encode.batch import TrainingBatch

POSITIONS = 64
"""Positions with an examination rate of their own; those below share the last one."""

_DECAY = 0.999
"""Of all running sums, for each step."""
_PRIOR = 100.0
"""Rows at the mean rate that each position begins with."""
_LEAST_EXAMINATION = 0.05


class Debiasing(Protocol):
    """Turns a batch into the one that is learned from, and keeps what it estimates from batches."""

    def learned(self, batch: TrainingBatch) -> TrainingBatch:
        """`batch`, which counts for the estimates, with other weights and labels."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """The estimates, for a checkpoint."""
        ...

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned; of a checkpoint without estimates nothing is known."""
        ...


class NoDebiasing:
    """Learns from batches as they are."""

    def learned(self, batch: TrainingBatch) -> TrainingBatch:
        return batch

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        pass


@dataclass(frozen=True, slots=True)
class LoggedDebiasing:
    """What to correct for: the policy by `method`, and the position if `positions`."""

    method: Literal["none", "ips", "snips"] = "snips"
    min_propensity: float = 0.01
    positions: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.min_propensity <= 1:
            raise InvalidValueError(f"min_propensity is {self.min_propensity}: it must be within (0, 1]")


class PropensityDebiasing:
    r"""Inverse propensity weights, and clicks over the rate at which positions are examined.

    The loss of a row, w (c softplus(z) - y z), becomes w / p (c softplus(z) - y / e_k z).

    p is the logged propensity, raised to at least `min_propensity`; a row whose log has none counts as certain, p = 1.
    With SNIPS all weights 1 / p are divided by their running mean, so that the step keeps its size.

    e_k is the rate of clicks at position k over that at the first one, each from rows of the first task that were drawn
    (p < 1) and weighted by 1 / p, so that it does not depend on which items the policy puts there (Joachims et al.,
    WSDM 2017). Where little is known it is near 1. An item's silence and its later click count as one shown item.
    Weights of the batch are kept as factors.
    """

    def __init__(self, how: LoggedDebiasing) -> None:
        self._how = how
        self._weights = np.zeros(2)  # sum of 1 / p, and of rows
        self._clicks_K, self._shown_K = np.zeros(POSITIONS), np.zeros(POSITIONS)
        self._counts = np.zeros(3, np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Rows so far: those with a propensity below 1, those raised to the least one, and those that were certain."""
        return dict(zip(("drawn", "clipped", "certain"), self._counts.tolist(), strict=True))

    @property
    def examination(self) -> npt.NDArray[np.float64]:
        """e_k by position [K], at most 1."""
        rate = (self._clicks_K.sum() + 1e-9) / (self._shown_K.sum() + 1e-6)
        rate_K = (self._clicks_K + _PRIOR * rate) / (self._shown_K + _PRIOR)
        examination_K: npt.NDArray[np.float64] = np.clip(rate_K / max(rate_K[0], 1e-12), _LEAST_EXAMINATION, 1.0)
        return examination_K

    def learned(self, batch: TrainingBatch) -> TrainingBatch:
        """Raises InvalidValueError for propensities that no log accepts: not finite, 0 or less, above 1."""
        p_B = batch.propensities_B.astype(np.float64)
        if not ((p_B > 0) & (p_B <= 1)).all():
            raise InvalidValueError("propensities of a batch must be above 0 and at most 1")
        inverse_B = 1 / np.maximum(p_B, self._how.min_propensity)
        drawn_B = p_B < 1
        self._counts += drawn_B.sum(), (p_B < self._how.min_propensity).sum(), (~drawn_B).sum()
        if self._how.positions:
            batch = self._examined(batch, inverse_B * drawn_B)
        if self._how.method == "none":
            return batch
        self._weights = self._weights * _DECAY + (inverse_B.sum(), len(batch))
        if self._how.method == "snips":
            inverse_B = inverse_B * self._weights[1] / self._weights[0]
        return replace(batch, weights_B=(batch.weights_B * inverse_B).astype(np.float32))

    def _examined(self, batch: TrainingBatch, inverse_B: npt.NDArray[np.float64]) -> TrainingBatch:
        """With labels over the examination of their positions; rows of `inverse_B` 0 are not counted."""
        known_B = batch.positions_B >= 0
        position_B = np.clip(batch.positions_B, 0, POSITIONS - 1)
        weights_B = inverse_B * known_B * (batch.tasks_B == 0)
        for total_K, values_B in ((self._clicks_K, batch.labels_B), (self._shown_K, batch.counted_B)):
            total_K *= _DECAY
            total_K += np.bincount(position_B, weights_B * values_B, POSITIONS)
        examined_B = np.where(known_B, self.examination[position_B], 1.0)
        return replace(batch, labels_B=(batch.labels_B / examined_B).astype(np.float32))

    def state(self) -> dict[str, torch.Tensor]:
        arrays = {"weights": self._weights, "clicks": self._clicks_K, "shown": self._shown_K, "counts": self._counts}
        return {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        if state:
            self._weights, self._clicks_K, self._shown_K, self._counts = (
                state[name].numpy().copy() for name in ("weights", "clicks", "shown", "counts")
            )
