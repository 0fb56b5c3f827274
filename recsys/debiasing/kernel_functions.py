"""Universal kernels on covariates scaled to [0, 1]. Shape suffixes: N rows, F covariates, J anchors."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist, pdist

from recsys.debiasing.feedback import Floats
from recsys.errors import InvalidValueError

KernelName = Literal["gaussian", "exponential"]


class MinMax:
    """Scales each covariate to [0, 1] by what it was fitted on; values outside are cut, constants become 0.

    >>> MinMax(np.array([[0.0, 5.0], [4.0, 5.0]]))(np.array([[1.0, 5.0], [9.0, 7.0]]))
    array([[0.25, 0.  ],
           [1.  , 0.  ]])
    """

    def __init__(self, rows_NF: Floats) -> None:
        self._bounds = rows_NF.min(0), rows_NF.max(0)

    def __call__(self, rows_NF: Floats) -> Floats:
        return scaled(rows_NF, *self._bounds)


def scaled(rows_NF: Floats, lows_F: Floats, highs_F: Floats) -> Floats:
    """As `MinMax`, by the bounds themselves."""
    range_F = highs_F - lows_F
    scale_F = np.divide(1.0, range_F, out=np.zeros_like(range_F), where=range_F > 0)
    scaled_NF: Floats = np.clip((rows_NF - lows_F) * scale_F, 0, 1)
    return scaled_NF


def bandwidth(rows_NF: Floats, rng: np.random.Generator, sample: int = 500) -> float:
    """The median distance of two different rows, over a sample of rows (the median heuristic).

    Raises InvalidValueError if all rows are equal.
    """
    chosen = rng.choice(len(rows_NF), min(sample, len(rows_NF)), replace=False)
    distances = pdist(rows_NF[chosen])
    distances = distances[distances > 0]
    if not len(distances):
        raise InvalidValueError("all covariates are equal: there is nothing to balance")
    return float(np.median(distances))


class Kernel:
    """k(x, y) = exp(-|x - y|^2 / (2 s^2)) (gaussian) or exp(-|x - y| / s) (exponential), s the bandwidth.

    >>> Kernel("gaussian", 1.0)(np.array([[0.0], [1.0]]), np.array([[0.0]])).round(4)
    array([[1.    ],
           [0.6065]])
    """

    def __init__(self, name: KernelName, bandwidth: float) -> None:
        if name not in ("gaussian", "exponential"):
            raise InvalidValueError(f"there is no kernel {name!r}: write gaussian or exponential")
        if not bandwidth > 0:
            raise InvalidValueError(f"the bandwidth is {bandwidth}: it must be positive")
        self._gaussian = name == "gaussian"
        self._bandwidth = bandwidth

    def __call__(self, rows_NF: Floats, anchors_JF: Floats) -> Floats:
        """[N, J]."""
        return self.of_squares(cdist(rows_NF, anchors_JF, "sqeuclidean"))

    def of_squares(self, squares_NJ: Floats) -> Floats:
        """[N, J], of squared distances."""
        if self._gaussian:
            exponents_NJ = squares_NJ / (-2 * self._bandwidth**2)
        else:
            exponents_NJ = np.sqrt(squares_NJ) / -self._bandwidth
        values_NJ: Floats = np.exp(exponents_NJ)
        return values_NJ


def centres(rows_NF: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Fixed anchors [J, F]: centres of k-means, at most `count`; empty clusters are left out."""
    found_JF, of_N = kmeans2(rows_NF, min(count, len(np.unique(rows_NF, axis=0))), minit="++", seed=rng, missing="warn")
    kept_JF: Floats = found_JF[np.unique(of_N)]
    return kept_JF
