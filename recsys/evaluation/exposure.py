"""Which items lists show, over all of them together. Shape suffixes: I items of the catalogue, L lists, K places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Exposure:
    """How often each of `items` was shown, over a stream of lists: 8 bytes an item, however many lists there are.

    Figures are NaN before anything was shown.

    >>> exposure = Exposure(items=4)
    >>> exposure.add(np.array([[0, 1], [0, 2]]))
    >>> exposure.coverage(), exposure.gini(), exposure.novelty(np.array([8, 2, 2, 0]), 8)
    (0.75, 0.375, 1.0)
    """

    def __init__(self, items: int) -> None:
        self.shown_I = np.zeros(items, np.int64)

    def add(self, lists_LK: Ints) -> None:
        """Count the items, by their numbers from 0, of these lists. Raises ValueError for other numbers."""
        if lists_LK.size and not 0 <= lists_LK.min() <= lists_LK.max() < len(self.shown_I):
            raise ValueError(f"items are numbers from 0 to {len(self.shown_I) - 1}")
        self.shown_I += np.bincount(lists_LK.ravel(), minlength=len(self.shown_I))

    def coverage(self) -> float:
        """The share of the catalogue that was shown at all."""
        return float((self.shown_I > 0).mean()) if self.shown_I.any() else float("nan")

    def gini(self) -> float:
        """How unevenly items are shown: 0 if all alike, (I - 1) / I if only one is."""
        total, count = int(self.shown_I.sum()), len(self.shown_I)
        if not total:
            return float("nan")
        rank_I = np.arange(1, count + 1)
        return float((2 * rank_I - count - 1) @ np.sort(self.shown_I) / (count * total))

    def novelty(self, users_I: Ints, users: int) -> float:
        """Mean over what was shown of -log2(share of `users` who had it), in bits; those of nobody count as of one.

        The self-information of Zhou et al. (PNAS 2010): 0 if everybody had everything that is shown.
        """
        bits_I = -np.log2(np.maximum(users_I, 1) / users)
        total = int(self.shown_I.sum())
        return float(self.shown_I @ bits_I / total) if total else float("nan")
