"""Numeric fields to zero mean and unit variance: the same code for training and for serving.

Shape suffixes: B rows, N numeric fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streaming.encode.feature_spec import Field

CLIP = 10.0
"""In standard deviations: what lies further from the mean counts as this far away."""
_CONSTANT = 1e-6
"""A standard deviation below this share of the mean is rounding: the field is constant."""

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.float32]


class Scaling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Constants of each numeric field, in the order of the specification: (x - mean) / scale, within +-limit.

    >>> Scaling([5.0], [2.0], [10.0]).apply(np.array([[9.0], [np.nan], [1e15]], np.float32)).tolist()
    [[2.0], [0.0], [10.0]]
    """

    means: list[float]
    scales: list[float]
    limits: list[float]

    def apply(self, numeric_BN: Numbers, first: int = 0) -> Numbers:
        """Scaled numbers; a missing one (NaN) becomes 0, which is the mean. `first` is the number of the first field.

        Every result is finite if `numeric_BN` has no infinities.
        """
        some = slice(first, first + numeric_BN.shape[1])
        scaled_BN = (numeric_BN - np.array(self.means[some])) / np.array(self.scales[some])
        limits_N = np.array(self.limits[some])
        bounded_BN = np.clip(scaled_BN, -limits_N, limits_N)
        return np.where(np.isnan(bounded_BN), 0.0, bounded_BN).astype(np.float32)


class RunningMoments:
    """Count, mean and sum of squared deviations of each numeric field over a stream (Chan et al. 1979, merged).

    Missing numbers do not count. A number that lies more than `CLIP` standard deviations from the mean so far counts
    as if it were that far away, so that a few absurd numbers do not make all others equal.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._standard_N = np.array([field.scale == "standard" for field in fields], np.bool_)
        self._count_N, self._mean_N, self._deviations_N = np.zeros((3, len(fields)))

    def add(self, numeric_BN: Numbers) -> None:
        """Count these rows, which have no infinities."""
        if not self._standard_N.any():
            return
        values_BN = np.clip(numeric_BN.astype(np.float64), *self._bounds(numeric_BN))
        present_BN = ~np.isnan(values_BN)
        count_N = present_BN.sum(0)
        mean_N = np.where(present_BN, values_BN, 0).sum(0) / np.maximum(count_N, 1)
        deviations_N = np.where(present_BN, values_BN - mean_N, 0)
        total_N = self._count_N + count_N
        share_N = count_N / np.maximum(total_N, 1)
        apart_N = mean_N - self._mean_N
        self._deviations_N += np.square(deviations_N).sum(0) + apart_N**2 * self._count_N * share_N
        self._mean_N += apart_N * share_N
        self._count_N = total_N

    def scaling(self) -> Scaling:
        """The constants as of now; a field that was constant so far, or never there, is only shifted."""
        deviation_N = self._deviation()
        varies_N = self._standard_N & (deviation_N > _CONSTANT * np.abs(self._mean_N))
        return Scaling(
            np.where(self._standard_N, self._mean_N, 0.0).tolist(),
            np.where(varies_N, deviation_N, 1.0).tolist(),
            np.where(self._standard_N, CLIP, np.finfo(np.float32).max).tolist(),
        )

    def state(self) -> dict[str, Floats]:
        return {"count": self._count_N, "mean": self._mean_N, "deviations": self._deviations_N}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Restore what `state` returned."""
        self._count_N, self._mean_N, self._deviations_N = (
            np.array(state[name], np.float64) for name in ("count", "mean", "deviations")
        )

    def _deviation(self) -> Floats:
        deviation_N: Floats = np.sqrt(self._deviations_N / np.maximum(self._count_N, 1))
        return deviation_N

    def _bounds(self, numeric_BN: Numbers) -> tuple[Floats, Floats]:
        """Beyond which numbers are clipped; infinite where nothing is known of the spread."""
        centre_N, reach_N = self._mean_N.copy(), CLIP * self._deviation()
        for n in np.flatnonzero(self._count_N == 0).tolist():
            column_B = numeric_BN[:, n][~np.isnan(numeric_BN[:, n])]
            if len(column_B):
                low, centre_N[n], high = np.quantile(column_B.astype(np.float64), (0.05, 0.5, 0.95))
                reach_N[n] = CLIP * (high - low)
        reach_N[reach_N <= 0] = np.inf
        return centre_N - reach_N, centre_N + reach_N
