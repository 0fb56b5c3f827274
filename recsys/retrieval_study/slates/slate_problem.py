"""What one seed of the table of slates ranks: candidates with their worth, and sources that are merged.

Shape suffixes: U users (those that are judged), I items, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.datasets.ml1m_by_time import Bools, Ints, RatedItems
from recsys.retrieval_study.judging import best
from recsys.retrieval_study.neighbours import ease, item_knn, popularity, scores
from recsys.retrieval_study.slates.click_model import fitted
from serving.ranking.vendi import Floats

CANDIDATES = 500
HELD_OUT = 0.1
"""Share of the positives before the split that a seed leaves out: they make scores probabilities."""
_CALIBRATED = 1000
"""Users whose candidates do."""


@dataclass(frozen=True, slots=True, eq=False)
class SlateProblem:
    """`candidates_UC` by EASE, with their log odds; `sources` have the scores [U, I] of all items, by name."""

    candidates_UC: Ints
    worth_UC: Floats
    sources: dict[str, npt.NDArray[np.float32]]
    hidden_UI: Bools
    relevant_UI: Bools


def slate_problem(rated: RatedItems, seed: int) -> SlateProblem:
    """For users with a positive before the split and one after it."""
    rng = np.random.default_rng(seed)
    kept_UI = rated.liked_UI & (rng.random(rated.liked_UI.shape) >= HELD_OUT)
    judged_U = np.flatnonzero(kept_UI.any(1) & rated.later_UI.any(1))
    weights_II = ease(kept_UI)
    some_U = rng.choice(len(kept_UI), min(_CALIBRATED, len(kept_UI)), replace=False)
    found_UI = scores(kept_UI[some_U], weights_II)
    top_UC = best(found_UI, kept_UI[some_U], CANDIDATES)
    held_UI = rated.liked_UI[some_U] & ~kept_UI[some_U]
    take = np.take_along_axis
    model = fitted(take(found_UI, top_UC, 1).ravel(), take(held_UI, top_UC, 1).ravel())
    hidden_UI, own_UI = rated.rated_UI[judged_U], kept_UI[judged_U]
    found_UI = scores(own_UI, weights_II)
    top_UC = best(found_UI, hidden_UI, CANDIDATES)
    sources = {
        "EASE": found_UI,
        "item-kNN": scores(own_UI, item_knn(kept_UI)),
        "popularity": np.broadcast_to(popularity(kept_UI), found_UI.shape),
        "broken": rng.random(found_UI.shape, np.float32),
    }
    return SlateProblem(top_UC, model.worth(take(found_UI, top_UC, 1)), sources, hidden_UI, rated.later_UI[judged_U])
