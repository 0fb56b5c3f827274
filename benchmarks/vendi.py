"""Varied lists: 50 of 500 candidates with three of twenty genres each, beside other ways to vary a list.

The peers choose from the same unit vectors, in NumPy, with one column of similarities a step: maximal marginal
relevance (Carbonell and Goldstein, SIGIR 1998) and the greedy form of a determinantal point process (Chen, Zhang and
Zhou, NeurIPS 2018).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.harness import Result, Target, interleave, median
from recsys.retrieval_study.slates.rerankers import determinantal_process, maximal_marginal_relevance
from serving.ranking.diversity import Diversity, categories
from serving.ranking.exploration import Greedy, log_odds
from streaming.events.schema import Value

CANDIDATES, SHOWN, GENRES = 500, 50, 20


def run(quick: bool) -> Result:
    rng = np.random.default_rng(0)
    scores_C = rng.beta(2, 20, CANDIDATES)
    values: list[Value] = [[f"g{n}" for n in rng.choice(GENRES, 3, replace=False)] for _ in range(CANDIDATES)]
    diversity = Diversity("item.genres", 1.0)
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: diversity.order(Greedy(), scores_C, values, SHOWN, rng),
        "mmr": lambda: maximal_marginal_relevance(log_odds(scores_C), categories(values).dense(), 1.0, SHOWN),
        "dpp": lambda: determinantal_process(log_odds(scores_C), categories(values).dense(), 1.0, SHOWN),
        "score": lambda: diversity.score(values[:SHOWN]),
    }
    seconds = interleave(calls, 40 if quick else 400, time.perf_counter)
    ms = {name: 1000 * median(found) for name, found in seconds.items()}
    targets = [
        Target("50 varied of 500 candidates, ms", ms["ours"], 1.0, "lower"),
        Target("score of a list of 50, ms", ms["score"], 1.0, "lower"),
        Target("time beside maximal marginal relevance", ms["ours"] / ms["mmr"], 1.5, "lower"),
        Target("time beside a greedy determinantal process", ms["ours"] / ms["dpp"], 1.0, "lower"),
    ]
    return Result("vendi", targets, {"seconds": seconds})
