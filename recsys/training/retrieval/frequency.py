"""How often an item is in a batch, estimated over the stream.

Shape suffixes: U distinct ids, K hash functions, H buckets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix

Ids = npt.NDArray[np.uint64]
Doubles = npt.NDArray[np.float64]


class FrequencyEstimate:
    r"""The probability that an item is in a batch (Yi et al., RecSys 2019, algorithms 2 and 3).

    When an item is in batch t, its mean gap becomes gap <- (1 - rate) gap + rate (t - last), and last <- t; its
    probability is 1 / gap. The first gap is t, counted from the beginning. Items share buckets: each has one in each of
    `hashes` arrays, and the longest of its gaps counts, because another item in a bucket only shortens it.

    >>> estimate = FrequencyEstimate(buckets=64)
    >>> for _ in range(200): estimate.add(np.array([7], np.uint64))
    >>> estimate.probability(np.array([7], np.uint64)).round(3).tolist()
    [1.0]
    """

    def __init__(self, buckets: int = 1 << 16, hashes: int = 2, rate: float = 0.05) -> None:
        self._rate = rate
        self.batches = 0
        self.last_KH = np.zeros((hashes, buckets), np.int64)
        self.gap_KH = np.zeros((hashes, buckets), np.float64)
        """0 for a bucket without an item."""

    def add(self, ids_U: Ids) -> None:
        """One more batch, with these distinct items."""
        self.batches += 1
        for last_H, gap_H, bucket_U in zip(self.last_KH, self.gap_KH, self._buckets(ids_U), strict=True):
            bucket_V = np.unique(bucket_U)
            new_V = (self.batches - last_H[bucket_V]).astype(np.float64)
            old_V = gap_H[bucket_V]
            gap_H[bucket_V] = np.where(old_V == 0, new_V, (1 - self._rate) * old_V + self._rate * new_V)
            last_H[bucket_V] = self.batches

    def probability(self, ids_U: Ids) -> Doubles:
        """[U], in (0, 1]; an item that was in no batch yet has 1 / (number of batches + 1)."""
        gaps_KU = np.stack([gap_H[bucket_U] for gap_H, bucket_U in zip(self.gap_KH, self._buckets(ids_U), strict=True)])
        longest_U = np.where((gaps_KU == 0).any(0), self.batches + 1.0, gaps_KU.max(0))
        return np.asarray(1 / np.maximum(longest_U, 1.0), np.float64)

    def _buckets(self, ids_U: Ids) -> list[npt.NDArray[np.int64]]:
        hashes, buckets = self.gap_KH.shape
        return [(mix(ids_U + np.uint64(k)) % np.uint64(buckets)).astype(np.int64) for k in range(hashes)]
