"""How good lists of items are, each by the items that are relevant for it. Full lists: no item is sampled.

Each figure is one of each list, so that means, slices and streams are of the same code. Shape suffixes: L lists, K
places, first place first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Hits = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
PAGE = 10
"""Items that a page of the RecSys Challenge 2018 shows."""


def recall(hits_LK: Hits, relevant_L: Ints) -> Floats:
    """Hits / min(K, relevant items).

    >>> recall(np.array([[True, False]]), np.array([3])).tolist()
    [0.5]
    """
    return np.asarray(hits_LK.sum(1) / np.minimum(hits_LK.shape[1], relevant_L))


def ndcg(hits_LK: Hits, relevant_L: Ints) -> Floats:
    """Sum over hits of 1 / log2(place + 1), over that of the best list (Järvelin and Kekäläinen, TOIS 2002).

    >>> ndcg(np.array([[False, True]]), np.array([1])).round(4).tolist()
    [0.6309]
    """
    discount_K = 1 / np.log2(np.arange(hits_LK.shape[1]) + 2)
    most_L = np.minimum(hits_LK.shape[1], relevant_L)
    return np.asarray(hits_LK @ discount_K / discount_K.cumsum()[most_L - 1])


def average_precision(hits_LK: Hits, relevant_L: Ints) -> Floats:
    """Sum over hits of the precision down to them / min(K, relevant items).

    >>> average_precision(np.array([[False, True]]), np.array([1])).tolist()
    [0.5]
    """
    precision_LK = hits_LK.cumsum(1) / np.arange(1, hits_LK.shape[1] + 1)
    return np.asarray((precision_LK * hits_LK).sum(1) / np.minimum(hits_LK.shape[1], relevant_L))


def reciprocal_rank(hits_LK: Hits, relevant_L: Ints) -> Floats:  # noqa: ARG001  a figure as the others
    """1 / place of the first hit; 0 without one.

    >>> reciprocal_rank(np.array([[False, True], [False, False]]), np.array([1, 1])).tolist()
    [0.5, 0.0]
    """
    return np.asarray(np.where(hits_LK.any(1), 1 / (hits_LK.argmax(1) + 1), 0.0), np.float64)


def r_precision(hits_LK: Hits, relevant_L: Ints) -> Floats:
    """Hits in the first R places / R, for R relevant items (RecSys Challenge 2018). Lists should have R places.

    >>> r_precision(np.array([[True, False, True]]), np.array([2])).tolist()
    [0.5]
    """
    counted_LK = np.arange(hits_LK.shape[1]) < relevant_L[:, None]
    return np.asarray((hits_LK & counted_LK).sum(1) / relevant_L)


def clicks(hits_LK: Hits, relevant_L: Ints) -> Floats:  # noqa: ARG001
    """Pages of ten to turn until the first hit (RecSys Challenge 2018); a page more than there are without one.

    >>> clicks(np.array([[False] * 12 + [True], [False] * 13]), np.array([1, 1])).tolist()
    [1.0, 3.0]
    """
    pages = -(-hits_LK.shape[1] // PAGE) + 1
    return np.asarray(np.where(hits_LK.any(1), hits_LK.argmax(1) // PAGE, pages), np.float64)


FIGURES: dict[str, Callable[[Hits, Ints], Floats]] = {
    "recall": recall,
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "r_precision": r_precision,
    "clicks": clicks,
}
"""By name. Relevant items [L] of each list are at least one."""


class ListMeans:
    """Means of `FIGURES` over a stream of lists of `places` items, in memory that does not grow.

    Lists without a relevant item are left out. Parts of a stream may be merged.

    >>> means = ListMeans(places=2)
    >>> means.add(np.array([[False, True], [True, False]]), np.array([1, 2]))
    >>> means.figures()["mrr"], means.lists
    (0.75, 2)
    """

    def __init__(self, places: int) -> None:
        self.places, self.lists = places, 0
        self._sums = dict.fromkeys(FIGURES, 0.0)

    def add(self, hits_LK: Hits, relevant_L: Ints) -> None:
        """Count lists. Raises ValueError for lists of another length, or with more hits than relevant items."""
        if hits_LK.ndim != 2 or hits_LK.shape != (len(relevant_L), self.places):
            raise ValueError(f"one count of relevant items for each list of {self.places}: got {hits_LK.shape}")
        if (hits_LK.sum(1) > relevant_L).any():
            raise ValueError("a list has more hits than there are relevant items")
        some_L = relevant_L > 0
        hits_LK, relevant_L = hits_LK[some_L], relevant_L[some_L]
        self.lists += len(hits_LK)
        for name, figure in FIGURES.items():
            self._sums[name] += float(figure(hits_LK, relevant_L).sum())

    def merge(self, other: ListMeans) -> None:
        """Count what the other has counted. Raises ValueError for lists of another length."""
        if other.places != self.places:
            raise ValueError(f"lists have {other.places} places, these have {self.places}")
        self.lists += other.lists
        for name, value in other._sums.items():
            self._sums[name] += value

    def figures(self) -> dict[str, float]:
        """By name; NaN without lists."""
        return {name: value / self.lists if self.lists else float("nan") for name, value in self._sums.items()}
