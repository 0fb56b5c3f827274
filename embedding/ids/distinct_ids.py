"""The distinct ids of a call. Suffixes: N ids of the call, U distinct ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedding.kernels import dedup
from embedding.store import Ids, Index


@dataclass(frozen=True, slots=True)
class DistinctIds:
    """Distinct ids in order of appearance: ids_N[i] == unique_U[inverse_N[i]].

    >>> distinct = Deduplicator().distinct(np.array([7, 8, 7], np.uint64))
    >>> distinct.unique_U.tolist(), distinct.inverse_N.tolist(), distinct.counts_U.tolist()
    ([7, 8], [0, 1, 0], [2, 1])
    """

    unique_U: Ids
    inverse_N: Index
    counts_U: Index

    def groups(self) -> tuple[Index, Index]:
        """(start [U + 1], members [N]): the positions of distinct id u are members[start[u] : start[u + 1]]."""
        start = np.empty(len(self.unique_U) + 1, np.int32)
        members_N = np.empty(len(self.inverse_N), np.int32)
        dedup.group(self.inverse_N, self.counts_U, start, members_N)
        return start, members_N


class Deduplicator:
    """Finds distinct ids, with a hash table that is reused by later calls. Not thread-safe.

    >>> Deduplicator().distinct(np.array([7, 8, 7], np.uint64)).counts_U.tolist()
    [2, 1]
    """

    def __init__(self) -> None:
        self._slots = np.zeros(1 << 11, np.uint64)
        self._call = 0  # marks the slots of this call, so that they need not be cleared before the next

    def distinct(self, ids_N: Ids) -> DistinctIds:
        """The distinct ids of a call."""
        n = len(ids_N)
        if len(self._slots) < 2 * n:
            self._slots = np.zeros(1 << (2 * n - 1).bit_length(), np.uint64)
        self._call += 1
        if self._call == 1 << 16:
            self._slots[:], self._call = 0, 1
        unique_N, inverse_N, counts_N = np.empty(n, np.uint64), np.empty(n, np.int32), np.empty(n, np.int32)
        u = dedup.dedup(ids_N, self._slots, np.uint64(self._call), unique_N, inverse_N, counts_N)
        return DistinctIds(unique_N[:u], inverse_N, counts_N[:u])
