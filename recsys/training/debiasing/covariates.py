"""Training rows as kernels compare them.

Shape suffixes: B rows of a batch, R rows, J anchors, C categorical and multi-valued fields, N numeric fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from embedding.hashing import mix
from recsys.debiasing.kernel_functions import scaled
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.feature_spec import FeatureSpec, Field

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Covariates:
    """`codes_RC` are equal where categories or sets of them are; `numbers_RN` are NaN where they are missing."""

    codes_RC: Codes
    numbers_RN: Floats

    def __len__(self) -> int:
        return len(self.codes_RC)

    def take(self, order: Order) -> Covariates:
        return Covariates(self.codes_RC[order], self.numbers_RN[order])

    def beside(self, other: Covariates) -> Covariates:
        """Rows with the fields of both."""
        codes_RC = np.concatenate([self.codes_RC, other.codes_RC], axis=1)
        return Covariates(codes_RC, np.concatenate([self.numbers_RN, other.numbers_RN], axis=1))

    def followed_by(self, other: Covariates) -> Covariates:
        """Rows of both."""
        codes_RC = np.concatenate([self.codes_RC, other.codes_RC])
        return Covariates(codes_RC, np.concatenate([self.numbers_RN, other.numbers_RN]))


class CovariateReader:
    """Some fields of batches. Those that the stream computes for a user and an item together are left out, because
    pairs that were not shown have none."""

    def __init__(self, spec: FeatureSpec, *, of_item: bool) -> None:
        self.sparse = tuple(field for field in spec.sparse if _reads(field, of_item))
        self._columns = [at for at, field in enumerate(spec.numeric) if _reads(field, of_item)]

    @property
    def numbers(self) -> int:
        return len(self._columns)

    def read(self, batch: TrainingBatch) -> Covariates:
        codes = [set_codes(batch.ids[field.name]) for field in self.sparse]
        codes_BC = np.stack(codes, axis=1) if codes else np.zeros((len(batch), 0), np.int64)
        return Covariates(codes_BC, batch.numeric_BN[:, self._columns].astype(np.float64))


def _reads(field: Field, of_item: bool) -> bool:
    return field.of_item == of_item and not field.source.startswith("pair.")


def set_codes(ids: Jagged) -> Codes:
    """[B]: equal for rows with the same ids, in any order."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mix(ids.values), dtype=np.uint64)])
    ends_B = np.cumsum(ids.lengths_B, dtype=np.int64)
    codes_B: Codes = (sums[ends_B] - sums[ends_B - ids.lengths_B]).view(np.int64)
    return codes_B


@dataclass(frozen=True, slots=True, eq=False)
class SquaredDistances:
    r"""sum over categorical fields of [x_c != a_c] + sum over numeric fields of (x_n - a_n)^2.

    Numbers are scaled to [0, 1] by the bounds that they had in the rows that this was fitted on, where a missing one is
    the mean. So a field of either kind adds at most 1.
    """

    means_N: Floats
    lows_N: Floats
    highs_N: Floats

    @classmethod
    def fitted(cls, rows: Covariates) -> Self:
        """Raises ValueError for no rows."""
        known_RN = ~np.isnan(rows.numbers_RN)
        means_N = np.where(known_RN, rows.numbers_RN, 0).sum(0) / np.maximum(known_RN.sum(0), 1)
        filled_RN = np.where(known_RN, rows.numbers_RN, means_N)
        return cls(means_N, filled_RN.min(0), filled_RN.max(0))

    def __call__(self, rows: Covariates, anchors: Covariates) -> Floats:
        """[R, J]."""
        numbers_RN, numbers_JN = self._scaled(rows.numbers_RN), self._scaled(anchors.numbers_RN)
        shape = len(rows), len(anchors)
        squares_RJ: Floats = cdist(numbers_RN, numbers_JN, "sqeuclidean") if numbers_RN.shape[1] else np.zeros(shape)
        for codes_R, codes_J in zip(rows.codes_RC.T, anchors.codes_RC.T, strict=True):
            squares_RJ += codes_R[:, None] != codes_J
        return squares_RJ

    def _scaled(self, numbers_RN: Floats) -> Floats:
        filled_RN = np.where(np.isnan(numbers_RN), self.means_N, numbers_RN)
        return scaled(filled_RN, self.lows_N, self.highs_N)
