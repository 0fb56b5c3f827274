"""Probabilities of a pair to be observed: logged ones, and estimates from what may be used for them.

Shape suffixes: R observed pairs, U users, I items, F covariates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from recsys.debiasing.feedback import ExplorationSlice, Floats, Ints, SelfSelected
from recsys.errors import InvalidValueError


@dataclass(frozen=True, slots=True)
class PropensityRule:
    """What becomes of propensities that no weight can be made of.

    Missing (NaN), zero or negative, and above one: refused, or with `refuse=False` replaced by `missing`, `least` and
    1. Those in (0, `least`) are raised to `least`. All are counted.
    """

    least: float = 0.01
    refuse: bool = True
    missing: float = 1.0

    def __post_init__(self) -> None:
        for name in ("least", "missing"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidValueError(f"{name} is {getattr(self, name)}: it must be within (0, 1]")

    def apply(self, propensities_R: npt.ArrayLike) -> Propensities:
        """Raises InvalidValueError for values that are refused, with their number and the first of them."""
        values_R = np.array(propensities_R, np.float64)
        kinds = {"missing": np.isnan(values_R), "zero": values_R <= 0, "above one": values_R > 1}
        counts = {kind: int(at.sum()) for kind, at in kinds.items()}
        if self.refuse and any(counts.values()):
            said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
            first = int(np.flatnonzero(np.any(list(kinds.values()), axis=0))[0])
            raise InvalidValueError(
                f"propensities: {said} of {len(values_R)}, the first in row {first} ({values_R[first]}). A probability "
                "of being shown is above 0 and at most 1: correct the log, or let a rule with refuse=False replace them"
            )
        low = (values_R > 0) & (values_R < self.least)
        values_R[kinds["missing"]] = self.missing
        return Propensities(np.clip(values_R, self.least, 1.0), counts | {"clipped": int(low.sum())})


@dataclass(frozen=True, slots=True, eq=False)
class Propensities:
    """Usable probabilities [R], and how many rows of each kind were replaced."""

    values_R: Floats
    counts: dict[str, int]

    def weights(self) -> Floats:
        """1 / p, scaled to mean 1 (self-normalised)."""
        inverse_R = 1 / self.values_R
        weights_R: Floats = inverse_R / inverse_R.mean()
        return weights_R


def naive_bayes(seen: SelfSelected, explored: ExplorationSlice, pairs: int) -> Floats:
    """p(o = 1 | r) = P(r | o = 1) P(o = 1) / P(r), [R] for the pairs of `seen` (Schnabel et al., ICML 2016, 5.2).

    P(r | o = 1) and P(o = 1) = R / `pairs` are of `seen`; P(r) is of the explored pairs, with one added to each class.
    Raises InvalidValueError if either is feedback of another kind, such as test feedback.
    """
    _allowed(seen, SelfSelected)
    _allowed(explored, ExplorationSlice)
    overall = (explored.labels_R.sum() + 1) / (len(explored) + 2)
    observed = (seen.labels_R.sum() + 1) / (len(seen) + 2)
    share = len(seen) / pairs
    of_label = share * np.array([(1 - observed) / (1 - overall), observed / overall])
    values_R: Floats = np.minimum(of_label[seen.labels_R.astype(np.int64)], 1.0)
    return values_R


def logistic(
    seen: SelfSelected, covariates: Callable[[Ints, Ints], Floats], shape: tuple[int, int], l2: float
) -> Floats:
    """p(o = 1 | x) [R] by logistic regression on the covariates [N, F] of all pairs, which needs no label at all.

    Minimises sum over all pairs of softplus(z) - o z, plus l2 |w|^2 / 2, with z = w x + b and standardised x.
    `covariates(users, items)` gives x; `shape` is (users, items).
    """
    _allowed(seen, SelfSelected)
    users, items = (grid.ravel() for grid in np.indices(shape))
    x_NF = covariates(users, items)
    mean_F, sd_F = x_NF.mean(0), x_NF.std(0)
    x_NF = np.column_stack([(x_NF - mean_F) / np.where(sd_F > 0, sd_F, 1.0), np.ones(len(x_NF))])
    observed_N = np.zeros(len(x_NF))
    observed_N[seen.users_R * shape[1] + seen.items_R] = 1

    def objective(w_F: Floats) -> tuple[float, Floats]:
        z_N = x_NF @ w_F
        p_N = 1 / (1 + np.exp(-z_N))
        shrunk_F = l2 * np.append(w_F[:-1], 0.0)
        value = float((np.logaddexp(0, z_N) - observed_N * z_N).sum() + shrunk_F @ w_F / 2)
        return value, x_NF.T @ (p_N - observed_N) + shrunk_F

    w_F = minimize(objective, np.zeros(x_NF.shape[1]), jac=True, method="L-BFGS-B").x
    z_R = x_NF[seen.users_R * shape[1] + seen.items_R] @ w_F
    values_R: Floats = 1 / (1 + np.exp(-z_R))
    return values_R


def _allowed(feedback: object, kind: type[SelfSelected] | type[ExplorationSlice]) -> None:
    if type(feedback) is not kind:
        raise InvalidValueError(
            f"a propensity is estimated from {kind.__name__}, not from {type(feedback).__name__}: labels that judge a "
            "model must not shape its propensities. Take explored pairs out of the test part with TestFeedback.explored"
        )
