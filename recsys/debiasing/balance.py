r"""Weights that balance kernel functions between observed and all pairs, and no more than that.

The balanced weights of Li et al. (ICLR 2024), with one two-sided hinge for each anchor:

min over weights q (q >= 0, sum q = 1):  sum q log(q / q0) + gamma sum_j max(0, |sum q h_j - t_j| - C)

for kernel functions h_j(x) = k(x, a_j) at anchors a_j, their means t_j over all pairs, and base weights q0, such as
inverse propensities. It is convex; by duality the weights are q ~ q0 exp(lambda (h - t)), where lambda minimises

log sum q0 exp(lambda (h - t)) + C |lambda|_1,  |lambda_j| <= gamma.

So gamma = 0 leaves the base weights as they are. Each h_j is scaled by its deviation over observed pairs, so that C and
all gaps are in units of it. Shape suffixes: R observed pairs, J anchors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from recsys.debiasing.feedback import Floats
from recsys.errors import InvalidValueError
from recsys.off_policy.overlap import effective_sample_size


@dataclass(frozen=True, slots=True)
class Balancing:
    """`gamma` bounds the multipliers, `tolerance` is C, `max_weight` cuts weights (their mean is 1)."""

    gamma: float = 1.0
    tolerance: float = 0.01
    max_weight: float = 20.0

    def __post_init__(self) -> None:
        if self.gamma < 0 or self.tolerance < 0:
            raise InvalidValueError("gamma and tolerance must not be negative")
        if not self.max_weight > 1:
            raise InvalidValueError(f"max_weight is {self.max_weight}: weights have mean 1, so it must be above 1")


@dataclass(frozen=True, slots=True, eq=False)
class BalancedWeights:
    """Weights [R] of mean 1; gaps [J] in deviations, before (base weights) and after; how many weights were cut.

    Before any is cut, a weight is its base weight, of mean 1, times exp(multipliers (h - t) / deviations - log_total).
    """

    weights_R: Floats
    multipliers_J: Floats
    deviations_J: Floats
    log_total: float
    before_J: Floats
    after_J: Floats
    clipped: int

    @property
    def effective_sample_size(self) -> float:
        return effective_sample_size(self.weights_R)


def imbalance(kernel_RJ: Floats, target_J: Floats, weights_R: Floats) -> Floats:
    """Weighted mean of each kernel function minus its target, in its deviations, [J]."""
    gaps_J: Floats = (weights_R @ kernel_RJ / weights_R.sum() - target_J) / _deviations(kernel_RJ)
    return gaps_J


def balance(kernel_RJ: Floats, target_J: Floats, base_R: Floats, how: Balancing = Balancing()) -> BalancedWeights:
    """Weights near `base_R` that balance the columns of `kernel_RJ` to `target_J`.

    Weights above `how.max_weight` are cut to it, and all are scaled to mean 1 again. Raises InvalidValueError for base
    weights that are not positive, or kernel values that are not finite.
    """
    if not (np.isfinite(base_R).all() and (base_R > 0).all()):
        raise InvalidValueError("base weights must be finite and positive")
    if not (np.isfinite(kernel_RJ).all() and np.isfinite(target_J).all()):
        raise InvalidValueError("kernel values must be finite")
    deviations_J = _deviations(kernel_RJ)
    centred_RJ = (kernel_RJ - target_J) / deviations_J
    log_base_R = np.log(base_R / base_R.sum())
    lambda_J = _multipliers(centred_RJ, log_base_R, how)
    log_R = log_base_R + centred_RJ @ lambda_J
    log_total = float(logsumexp(log_R))
    weights_R = np.exp(log_R - log_total) * len(base_R)
    over_R = weights_R > how.max_weight
    cut_R = np.minimum(weights_R, how.max_weight)
    weights_R = cut_R / cut_R.mean()
    before_J, after_J = (w_R @ centred_RJ / w_R.sum() for w_R in (base_R, weights_R))
    return BalancedWeights(weights_R, lambda_J, deviations_J, log_total, before_J, after_J, int(over_R.sum()))


def _multipliers(centred_RJ: Floats, log_base_R: Floats, how: Balancing) -> Floats:
    anchors = centred_RJ.shape[1]
    if how.gamma == 0 or not anchors:
        return np.zeros(anchors)

    def dual(parts: Floats) -> tuple[float, Floats]:
        weights_R = log_base_R + centred_RJ @ (parts[:anchors] - parts[anchors:])
        largest = weights_R.max()
        weights_R -= largest
        np.exp(weights_R, out=weights_R)  # in place: of millions of pairs a new array costs as much as what is in it
        total = weights_R.sum()
        gap_J = weights_R @ centred_RJ / total
        value = largest + np.log(total) + how.tolerance * parts.sum()
        return float(value), np.concatenate([gap_J, -gap_J]) + how.tolerance

    start = np.zeros(2 * anchors)
    found = minimize(dual, start, jac=True, method="L-BFGS-B", bounds=[(0, how.gamma)] * len(start))
    lambda_J: Floats = found.x[:anchors] - found.x[anchors:]
    return lambda_J


def _deviations(kernel_RJ: Floats) -> Floats:
    """What gaps are measured in [J]; 1 for a constant function."""
    sd_J: Floats = kernel_RJ.std(0)
    return np.where(sd_J > 0, sd_J, 1.0)
