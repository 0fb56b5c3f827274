"""Factors by which rows weigh as pairs drawn at random do, in the mean of kernel functions.

Shape suffixes: R rows, S sampled pairs, K candidate functions, J chosen ones, C and N as in `covariates`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import numpy.typing as npt

from recsys.debiasing.anchors import Choice, adaptive_anchors, random_anchors, worst_anchors
from recsys.debiasing.balance import BalancedWeights, Balancing, balance
from recsys.debiasing.kernel_functions import Kernel, KernelName
from recsys.training.debiasing.covariates import Covariates, Floats, Order, SquaredDistances

_CANDIDATES = 4
"""For each function that is balanced."""
_SAMPLE = 500
"""Fewest pairs that the median distance is taken from."""


@dataclass(frozen=True, slots=True)
class KernelBalancing:
    """Which functions are balanced, how many of them, and how near (see `Balancing`)."""

    anchors: Choice = "worst"
    kernel: KernelName = "gaussian"
    functions: int = 16
    how: Balancing = field(default_factory=Balancing)

    def numbers(self) -> Floats:
        """All of it, to tell by whether two are equal."""
        names = [*get_args(Choice), *get_args(KernelName)]
        chosen = names.index(self.anchors), names.index(self.kernel), self.functions
        return np.array([*chosen, self.how.gamma, self.how.tolerance, self.how.max_weight])


@dataclass(frozen=True, slots=True, eq=False)
class FoundWeights:
    r"""The factor of a row with covariates x: exp(sum_j m_j (k(x, a_j) - t_j) / sd_j) / Z, at most `most`.

    Everything is an array, a number one of shape [1]. `figures` are, of the rows that it was found from, the largest
    gap before and after in deviations, the effective sample size over their number, and the share that was cut.
    """

    codes_JC: npt.NDArray[np.int64]
    numbers_JN: Floats
    means_N: Floats
    lows_N: Floats
    highs_N: Floats
    bandwidth: Floats
    targets_J: Floats
    deviations_J: Floats
    multipliers_J: Floats
    log_total: Floats
    figures: Floats

    @classmethod
    def none(cls, codes: int, numbers: int) -> FoundWeights:
        """All factors are 1."""
        zeros_N, empty_J, one = np.zeros(numbers), np.zeros(0), np.ones(1)
        anchors = np.zeros((0, codes), np.int64), np.zeros((0, numbers))
        return cls(
            *anchors, zeros_N, zeros_N, zeros_N, one, empty_J, empty_J, empty_J, 0 * one, np.array([0, 0, 1, 0.0])
        )

    def factors(self, rows: Covariates, options: KernelBalancing) -> Floats:
        """[R], of mean about 1 with the weights and rows that this was found from."""
        distances = SquaredDistances(self.means_N, self.lows_N, self.highs_N)
        squares_RJ = distances(rows, Covariates(self.codes_JC, self.numbers_JN))
        kernel_RJ = Kernel(options.kernel, float(self.bandwidth[0])).of_squares(squares_RJ)
        log_R = (kernel_RJ - self.targets_J) / self.deviations_J @ self.multipliers_J - self.log_total
        factors_R: Floats = np.exp(np.minimum(log_R, np.log(options.how.max_weight)))
        return factors_R


def find(
    rows: Covariates,
    pairs: Covariates,
    base_R: Floats,
    labels_R: Floats,
    options: KernelBalancing,
    rng: np.random.Generator,
) -> FoundWeights:
    """What balances `rows`, of weights `base_R`, to `pairs`.

    Without two different pairs there is nothing to balance, and all factors are 1. Raises InvalidValueError for weights
    that are not positive.
    """
    distances = SquaredDistances.fitted(rows.followed_by(pairs))
    most = _CANDIDATES * options.functions
    sample = pairs.take(rng.permutation(len(pairs))[: max(_SAMPLE, most)])
    squares_SS = distances(sample, sample)
    candidates = sample.take(_distinct(squares_SS)[:most])
    if len(candidates) < 2:
        return FoundWeights.none(rows.codes_RC.shape[1], rows.numbers_RN.shape[1])
    bandwidth = float(np.sqrt(np.median(squares_SS[squares_SS > 0])))
    kernel = Kernel(options.kernel, bandwidth)
    kernel_RK = kernel.of_squares(distances(rows, candidates))
    target_K = kernel.of_squares(distances(pairs, candidates)).mean(0)
    chosen_J = _chosen(kernel_RK, target_K, base_R, labels_R, options, rng)
    anchors, targets_J = candidates.take(chosen_J), target_K[chosen_J]
    found = balance(kernel_RK[:, chosen_J], targets_J, base_R, options.how)
    bounds = distances.means_N, distances.lows_N, distances.highs_N
    solved = targets_J, found.deviations_J, found.multipliers_J, np.array([found.log_total])
    return FoundWeights(anchors.codes_RC, anchors.numbers_RN, *bounds, np.array([bandwidth]), *solved, _figures(found))


def _distinct(squares_SS: Floats) -> Order:
    """The first of equal rows: equal functions would be chosen together, and others left out."""
    return np.flatnonzero((squares_SS == 0).argmax(1) == np.arange(len(squares_SS)))


def _chosen(
    kernel_RK: Floats,
    target_K: Floats,
    base_R: Floats,
    labels_R: Floats,
    options: KernelBalancing,
    rng: np.random.Generator,
) -> Order:
    if options.anchors == "random":
        return random_anchors(len(target_K), options.functions, rng)
    if options.anchors == "worst":
        return worst_anchors(kernel_RK, target_K, base_R, options.how, options.functions)
    # The loss of a constant score is a line in the label, so what explains the one explains the other.
    centred_R = labels_R - np.average(labels_R, weights=base_R)
    return adaptive_anchors(kernel_RK, centred_R, base_R, options.functions)


def _figures(found: BalancedWeights) -> Floats:
    rows = len(found.weights_R)
    gaps = np.abs(found.before_J).max(), np.abs(found.after_J).max()
    return np.array([*gaps, found.effective_sample_size / rows, found.clipped / rows])
