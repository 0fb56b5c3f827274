"""Retrieval on MovieLens 1M by time: baselines and the two-tower model, with and without self-supervision.

Protocol: items are the 3,662 films with a rating in the first 80 % of ratings by time; films that the user rated there
are left out; relevant is what the user rated 4 or 5 afterwards; users are the 1,120 with a like before and after. The
spread over seeds is that of initial weights, order and negatives, at a tenth of the likes also of which tenth it is.
Settings are chosen with seed 0 on a validation period, the last eighth of the ratings before the split, by the sum of
Recall@10 and Recall@50; then all likes before the split are learned. Shape suffixes: U users, I items, K places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from recsys.datasets.ml1m_by_time import Bools, Ints, RatedItems
from recsys.evaluation import list_metrics
from recsys.evaluation.exposure import Exposure
from recsys.evaluation.result_file import check_settings
from recsys.retrieval_study.judging import best, hits
from recsys.retrieval_study.retrieval_methods import BASE, METHODS, SEEDLESS, VARIANTS, Fit
from recsys.retrieval_study.retrieval_result import RetrievalResult, RetrievalRow
from recsys.retrieval_study.two_towers import SETTINGS

PARTS = {"100 %": 1.0, "10 %": 0.1}
COLD = 10
"""Likes before the split below which a film is cold; the head has half of all likes, the tail are all other films."""
LONG = 500
"""Items of a list for R-precision and clicks, as in the RecSys Challenge 2018."""
TEST, VALIDATION = "test", "validation"
Task = tuple[int, str, str, str]
"""Seed, part, method, and what is tried on the validation period; the latter is empty for a row of the table."""


class RetrievalStudy:
    """A row for each try, then one for each method, part of the likes and seed; a seed comes before the next."""

    def __init__(self, rated: RatedItems, validation: RatedItems, seeds: int) -> None:
        self._worlds, self._seeds = {TEST: _World(rated), VALIDATION: _World(validation)}, seeds

    @property
    def tasks(self) -> Sequence[Task]:
        """Baselines of all likes are the same for every seed; variants have the settings of the base."""
        found: list[Task] = []
        for part in PARTS:
            for method, tried in METHODS.items():
                if len(tried) > 1 and method not in VARIANTS:
                    found += [(0, part, method, one) for one in tried]
                found.append((0, part, method, ""))
        later = [(seed, part, method, "") for seed in range(1, self._seeds) for part in PARTS for method in METHODS]
        return found + [one for one in later if not (one[1] == "100 %" and one[2] in SEEDLESS)]

    def empty(self) -> RetrievalResult:
        return RetrievalResult(settings={"towers": SETTINGS})

    def rows(self, done: RetrievalResult, doing: Callable[[str], None]) -> Iterator[RetrievalRow]:
        """The rows that `done` has not. Raises InvalidValueError if it is of other settings."""
        check_settings(done.settings, self.empty().settings)
        rows = {_task(row): row for row in done.rows}
        for task in self.tasks:
            if task not in rows:
                seed, part, method, tried = task
                doing(f"{method}, {part} of the likes, {tried or f'seed {seed}'}")
                setting = tried or _chosen(rows, part, method)
                period = VALIDATION if tried else TEST
                figures = self._worlds[period].figures(METHODS[method][setting], PARTS[part], seed)
                rows[task] = RetrievalRow(
                    method=method, part=part, seed=seed, period=period, setting=setting, figures=figures
                )
                yield rows[task]


class _World:
    """Likes to learn from, and users to judge by what they liked later."""

    def __init__(self, rated: RatedItems) -> None:
        self._rated = rated
        self._users = np.flatnonzero(rated.liked_UI.any(1) & rated.later_UI.any(1))
        self._relevant = slices(rated.liked_UI, rated.later_UI[self._users])

    def figures(self, fit: Fit, part: float, seed: int) -> dict[str, dict[str, float]]:
        liked_UI = self._rated.liked_UI & (np.random.default_rng(seed).random(self._rated.liked_UI.shape) < part)
        found_UI = fit(self._rated, liked_UI, self._users, seed)
        lists_UK = best(found_UI, self._rated.rated_UI[self._users], LONG)
        figures = judged(lists_UK, self._relevant)
        figures["all"] |= shown(lists_UK[:, :50], self._rated.liked_UI)
        return figures


def _task(row: RetrievalRow) -> Task:
    return row.seed, row.part, row.method, row.setting if row.period == VALIDATION else ""


def _chosen(rows: dict[Task, RetrievalRow], part: str, method: str) -> str:
    """The setting of a method that was best on the validation period; the first of equal ones."""
    of = BASE if method in VARIANTS else method
    tried = [one for one in METHODS[of] if (0, part, of, one) in rows]
    if not tried:
        return next(iter(METHODS[of]))
    figures = [rows[0, part, of, one].figures["all"] for one in tried]
    return tried[int(np.argmax([one["recall10"] + one["recall50"] for one in figures]))]


def slices(liked_UI: Bools, relevant_UI: Bools) -> dict[str, Bools]:
    """What is relevant, of all items and of those of the head, the tail and without many likes."""
    likes_I = liked_UI.sum(0)
    order_I = np.argsort(-likes_I, kind="stable")
    head_I = np.zeros(len(likes_I), np.bool_)
    head_I[order_I[likes_I[order_I].cumsum() <= likes_I.sum() / 2]] = True
    kinds = {"all": np.ones_like(head_I), "head": head_I, "tail": ~head_I, "cold": likes_I < COLD}
    return {name: relevant_UI & kind_I for name, kind_I in kinds.items()}


def judged(lists_UK: Ints, relevant: dict[str, Bools]) -> dict[str, dict[str, float]]:
    """Figures of lists by slice, over its users with a relevant item there."""
    found = {}
    for name, relevant_UI in relevant.items():
        some_U = relevant_UI.any(1)
        hits_UK, relevant_U = hits(lists_UK[some_U], relevant_UI[some_U])
        found[name] = {f"recall{k}": float(list_metrics.recall(hits_UK[:, :k], relevant_U).mean()) for k in (10, 50)}
        for key in ("map", "ndcg", "mrr"):
            figure = list_metrics.FIGURES[key]
            found[name][f"{key}10"] = float(figure(hits_UK[:, :10], relevant_U).mean())
        for key in ("r_precision", "clicks"):
            found[name][key] = float(list_metrics.FIGURES[key](hits_UK, relevant_U).mean())
    return found


def shown(lists_UK: Ints, liked_UI: Bools) -> dict[str, float]:
    """What the lists of all users show, beside what users like."""
    exposure = Exposure(liked_UI.shape[1])
    exposure.add(lists_UK)
    novelty = exposure.novelty(liked_UI.sum(0), len(liked_UI))
    return {"coverage": exposure.coverage(), "gini": exposure.gini(), "novelty": novelty}
