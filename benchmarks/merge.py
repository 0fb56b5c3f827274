"""Candidates of several sources as one list: 500 of five sources with minimum shares, as the server merges them.

The peer is what the merge replaces: the sum of weight x score of each item, sorted, without minimum shares or bounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.harness import Result, Target
from serving.retrieval.merged import merge

COUNT, ITEMS = 500, 2_000
SHARES = (0.3, 0.2, 0.2, 0.1, 0.1)


def weighted_scores(rankings: list[list[str]], weights: tuple[float, ...], count: int) -> list[str]:
    score: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for place, item in enumerate(ranking):
            score[item] = score.get(item, 0.0) + weight * (count - place)
    return sorted(score, key=score.__getitem__, reverse=True)[:count]


def run(quick: bool) -> Result:
    rng = np.random.default_rng(0)
    calls: dict[str, Callable[[], list[str]]] = {}
    minima = [int(COUNT * share) for share in SHARES]
    for name, size in (("500 found", COUNT // len(SHARES)), ("500 each", COUNT)):
        rankings = [[f"item-{n}" for n in rng.choice(ITEMS, size, replace=False)] for _ in SHARES]
        calls[name] = partial(merge, rankings, minima, SHARES, COUNT)
        calls[f"{name}, weighted"] = partial(weighted_scores, rankings, SHARES, COUNT)
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(100 if quick else 1_000):
        for name, call in calls.items():
            began = time.process_time()
            call()
            rounds[name].append(1000 * (time.process_time() - began))
    ms = {name: statistics.median(found) for name, found in rounds.items()}
    targets = [
        Target("500 candidates of five sources with 100 each, ms", ms["500 found"], 1.0, "lower"),
        Target("500 candidates of five sources with 500 each, ms", ms["500 each"], 1.0, "lower"),
        Target("time beside a sum of scores without minima", ms["500 each"] / ms["500 each, weighted"], 3.0, "lower"),
    ]
    return Result("merge", targets, {"ms": rounds})
