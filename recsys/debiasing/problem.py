"""What the methods learn from: observed pairs, base weights and kernel functions. Shape suffixes as in the package."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recsys.debiasing.feedback import ExplorationSlice, Floats, Ints, SelfSelected
from recsys.debiasing.kernel_functions import Kernel, KernelName, MinMax, bandwidth, centres
from recsys.debiasing.methods import PropensityName
from recsys.debiasing.propensities import PropensityRule, logistic, naive_bayes
from recsys.errors import InvalidValueError

RULE = PropensityRule()
"""For estimated propensities."""

CANDIDATES = 64
"""Kernel functions to choose from."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Self-selected feedback, covariates of users and items; if any, explored pairs and logged propensities [R]."""

    seen: SelfSelected
    users_UF: Floats
    items_IF: Floats
    explored: ExplorationSlice | None = None
    logged_R: Floats | None = None
    rule: PropensityRule = RULE
    _weights: dict[PropensityName, Floats] = field(default_factory=dict, init=False)
    _kernels: dict[tuple[KernelName, int], tuple[Floats, Floats]] = field(default_factory=dict, init=False)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.users_UF), len(self.items_IF)

    @property
    def pairs(self) -> int:
        return len(self.users_UF) * len(self.items_IF)

    def covariates(self, users_N: Ints, items_N: Ints) -> Floats:
        """[N, F]: those of the user, then those of the item."""
        return np.hstack([self.users_UF[users_N], self.items_IF[items_N]])

    def base_weights(self, propensity: PropensityName) -> Floats:
        """1 / p [R], or those of a uniform choice."""
        if propensity not in self._weights:
            self._weights[propensity] = self._inverse(propensity)
        return self._weights[propensity]

    def _inverse(self, propensity: PropensityName) -> Floats:
        if propensity == "none":
            return np.full(len(self.seen), self.pairs / len(self.seen))
        if propensity == "logged":
            if self.logged_R is None:
                raise InvalidValueError("the feedback has no logged propensities")
            values_R = self.logged_R
        elif propensity == "logistic":
            values_R = logistic(self.seen, self.covariates, self.shape, l2=1.0)
        elif self.explored is None:
            raise InvalidValueError("naive Bayes needs an exploration slice")
        else:
            values_R = naive_bayes(self.seen, self.explored, self.pairs)
        return 1 / self.rule.apply(values_R).values_R

    def kernel(self, name: KernelName, seed: int) -> tuple[Floats, Floats]:
        """Candidate functions of observed pairs [R, K], and their means over all pairs [K]."""
        if (name, seed) not in self._kernels:
            self._kernels[name, seed] = self._kernel(name, seed)
        return self._kernels[name, seed]

    def _kernel(self, name: KernelName, seed: int) -> tuple[Floats, Floats]:
        rng = np.random.default_rng(seed)
        users_N, items_N = (grid.ravel() for grid in np.indices(self.shape))
        scaled = MinMax(self.covariates(users_N, items_N))
        sample = rng.choice(self.pairs, min(self.pairs, 5000), replace=False)
        rows_NF = scaled(self.covariates(users_N[sample], items_N[sample]))
        kernel, anchors_KF = Kernel(name, bandwidth(rows_NF, rng)), centres(rows_NF, CANDIDATES, rng)
        total_K = np.zeros(len(anchors_KF))
        for part in np.array_split(np.arange(self.pairs), max(1, self.pairs // 20_000)):
            total_K += kernel(scaled(self.covariates(users_N[part], items_N[part])), anchors_KF).sum(0)
        observed_RF = scaled(self.covariates(self.seen.users_R, self.seen.items_R))
        return kernel(observed_RF, anchors_KF), total_K / self.pairs
