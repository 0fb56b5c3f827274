"""Ids as they are sent between processes, and the size of buckets. Suffix: N ids."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from embedding.kernels.bits import jit, mix, unmix
from embedding.store import Ids


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


def bucket_rows(capacity: int, buckets: int) -> int:
    """Rows per bucket so that `capacity` ids fit with near certainty: the mean and six standard deviations.

    >>> bucket_rows(1_000_000, 1), bucket_rows(1_000_000, 4), bucket_rows(8, 4)
    (1000000, 253008, 8)
    """
    mean = capacity / buckets
    return capacity if buckets == 1 else min(capacity, math.ceil(mean + 6 * math.sqrt(mean) + 8))
