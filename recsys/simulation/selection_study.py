"""Debiasing where the truth is known: planted users who chose what they like, by propensities that are right or wrong.

Every pair of a user and an item has the known chance `like` of a click, and is observed with the chance
p = sigmoid(a + selection logit(like)), a such that a tenth of all pairs is observed. Two things are estimated from the
observed pairs: the mean click rate of all pairs, which is the value of showing every item to every user, and each
pair's click rate. Propensities are those that observed the pairs (right), or a logistic model of the tastes of user and
item without their product, by which users choose (wrong). Shape suffixes: U users, I items, N pairs, R observed pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import msgspec
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from recsys.debiasing.anchors import Choice, chosen_anchors
from recsys.debiasing.balance import Balancing, balance
from recsys.debiasing.feedback import Floats, SelfSelected
from recsys.debiasing.fitting import FitSettings, fit_method
from recsys.debiasing.methods import EstimatorName, Method, PropensityName
from recsys.debiasing.problem import Problem
from recsys.evaluation.result_file import ResultFile, check_settings, markdown_table
from recsys.simulation.user_model import PlantedUsers

USERS, ITEMS, OBSERVED = 300, 200, 0.1
SELECTIONS = (0.5, 1.0)
"""Propensities below 0.01, to which the rule raises them, are of 0.4 % of the observed pairs at 0.5, of 1 % at 1."""
MODEL = FitSettings(l2=0.3)
PROPENSITIES: dict[str, PropensityName] = {"right": "logged", "wrong": "logistic"}
CHOICES: dict[str, Choice] = {"RKB": "random", "WKB": "worst", "AKB": "adaptive"}


class SelectionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A method by its propensities: for each seed the estimate minus the true mean, and the mean error of a pair."""

    selection: float
    method: str
    propensities: str
    value: list[float]
    pair: list[float]


class SelectionResult(ResultFile, frozen=True):
    """Rows in the order in which they were made."""

    made_by: ClassVar[str] = "recsys reproduce selection"
    seeds: int
    settings: dict[str, float]
    rows: tuple[SelectionRow, ...] = ()

    def table(self) -> list[list[str]]:
        """Root mean square and mean of the error of the value; mean error of a pair's click rate with its deviation."""
        head = ["selection", "method", "propensities", "error of the value", "its bias", "error of a pair"]
        return [head, *map(_cells, self.rows)]

    def markdown(self) -> str:
        return markdown_table(self.table(), words=3)


def selection_methods() -> list[tuple[str, Method]]:
    """What the propensities are called, and the method; the naive one has none."""
    found = [("none", Method("naive", "snips", "none"))]
    for called, propensity in PROPENSITIES.items():
        plain: dict[str, EstimatorName] = {"IPS": "ips", "SNIPS": "snips", "DR": "dr"}
        found += [(called, Method(name, estimator, propensity)) for name, estimator in plain.items()]
        found += [
            (called, Method(f"{name}-{'DR' if estimator == 'dr' else 'IPS'}", estimator, propensity, choice))
            for name, choice in CHOICES.items()
            for estimator in ("snips", "dr")  # type: tuple[EstimatorName, ...]
        ]
    return found


class SelectionWorld:
    """Planted users of one seed: the true click rates [U, I], and the feedback that they leave."""

    def __init__(self, seed: int, selection: float, users: int = USERS, items: int = ITEMS) -> None:
        people = PlantedUsers(users, items, seed=seed, drift=0.0)
        self.likes_UI = np.array([people.likes(user, 0.0) for user in range(users)])
        appeal_UI = selection * logit(self.likes_UI)
        level = brentq(lambda at: expit(at + appeal_UI).mean() - OBSERVED, -30, 30)
        chances_UI = expit(level + appeal_UI)
        rng = np.random.default_rng([seed, 2])
        users_R, items_R = np.nonzero(rng.random(chances_UI.shape) < chances_UI)
        labels_R = (rng.random(len(users_R)) < self.likes_UI[users_R, items_R]).astype(np.float64)
        seen = SelfSelected(users_R, items_R, labels_R)
        self.problem = Problem(seen, people.tastes_UD, people.tastes_ID, logged_R=chances_UI[users_R, items_R])
        self._expected: dict[int, Floats] = {}

    def errors(self, method: Method, seed: int) -> tuple[float, float]:
        """Of the estimated value, and the mean over all pairs of the estimated click rates'."""
        everything = np.arange(len(self.problem.seen))
        rates_UI = expit(fit_method(method, self.problem, everything, MODEL, seed).astype(np.float64))
        return self._value(method, seed) - float(self.likes_UI.mean()), float(np.abs(rates_UI - self.likes_UI).mean())

    def _value(self, method: Method, seed: int) -> float:
        """DR adds what the naive model expects of all pairs to the weighted mean of what it does not explain."""
        seen = self.problem.seen
        errors_R, expected = seen.labels_R, 0.0
        if method.estimator == "dr":
            imputed_UI = self._imputed(seed)
            expected = float(imputed_UI.mean())
            errors_R = errors_R - imputed_UI[seen.users_R, seen.items_R]
        base_R = self.problem.base_weights(method.propensity)
        if method.anchors is None:
            total = base_R.sum() if method.estimator == "snips" else self.problem.pairs
            return expected + float(base_R @ errors_R / total)
        return expected + float((self._balanced(method.anchors, method, base_R, errors_R, seed) * errors_R).mean())

    def _imputed(self, seed: int) -> Floats:
        """The click rates [U, I] that the naive model learns, once for all methods."""
        if seed not in self._expected:
            plain, everything = Method("naive", "snips", "none"), np.arange(len(self.problem.seen))
            self._expected[seed] = expit(fit_method(plain, self.problem, everything, MODEL, seed).astype(np.float64))
        return self._expected[seed]

    def _balanced(self, choice: Choice, method: Method, base_R: Floats, errors_R: Floats, seed: int) -> Floats:
        kernel_RK, target_K = self.problem.kernel(method.kernel, seed)
        base_R, how = base_R / base_R.mean(), Balancing(gamma=method.gamma)
        chosen_J = chosen_anchors(
            choice, kernel_RK, target_K, base_R, how, MODEL.anchors, seed=seed, errors=lambda: errors_R
        )
        return balance(kernel_RK[:, chosen_J], target_K[chosen_J], base_R, how).weights_R


class SelectionStudy:
    """All methods on the same worlds, one for each selection and seed."""

    def __init__(self, seeds: int) -> None:
        self._seeds = seeds
        self._worlds: dict[float, list[SelectionWorld]] = {}

    @property
    def tasks(self) -> Sequence[tuple[float, str, Method]]:
        return [(selection, *one) for selection in SELECTIONS for one in selection_methods()]

    def empty(self) -> SelectionResult:
        settings = {"users": USERS, "items": ITEMS, "observed": OBSERVED, "l2": MODEL.l2}
        return SelectionResult(seeds=self._seeds, settings=settings)

    def rows(self, done: SelectionResult, doing: Callable[[str], None]) -> Iterator[SelectionRow]:
        """The rows that `done` has not. Raises InvalidValueError if it is of other settings."""
        check_settings((done.seeds, done.settings), (self._seeds, self.empty().settings), "seeds or settings")
        have = {(row.selection, row.method, row.propensities) for row in done.rows}
        for selection, propensities, method in self.tasks:
            if (selection, method.name, propensities) not in have:
                doing(f"selection {selection}, propensities {propensities}: {method.name}")
                found = [world.errors(method, seed) for seed, world in enumerate(self._of(selection))]
                value, pair = ([round(one, 6) for one in column] for column in zip(*found, strict=True))
                yield SelectionRow(
                    selection=selection, method=method.name, propensities=propensities, value=value, pair=pair
                )

    def _of(self, selection: float) -> list[SelectionWorld]:
        if selection not in self._worlds:
            self._worlds[selection] = [SelectionWorld(seed, selection) for seed in range(self._seeds)]
        return self._worlds[selection]


def _cells(row: SelectionRow) -> list[str]:
    value, pair = np.array(row.value), np.array(row.pair)
    errors = f"{np.sqrt((value**2).mean()):.4f}", f"{value.mean():+.4f}", f"{pair.mean():.4f} ± {pair.std():.4f}"
    return [str(row.selection), row.method, row.propensities, *errors]
