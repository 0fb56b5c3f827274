"""Weights from the propensities that serving logs, and from kernel functions that they leave unbalanced.

Shape suffixes: B training rows, K positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from recsys.errors import InvalidValueError
from recsys.training.dense.model import under
from streaming.encode.batch import TrainingBatch

if TYPE_CHECKING:
    from recsys.training.debiasing.kernel_balance import KernelBalance

POSITIONS = 64
"""Positions with an examination rate of their own; those below share the last one."""

Floats = npt.NDArray[np.float64]

_BALANCE = "balance."
_DECAY = 0.999
"""Of all running sums, for each step."""
_PRIOR = 100.0
"""Rows at the mean rate that each position begins with."""
_LEAST_EXAMINATION = 0.05


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
    Weights of the batch are kept as factors. `balance`, if given, multiplies them by what balances kernel functions.
    """

    def __init__(self, how: LoggedDebiasing, balance: KernelBalance | None = None) -> None:
        self._how, self.balance = how, balance
        self._weights = np.zeros(2)  # sum of 1 / p, and of rows
        self._clicks_K, self._shown_K = np.zeros(POSITIONS), np.zeros(POSITIONS)
        self._counts = np.zeros(3, np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Rows so far: those with a propensity below 1, those raised to the least one, and those that were certain."""
        return dict(zip(("drawn", "clipped", "certain"), self._counts.tolist(), strict=True))

    @property
    def examination(self) -> Floats:
        """e_k by position [K], at most 1."""
        rate = (self._clicks_K.sum() + 1e-9) / (self._shown_K.sum() + 1e-6)
        rate_K = (self._clicks_K + _PRIOR * rate) / (self._shown_K + _PRIOR)
        examination_K: Floats = np.clip(rate_K / max(rate_K[0], 1e-12), _LEAST_EXAMINATION, 1.0)
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
        factors_B = self._normalised(inverse_B)
        if self.balance is not None:
            factors_B = factors_B * self.balance.factors(batch, factors_B)
        return replace(batch, weights_B=(batch.weights_B * factors_B).astype(np.float32))

    def _normalised(self, inverse_B: Floats) -> Floats:
        if self._how.method == "none":
            return np.ones_like(inverse_B)
        self._weights = self._weights * _DECAY + (inverse_B.sum(), len(inverse_B))
        return inverse_B * self._weights[1] / self._weights[0] if self._how.method == "snips" else inverse_B

    def _examined(self, batch: TrainingBatch, inverse_B: Floats) -> TrainingBatch:
        """With labels over the examination of their positions; rows of `inverse_B` 0 are not counted."""
        known_B = batch.positions_B >= 0
        position_B = np.clip(batch.positions_B, 0, POSITIONS - 1)
        weights_B = inverse_B * known_B * (batch.tasks_B == 0)
        for total_K, values_B in ((self._clicks_K, batch.labels_B), (self._shown_K, batch.counted_B)):
            total_K *= _DECAY
            total_K += np.bincount(position_B, weights_B * values_B, POSITIONS)
        examined_B = np.where(known_B, self.examination[position_B], 1.0)
        return replace(batch, labels_B=(batch.labels_B / examined_B).astype(np.float32))

    @property
    def report(self) -> dict[str, float]:
        """The counts, and with `balance` what was balanced last."""
        return self.counts | ({} if self.balance is None else self.balance.figures)

    def state(self) -> dict[str, torch.Tensor]:
        arrays: dict[str, npt.NDArray[Any]] = {"weights": self._weights, "counts": self._counts}
        arrays |= {"clicks": self._clicks_K, "shown": self._shown_K}
        if self.balance is not None:
            arrays |= {f"{_BALANCE}{name}": values for name, values in self.balance.arrays().items()}
        return {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        if self.balance is not None and (found := under(_BALANCE, state)):
            self.balance.restore(found)
        if state:
            self._weights, self._clicks_K, self._shown_K, self._counts = (
                state[name].numpy().copy() for name in ("weights", "clicks", "shown", "counts")
            )
