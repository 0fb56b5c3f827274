"""The Coat table: every method tuned on self-selected ratings alone, then judged once by coats drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import ClassVar

import msgspec
import numpy as np

from recsys.datasets.coat import Coat
from recsys.debiasing.feedback import ExplorationSlice, Ints, SelfSelected, TestFeedback
from recsys.debiasing.fitting import FitSettings, fit_method
from recsys.debiasing.methods import Method, PropensityName, authors_methods, methods
from recsys.debiasing.problem import Problem
from recsys.debiasing.weight_diagnostics import WeightDiagnostics, weight_diagnostics
from recsys.evaluation.metrics import auc
from recsys.evaluation.result_file import ResultFile, check_settings
from recsys.evaluation.user_metrics import judged_by_user

PROPENSITIES: tuple[PropensityName, ...] = ("logistic", "naive bayes")

POSITIVE = 3
"""A rating of this or more is a positive label, as in the paper."""

L2 = (0.1, 0.3, 1.0)
SPLITS = 2
HELD_OUT = 0.15
SLICE = 0.05
"""Share of the random ratings that naive Bayes may see; they are not judged by."""


class CoatRow(msgspec.Struct, frozen=True, kw_only=True):
    """A method: its tuned `l2`, its figure there, and by name the figures of each seed."""

    table: str
    method: str
    l2: float
    tuned_auc: float
    figures: dict[str, list[float]]


class CoatResult(ResultFile, frozen=True):
    """Rows in the order in which they were made."""

    made_by: ClassVar[str] = "recsys reproduce coat"
    seeds: int
    settings: dict[str, float | int | bool]
    rows: tuple[CoatRow, ...] = ()

    def markdown(self, table: str) -> str:
        """The rows of one table, with means and standard deviations over the seeds."""
        names = {"auc": "AUC", "ndcg": "NDCG@5", "ndcg_with_positive": "NDCG@5 of users with a positive", "f1": "F1@5"}
        lines = [f"| method | l2 | {' | '.join(names.values())} |", "|---|---:" + "|---:" * len(names) + "|"]
        for row in self.rows:
            if row.table == table:
                cells = [f"{np.mean(row.figures[name]):.4f} ± {np.std(row.figures[name]):.4f}" for name in names]
                lines.append(f"| {row.method} | {row.l2} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


class CoatStudy:
    """Tables by model (with or without biases) and propensity."""

    def __init__(self, coat: Coat, seeds: int) -> None:
        users_R, items_R = np.nonzero(coat.chosen_UI)
        labels_R = (coat.chosen_UI[users_R, items_R] >= POSITIVE).astype(np.float64)
        popularity_I = np.log1p(np.bincount(items_R, minlength=len(coat.item_features_IF)))
        self._seen = SelfSelected(users_R, items_R, labels_R)
        self._users_UF = coat.user_features_UF
        self._items_IF = np.column_stack([coat.item_features_IF, popularity_I])
        users_R, items_R = np.nonzero(coat.random_UI)
        self._test = TestFeedback(users_R, items_R, (coat.random_UI[users_R, items_R] >= POSITIVE).astype(np.float64))
        self._seeds = seeds
        self._settings = FitSettings(l2=L2[0])

    @property
    def tasks(self) -> list[tuple[str, Method]]:
        """Every row: the name of its table, and the method."""
        every = [(model, one, methods(one)) for model in ("biases", "plain") for one in PROPENSITIES]
        every += [("plain", one, authors_methods(one)) for one in PROPENSITIES]
        return [
            (f"{model}, {propensity}", method)
            for model, propensity, tried in every
            for method in tried
            if propensity == "logistic" or _compared(method)
        ]

    def empty(self) -> CoatResult:
        return CoatResult(seeds=self._seeds, settings=asdict(self._settings))

    def weights(self) -> WeightDiagnostics:
        """What the weights of the logistic propensities, and those balanced from them, do to all that users chose."""
        return weight_diagnostics(Problem(self._seen, self._users_UF, self._items_IF))

    def rows(self, done: CoatResult, doing: Callable[[str], None]) -> Iterator[CoatRow]:
        """The rows that `done` has not. Raises InvalidValueError if it is of other settings."""
        check_settings((done.seeds, done.settings), (self._seeds, asdict(self._settings)), "seeds or settings")
        have = {(row.table, row.method) for row in done.rows}
        problems: dict[str, list[tuple[Problem, TestFeedback]]] = {}
        for table, method in self.tasks:
            if (table, method.name) not in have:
                doing(f"{table}: {method.name}")
                propensity: PropensityName = "logistic" if table.endswith("logistic") else "naive bayes"
                if propensity not in problems:
                    problems[propensity] = list(self._problems(propensity))
                yield self._row(table, method, problems[propensity])

    def _problems(self, propensity: PropensityName) -> Iterator[tuple[Problem, TestFeedback]]:
        """One for each seed: with naive Bayes each has its own exploration slice."""
        fixed = Problem(self._seen, self._users_UF, self._items_IF)
        for seed in range(self._seeds):
            explored: ExplorationSlice | None = None
            test = self._test
            if propensity == "naive bayes":
                explored, test = test.explored(SLICE, seed)
                yield replace(fixed, explored=explored), test
            else:
                yield fixed, test

    def _row(self, table: str, method: Method, problems: list[tuple[Problem, TestFeedback]]) -> CoatRow:
        settings = replace(self._settings, biases=table.startswith("biases"))
        tries = L2 if method.authors is None else method.authors.tries
        tried = {l2: self._tuned(method, problems[0][0], replace(settings, l2=l2)) for l2 in tries}
        l2 = max(tried, key=tried.__getitem__)
        everything = np.arange(len(self._seen))
        figures: dict[str, list[float]] = {}
        for seed, (problem, test) in enumerate(problems):
            logits_UI = fit_method(method, problem, everything, replace(settings, l2=l2), seed)
            judged = test.judge(logits_UI[test.pairs].astype(np.float64), judged_by_user)
            for name, value in asdict(judged).items():
                figures.setdefault(name, []).append(value)
        return CoatRow(table=table, method=method.name, l2=l2, tuned_auc=tried[l2], figures=figures)

    def _tuned(self, method: Method, problem: Problem, settings: FitSettings) -> float:
        """Mean AUC of held-out self-selected ratings, weighted by inverse propensities."""
        weights_R = problem.base_weights("logistic")
        found = []
        for split in range(SPLITS):
            out_R, kept_R = _split(len(self._seen), split)
            logits_UI = fit_method(method, problem, kept_R, settings, split)
            held = self._seen.take(out_R)
            found.append(auc(held.labels_R, logits_UI[held.users_R, held.items_R], weights_R[out_R]))
        return float(np.mean(np.nan_to_num(found, nan=0.5)))  # undefined where only one label was held out


def _compared(method: Method) -> bool:
    """Whether it has a row in every table."""
    balanced = "B-IPS" in method.name and method.kernel == "gaussian"
    return balanced or method.name in ("MF", "IPS", "SNIPS", "DR-JL")


def _split(rows: int, split: int) -> tuple[Ints, Ints]:
    order = np.random.default_rng([split, 7]).permutation(rows)
    cut = round(HELD_OUT * rows)
    return np.sort(order[:cut]), np.sort(order[cut:])
