"""Which kernel functions are balanced: random ones, those furthest from balance, those that explain the loss.

All choose among fixed candidates. Shape suffixes: R observed pairs, K candidates, J chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from recsys.debiasing.balance import Balancing, balance
from recsys.debiasing.feedback import Floats, Ints

Choice = Literal["random", "worst", "adaptive"]

_RIDGE = 1e-3
"""Added to the mean square of candidates, which are nearly collinear."""


def chosen_anchors(
    choice: Choice,
    kernel_RK: Floats,
    target_K: Floats,
    base_R: Floats,
    how: Balancing,
    count: int,
    *,
    seed: int,
    errors: Callable[[], Floats],
) -> Ints:
    """`count` candidates as `choice` says; `errors` [R] are asked for where it is `adaptive`."""
    if choice == "random":
        return random_anchors(kernel_RK.shape[1], count, np.random.default_rng(seed))
    if choice == "worst":
        return worst_anchors(kernel_RK, target_K, base_R, how, count)
    return adaptive_anchors(kernel_RK, errors(), base_R, count)


def random_anchors(candidates: int, count: int, rng: np.random.Generator) -> Ints:
    """RKB: any."""
    chosen: Ints = np.sort(rng.choice(candidates, min(count, candidates), replace=False))
    return chosen


def worst_anchors(
    kernel_RK: Floats, target_K: Floats, base_R: Floats, how: Balancing, count: int, rounds: int = 3
) -> Ints:
    """WKB: those with the largest |a_k| in the direction a of the largest imbalance, in turn.

    a maximises (mean_O[w h a] - t a)^2 / mean_O[w (h a)^2], so a ~ (mean_O[w h h'] + ridge)^-1 (mean_O[w h] - t). Each
    round balances what was chosen before and adds the worst of what is left.
    """
    chosen: list[int] = []
    for left in np.array_split(np.arange(min(count, kernel_RK.shape[1])), rounds):
        weights_R = balance(kernel_RK[:, chosen], target_K[chosen], base_R, how).weights_R
        gap_K = weights_R @ kernel_RK / weights_R.sum() - target_K
        order = np.argsort(-np.abs(_solved(kernel_RK, weights_R, gap_K)), kind="stable")
        chosen += [int(k) for k in order if k not in chosen][: len(left)]
    return np.sort(np.array(chosen, np.int64))


def adaptive_anchors(kernel_RK: Floats, error_R: Floats, weights_R: Floats, count: int) -> Ints:
    """AKB: those with the largest coefficients of a weighted ridge regression of the errors (loss, or e - e_hat)."""
    coefficients_K = _solved(kernel_RK, weights_R, (weights_R * error_R) @ kernel_RK / weights_R.sum())
    return np.sort(np.argsort(-np.abs(coefficients_K), kind="stable")[:count])


def _solved(kernel_RK: Floats, weights_R: Floats, right_K: Floats) -> Floats:
    gram_KK = (kernel_RK * (weights_R / weights_R.sum())[:, None]).T @ kernel_RK
    solved_K: Floats = np.linalg.solve(gram_KK + _RIDGE * np.eye(len(gram_KK)), right_K)
    return solved_K
