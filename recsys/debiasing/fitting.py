"""Matrix factorisation by each method. Shape suffixes: R observed pairs, U users, I items, K candidate functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from recsys.debiasing.anchors import chosen_anchors
from recsys.debiasing.authors_form import fit_authors
from recsys.debiasing.balance import Balancing, balance
from recsys.debiasing.estimators import doubly_robust_targets, imputation_weights
from recsys.debiasing.factorization import Factorization, Matrix
from recsys.debiasing.feedback import Floats, Ints
from recsys.debiasing.methods import Method
from recsys.debiasing.problem import Problem


@dataclass(frozen=True, slots=True)
class FitSettings:
    """`again` is the number of steps after which adaptive anchors are chosen anew."""

    l2: float
    biases: bool = True
    dim: int = 4
    lr: float = 0.03
    steps: int = 200
    anchors: int = 16
    again: int = 50


def fit_method(method: Method, problem: Problem, rows_R: Ints, settings: FitSettings, seed: int) -> Matrix:
    """Logits [U, I] learned from the observed pairs with the numbers `rows_R`."""
    if method.authors is not None:
        inverse_R = problem.base_weights(method.propensity)[rows_R]
        return fit_authors(method.authors, problem.seen.take(rows_R), inverse_R, problem.shape, settings.l2, seed)
    return _Fit(method, problem, rows_R, settings, seed).run()


class _Fit:
    def __init__(self, method: Method, problem: Problem, rows_R: Ints, settings: FitSettings, seed: int) -> None:
        self._method, self._settings, self._seed = method, settings, seed
        seen = problem.seen.take(rows_R)
        self._at, self._labels_R, self._pairs = (seen.users_R, seen.items_R), seen.labels_R, problem.pairs
        self._base_R = problem.base_weights(method.propensity)[rows_R] * len(problem.seen) / len(rows_R)
        self._kernel_RK: Floats | None = None
        if method.anchors:
            kernel_RK, self._target_K = problem.kernel(method.kernel, seed)
            self._kernel_RK = kernel_RK[rows_R]
        options = {"dim": settings.dim, "lr": settings.lr, "l2": settings.l2, "biases": settings.biases}
        self._model = Factorization(problem.shape, seed=seed, **options)  # type: ignore[arg-type]
        self._imputation = Factorization(problem.shape, seed=seed + 1000, **options)  # type: ignore[arg-type]
        self._ones_UI = np.ones(problem.shape, np.float32)

    def run(self) -> Matrix:
        doubly = self._method.estimator in ("dr", "mrdr")
        weights_R = self._weights()
        for step in range(self._settings.steps):
            if self._method.anchors == "adaptive" and step and step % self._settings.again == 0:
                weights_R = self._weights()
            if doubly:
                self._doubly_robust(weights_R)
            else:
                total = self._pairs if self._method.estimator == "ips" else None
                self._model.step(self._matrix(weights_R), self._matrix(self._labels_R), total)
        return self._model.logits

    def _doubly_robust(self, weights_R: Floats) -> None:
        targets_UI = expit(self._imputation.logits)
        imputed_R = targets_UI[self._at].astype(np.float64)
        targets_UI[self._at] = doubly_robust_targets(imputed_R, self._labels_R, weights_R * self._method.shrink)
        logits_R = self._model.logits[self._at].astype(np.float64)
        self._model.step(self._ones_UI, targets_UI)
        squared_R = imputation_weights(weights_R, logits_R, robust=self._method.estimator == "mrdr")
        self._imputation.step_squared(self._matrix(squared_R + 1e-6), self._matrix(self._labels_R))

    def _weights(self) -> Floats:
        """[R]; their sum is the number of all pairs where they are balanced or self-normalised."""
        if self._method.estimator == "ips":
            return self._base_R
        base_R: Floats = self._base_R * self._pairs / self._base_R.sum()
        if self._kernel_RK is None:
            return base_R
        assert self._method.anchors is not None
        how = Balancing(gamma=self._method.gamma)
        chosen_J = chosen_anchors(
            self._method.anchors, self._kernel_RK, self._target_K, self._base_R, how, self._settings.anchors,
            seed=self._seed, errors=self._errors,
        )  # fmt: skip
        weights_R = balance(self._kernel_RK[:, chosen_J], self._target_K[chosen_J], base_R, how).weights_R
        scaled_R: Floats = weights_R * self._pairs / len(weights_R)
        return scaled_R

    def _errors(self) -> Floats:
        """The loss of each observed pair, or with an imputation e - e_hat = (m - r) z."""
        logits_R = self._model.logits[self._at].astype(np.float64)
        if self._method.estimator == "snips":
            losses_R: Floats = np.logaddexp(0, logits_R) - self._labels_R * logits_R
            return losses_R
        imputed_R = expit(self._imputation.logits[self._at].astype(np.float64))
        errors_R: Floats = (imputed_R - self._labels_R) * logits_R
        return errors_R

    def _matrix(self, values_R: Floats) -> Matrix:
        values_UI = np.zeros_like(self._ones_UI)
        values_UI[self._at] = values_R
        return values_UI
