"""Candidates of several sources as one list: 500 of five sources with minimum shares, as the server merges them.

The peer is what the merge replaces: the sum of weight x score of each item, sorted, without minimum shares or bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.harness import Result, Target, interleave, median
from serving.retrieval.fair_merge import merge

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
    seconds = interleave(calls, 100 if quick else 1_000)
    ms = {name: 1000 * median(found) for name, found in seconds.items()}
    targets = [
        Target("500 candidates of five sources with 100 each, ms", ms["500 found"], 1.0, "lower"),
        Target("500 candidates of five sources with 500 each, ms", ms["500 each"], 1.0, "lower"),
        Target("time beside a sum of scores without minima", ms["500 each"] / ms["500 each, weighted"], 3.0, "lower"),
    ]
    return Result("merge", targets, {"seconds": seconds})
