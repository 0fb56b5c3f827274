"""Exact search: one product of a matrix and a vector.

Shape suffixes: N vectors, E coordinates, K found, S slots.
"""

from __future__ import annotations

import numpy as np

from serving.index.vector_index import Bits, Floats, Slots


class ExactIndex:
    """A `VectorIndex` that compares the query with every vector; `size` is E.

    >>> index = ExactIndex(2)
    >>> index.put(np.array([0, 3]), np.array([[1, 0], [0, 1]], np.float32))
    >>> index.search(np.array([0.6, 0.8], np.float32), 5, np.array([255], np.uint8))[0].tolist()
    [3, 0]
    """

    def __init__(self, size: int) -> None:
        self._vectors_SE = np.zeros((64, size), np.float32)
        self._held_S = np.zeros(64, np.bool_)
        self._end = 0

    def __len__(self) -> int:
        return int(np.count_nonzero(self._held_S))

    def put(self, slots_N: Slots, vectors_NE: Floats) -> None:
        self._end = max(self._end, int(slots_N.max(initial=-1)) + 1)
        if self._end > len(self._held_S):
            more = max(len(self._held_S), self._end - len(self._held_S))
            self._vectors_SE = np.concatenate([self._vectors_SE, np.zeros((more, vectors_NE.shape[1]), np.float32)])
            self._held_S = np.concatenate([self._held_S, np.zeros(more, np.bool_)])
        self._vectors_SE[slots_N] = vectors_NE
        self._held_S[slots_N] = True

    def remove(self, slots_N: Slots) -> None:
        self._held_S[slots_N[slots_N < len(self._held_S)]] = False

    def search(self, query_E: Floats, count: int, allowed: Bits) -> tuple[Slots, Floats]:
        end = min(self._end, 8 * len(allowed))
        allowed_S = np.unpackbits(allowed, count=end, bitorder="little").view(np.bool_) & self._held_S[:end]
        scores_S = self._vectors_SE[:end] @ query_E
        scores_S[~allowed_S] = -np.inf
        count = min(count, int(np.count_nonzero(allowed_S)))
        best_K = np.argpartition(-scores_S, count - 1)[:count] if 0 < count < end else np.arange(end)
        best_K = best_K[np.argsort(-scores_S[best_K], kind="stable")][:count]
        return best_K.astype(np.int64), scores_S[best_K]

    def vectors(self, slots_N: Slots) -> Floats:
        return self._vectors_SE[slots_N]

    def contents(self) -> tuple[Slots, Floats]:
        slots_N = np.flatnonzero(self._held_S)
        return slots_N.astype(np.int64), self._vectors_SE[slots_N]
