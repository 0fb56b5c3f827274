"""How much the fields of an item tell of each other. Shape suffixes: R items, F fields, N numeric fields, W values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from recsys.training.retrieval.item_pool import ItemPool

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
BUCKETS = 10
"""Quantiles that a number is read by."""


def mutual_information(codes_FR: Codes) -> Floats:
    r"""[F, F], in nats, of fields given by the number of their value in each of R items.

    I(f, g) = sum_{a, b} P(a, b) log( P(a, b) / (P(a) P(b)) ), by the shares of items. The diagonal has entropies.

    >>> mutual_information(np.array([[0, 0, 1, 1], [5, 5, 7, 7], [0, 1, 0, 1]])).round(3).tolist()
    [[0.693, 0.693, 0.0], [0.693, 0.693, 0.0], [0.0, 0.0, 0.693]]
    """
    dense_FR = np.stack([np.unique(codes_R, return_inverse=True)[1] for codes_R in codes_FR]).astype(np.int64)
    entropy_F = np.array([_entropy(codes_R) for codes_R in dense_FR])
    found_FF = np.diag(entropy_F)
    for f in range(len(dense_FR)):
        for g in range(f):
            joint = _entropy(dense_FR[f] * (dense_FR[g].max() + 1) + dense_FR[g])
            found_FF[f, g] = found_FF[g, f] = max(entropy_F[f] + entropy_F[g] - joint, 0.0)
    return found_FF


def field_codes(pool: ItemPool, most: int) -> Codes:
    """[F, R] of up to `most` items of `pool`: sparse fields first. A set is one value, a number its quantile."""
    place_R = np.flatnonzero(pool.known_R)[:most]
    codes = [_sets(values_RW[place_R], pool.lengths[name][place_R]) for name, values_RW in pool.values.items()]
    codes += [_quantiles(numbers_R) for numbers_R in pool.numeric_RN[place_R].T]
    return np.stack(codes)


def _sets(values_RW: npt.NDArray[np.uint64], lengths_R: npt.NDArray[np.int32]) -> Codes:
    inside_RW = np.arange(values_RW.shape[1]) < lengths_R[:, None]
    sums_R: Codes = np.where(inside_RW, mix(values_RW), np.uint64(0)).sum(1, dtype=np.uint64).view(np.int64)
    return sums_R


def _quantiles(numbers_R: npt.NDArray[np.float32]) -> Codes:
    """A missing number has a code of its own."""
    present_R = ~np.isnan(numbers_R)
    if not present_R.any():
        return np.zeros(len(numbers_R), np.int64)
    edges = np.quantile(numbers_R[present_R], np.arange(1, BUCKETS) / BUCKETS)
    return np.where(present_R, np.searchsorted(edges, numbers_R, side="right"), BUCKETS).astype(np.int64)


def _entropy(codes_R: Codes) -> float:
    share = np.unique(codes_R, return_counts=True)[1] / len(codes_R)
    return float(-(share * np.log(share)).sum())
