"""Lists merged of several sources, one of which may be biased. Shape suffixes: U users, I items, K places."""

from __future__ import annotations

import numpy as np

from recsys.datasets.ml1m_by_time import Ints
from recsys.retrieval_study.judging import best
from recsys.retrieval_study.neighbours import Floats
from recsys.retrieval_study.slates.slate_problem import SlateProblem
from serving.retrieval.fair_merge import merge

POOL = 50
"""Films of a list."""
SHARES = {"EASE": 0.4, "item-kNN": 0.3, "popularity": 0.3}
BROKEN = "broken"
"""Has random scores, in the place of the last source."""


def merged(problem: SlateProblem, biased: str, factor: float, *, fair: bool) -> tuple[Ints, float]:
    """Lists [U, K], by `merge` or by the sum of share times score, and the share that sound sources have in them.

    Each source's scores for a user are divided by their greatest, then those of the source `biased` are multiplied by
    `factor`, as happens to scores on scales of their own. The share is the places of the list with one of the best
    `POOL` items of a source, over those promised to it: the least of the sound sources, mean over users.
    """
    names = list(SHARES)
    if biased == BROKEN:
        names[-1] = BROKEN
    scores = [_scaled(problem, name, factor if name == biased else 1.0) for name in names]
    tops = [best(one_UI, problem.hidden_UI, POOL) for one_UI in scores]
    shares = list(SHARES.values())
    if fair:
        minima = [int(POOL * share) for share in shares]
        lists_UK = np.array([_fairly(rankings, minima, shares) for rankings in zip(*tops, strict=True)])
    else:
        total_UI = sum(np.float32(share) * one_UI for share, one_UI in zip(shares, scores, strict=True))
        lists_UK = best(np.asarray(total_UI), problem.hidden_UI, POOL)
    sound = [n for n, name in enumerate(names) if name != BROKEN]
    met = [
        min(np.isin(list_K, tops[n][user]).sum() / (POOL * shares[n]) for n in sound)
        for user, list_K in enumerate(lists_UK)
    ]
    return lists_UK, float(np.mean(met))


def _scaled(problem: SlateProblem, name: str, factor: float) -> Floats:
    scores_UI = np.where(problem.hidden_UI, -np.inf, problem.sources[name])
    return np.asarray(np.float32(factor) * scores_UI / np.maximum(scores_UI.max(1, keepdims=True), 1e-12))


def _fairly(rankings: tuple[Ints, ...], minima: list[int], shares: list[float]) -> list[int]:
    chosen = merge([[str(item) for item in ranking.tolist()] for ranking in rankings], minima, shares, POOL)
    return [int(item) for item in chosen]
