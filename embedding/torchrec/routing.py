"""Ids as they are sent between processes, and the size of buckets. Suffix: N ids."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from embedding.kernels.bits import U64, jit, mix, unmix
from embedding.sharding import bucket_of
from embedding.store import Ids, RowNumbers

MOST_BUCKETS = 1 << 12
"""How many are tried to tell the buckets of a checkpoint."""


@jit
def _mix_all(ids_N: Any, mixed_N: Any) -> None:
    for i in range(len(ids_N)):
        mixed_N[i] = mix(ids_N[i])


@jit
def _unmix_all(mixed_N: Any, ids_N: Any) -> None:
    for i in range(len(mixed_N)):
        ids_N[i] = unmix(mixed_N[i])


def scatter(ids_N: Ids) -> Ids:
    """Mixed ids: TorchRec sends id % buckets to a bucket, which spreads only well-mixed bits evenly.

    >>> ids = np.arange(4, dtype=np.uint64) << np.uint64(32)
    >>> (scatter(ids) % 4).tolist(), restore(scatter(ids)).tolist() == ids.tolist()
    ([3, 0, 2, 3], True)
    """
    mixed_N = np.empty_like(ids_N)
    _mix_all(ids_N, mixed_N)
    return mixed_N


def restore(mixed_N: Ids) -> Ids:
    """The inverse of `scatter`."""
    ids_N = np.empty_like(mixed_N)
    _unmix_all(mixed_N, ids_N)
    return ids_N


@jit
def _divide(mixed_N: Any, buckets: Any, first: Any, ends_B: Any, places_N: Any, ids_N: Any) -> None:
    for i in range(len(mixed_N)):
        ends_B[np.int64(mixed_N[i] % U64(buckets)) - first] += 1
    begin = 0
    for b in range(len(ends_B)):
        ends_B[b], begin = begin, begin + ends_B[b]
    for i in range(len(mixed_N)):
        b = np.int64(mixed_N[i] % U64(buckets)) - first
        places_N[ends_B[b]], ids_N[ends_B[b]] = i, unmix(mixed_N[i])
        ends_B[b] += 1


def divide(mixed_N: Ids, buckets: int, first: int, count: int) -> list[tuple[RowNumbers, Ids]]:
    """The places and the restored ids of each of the buckets `first` to `first + count`, to which all ids belong.

    >>> [places.tolist() for places, _ in divide(scatter(np.arange(4, dtype=np.uint64)), 2, first=0, count=2)]
    [[2], [0, 1, 3]]
    """
    ends_B = np.zeros(count, np.int64)
    places_N, ids_N = np.empty(len(mixed_N), np.int64), np.empty_like(mixed_N)
    _divide(mixed_N, buckets, first, ends_B, places_N, ids_N)
    begins_B = [0, *ends_B[:-1].tolist()]
    return [(places_N[b:e], ids_N[b:e]) for b, e in zip(begins_B, ends_B.tolist(), strict=True)]


def in_their_buckets(ids_U: Ids, rows_U: RowNumbers, buckets: int, rows: int) -> bool:
    """Whether each id lies in its bucket, of the `buckets` equal ones that `rows` rows divide into.

    >>> in_their_buckets(np.array([0, 1], np.uint64), np.array([3, 2]), buckets=2, rows=4)
    True
    >>> in_their_buckets(np.array([0, 1], np.uint64), np.array([3, 2]), buckets=4, rows=4)
    False
    """
    return bool((bucket_of(scatter(ids_U), buckets) == rows_U // (rows // buckets)).all())


def buckets_of(ids_U: Ids, rows_U: RowNumbers, rows: int) -> int:
    """The number of buckets by which ids were given these rows: the largest that fits, since one always does."""
    divisors = (n for n in range(min(rows, MOST_BUCKETS), 0, -1) if rows % n == 0)
    return next(n for n in divisors if in_their_buckets(ids_U, rows_U, n, rows))


def bucket_rows(capacity: int, buckets: int) -> int:
    """Rows per bucket so that `capacity` ids fit with near certainty: the mean and six standard deviations.

    >>> bucket_rows(1_000_000, 1), bucket_rows(1_000_000, 4), bucket_rows(8, 4)
    (1000000, 253008, 8)
    """
    mean = capacity / buckets
    return capacity if buckets == 1 else min(capacity, math.ceil(mean + 6 * math.sqrt(mean) + 8))
