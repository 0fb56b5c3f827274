"""Counts of candidates by bucket, which go with their buckets to other processes. Suffix: N ids without a row."""

from __future__ import annotations

import numpy as np

from embedding.hashing import mix
from embedding.ids.admission import Counts, Mask, PolicyState
from embedding.ids.counting_filter import CountingFilter
from embedding.sharding import bucket_of
from embedding.store import Ids, RowNumbers


class BucketCounts:
    """The admission policy `count` with a filter of `candidates` for each bucket from `first` on, `owned` of `buckets`.

    `candidates` is a multiple of 16, or the filters have up to 15 more.

    >>> policy = BucketCounts(threshold=2, candidates=16, buckets=2, first=0, owned=2)
    >>> one = np.array([5, 6], np.uint64), np.array([1, 2], np.int32)
    >>> policy.admit(*one, step=0).tolist(), policy.admit(*one, step=1).tolist()
    ([False, True], [True, True])
    """

    def __init__(self, threshold: int, candidates: int, buckets: int, first: int, owned: int) -> None:
        self._filters = [CountingFilter(threshold, candidates) for _ in range(owned)]
        self._buckets, self._first = buckets, first

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self._filters)

    def admit(self, ids_N: Ids, counts_N: Counts, step: int) -> Mask:
        admitted_N = np.zeros(len(ids_N), bool)
        for own, at in self._divided(ids_N):
            admitted_N[at] = own.admit(ids_N[at], counts_N[at], step)
        return admitted_N

    def forget(self, ids_N: Ids) -> None:
        for own, at in self._divided(ids_N):
            own.forget(ids_N[at])

    def _divided(self, ids_N: Ids) -> list[tuple[CountingFilter, RowNumbers]]:
        """The filter of each bucket that has any of the ids, and their places."""
        if len(self._filters) == 1:
            return [(self._filters[0], np.arange(len(ids_N)))]
        bucket_N = bucket_of(mix(ids_N), self._buckets) - self._first
        order_N = np.argsort(bucket_N, kind="stable")
        ends_B = np.cumsum(np.bincount(bucket_N, minlength=len(self._filters)))[:-1]
        divided = zip(self._filters, np.split(order_N, ends_B), strict=True)
        return [(own, at) for own, at in divided if len(at)]

    def state(self) -> PolicyState:
        states = [each.state() for each in self._filters]
        return {name: np.concatenate([state[name] for state in states]) for name in ("slots", "forgotten")}

    def restore(self, state: PolicyState) -> None:
        """Restore counts. Those of filters of another size or number are dropped."""
        if "ids" in state or state["slots"].nbytes != self.nbytes:
            return
        slots = state["slots"].reshape(len(self._filters), 1, -1)
        for own, part in zip(self._filters, slots, strict=True):
            own.restore({"slots": part, "forgotten": np.zeros(1, np.int64)})
