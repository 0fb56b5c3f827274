"""Methods of the table of retrieval, each with the settings that are tried. Shape suffixes: U users, I items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from recsys.datasets.ml1m_by_time import Bools, Ints, RatedItems
from recsys.retrieval_study.graph_models import LightGcn, Sheaf4Rec, graph_scores
from recsys.retrieval_study.neighbours import Floats, ease, item_knn, popularity, scores
from recsys.retrieval_study.two_towers import TwoTowers

Fit = Callable[[RatedItems, Bools, Ints, int], Floats]
"""Scores [U, I] of some users, learned from the likes of all with a seed."""
BASE = "two-tower"
_SSL = '[retrieval.ssl]\nmethod = "{}"\nbatch = 512\n'
VARIANTS = {
    f"{BASE}, L2": "l2 = 0.0001\n",
    f"{BASE}, spread-out": _SSL.format("spread_out"),
    f"{BASE}, RFM": _SSL.format("rfm"),
    f"{BASE}, CFM": _SSL.format("cfm"),
    f"{BASE}, CFM + dropout": _SSL.format("cfm") + "dropout = 0.1\n",
}
"""What each adds to the settings of the base, which has the same settings else."""


def _solved(weights: Callable[[Bools], Floats]) -> Fit:
    return lambda _, liked_UI, users, _seed: scores(liked_UI[users], weights(liked_UI))


def _popular(_: RatedItems, liked_UI: Bools, users: Ints, _seed: int) -> Floats:
    return np.broadcast_to(popularity(liked_UI), (len(users), liked_UI.shape[1]))


def towers_of(steps: int, temperature: float, more: str = "") -> Fit:
    def fit(rated: RatedItems, liked_UI: Bools, users: Ints, seed: int) -> Floats:
        towers = TwoTowers(rated, temperature, more, seed)
        towers.learn(liked_UI, steps)
        return towers.scores(liked_UI, users)

    return fit


def _all_towers(more: str) -> dict[str, Fit]:
    tried = [(steps, temperature) for steps in (240, 480) for temperature in (0.1, 0.2)]
    return {
        f"{steps} steps, temperature {temperature}": towers_of(steps, temperature, more) for steps, temperature in tried
    }


def graph_of(make: type[LightGcn | Sheaf4Rec], layers: int, steps: int) -> Fit:
    return lambda _, liked_UI, users, seed: graph_scores(make, liked_UI, users, layers=layers, steps=steps, seed=seed)


def _graphs(make: type[LightGcn | Sheaf4Rec], steps: Sequence[int]) -> dict[str, Fit]:
    return {f"{n} layers, {count} steps": graph_of(make, n, count) for n in (1, 2) for count in steps}


METHODS: dict[str, dict[str, Fit]] = {
    "EASE": {f"l2 {l2}": _solved(partial(ease, l2=l2)) for l2 in (125, 500, 2000, 8000)},
    "item-kNN": {
        f"{k} neighbours, shrink {shrink}": _solved(partial(item_knn, neighbours=k, shrink=shrink))
        for k, shrink in ((100, 20), (100, 100), (400, 20), (400, 100))
    },
    "popularity": {"": _popular},
    BASE: _all_towers(""),
    **{name: _all_towers(more) for name, more in VARIANTS.items()},
    "LightGCN": _graphs(LightGcn, (60, 120)),
    "Sheaf4Rec": _graphs(Sheaf4Rec, (30, 60)),
}
"""By method and settings, four of each with settings."""
SEEDLESS = ("EASE", "item-kNN", "popularity")
"""All likes give these the same result whatever the seed."""
