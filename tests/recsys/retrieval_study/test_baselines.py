"""Baselines and figures, beside plain computations of their definitions and published figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.datasets.ml1m_by_time import Bools, Ints, RatedItems, ml1m_by_time
from recsys.evaluation.list_metrics import average_precision
from recsys.retrieval_study.judging import best, hits, ndcg, recall
from recsys.retrieval_study.neighbours import ease, item_knn, popularity, scores
from tests.recsys.datasets.test_datasets import shared
from tests.recsys.retrieval_study.conftest import FILMS


def test_the_split_is_by_period_and_of_films_known_before_it(rated: RatedItems, film_folder: Path) -> None:
    rows = pd.read_parquet(film_folder / "ratings.parquet")
    before = rows[rows.period == "train80"]
    assert rated.items == [str(film) for film in sorted(set(before.movie_id))]
    assert str(FILMS) not in rated.items
    assert rated.rated_UI.sum() == len(before)
    assert rated.liked_UI.sum() == (before.rating >= 4).sum()
    later = rows[(rows.period != "train80") & (rows.rating >= 4) & (rows.movie_id != FILMS)]
    assert rated.later_UI.sum() == len(later)
    assert rated.genres[rated.items.index("1")] == ["Comedy", "War"]
    assert rated.genres[rated.items.index("3")] == []


def test_ease_is_the_ridge_regression_of_each_item_on_all_others() -> None:
    liked_UI = np.random.default_rng(0).random((30, 8)) < 0.4
    weights_II = ease(liked_UI, l2=3.0)
    for item in range(8):
        others = [other for other in range(8) if other != item]
        x = liked_UI[:, others].astype(float)
        expected = np.linalg.solve(x.T @ x + 3.0 * np.eye(7), x.T @ liked_UI[:, item])
        np.testing.assert_allclose(weights_II[others, item], expected, atol=1e-6)
        assert weights_II[item, item] == 0


def test_item_knn_keeps_the_nearest_by_shrunk_cosine() -> None:
    liked_UI = np.random.default_rng(1).random((30, 8)) < 0.4
    weights_II = item_knn(liked_UI, neighbours=3, shrink=2.0)
    for item in range(8):
        near = {
            other: (liked_UI[:, item] & liked_UI[:, other]).sum()
            / (np.sqrt(liked_UI[:, item].sum() * liked_UI[:, other].sum()) + 2.0)
            for other in range(8)
            if other != item
        }
        kept = sorted(near, key=near.__getitem__, reverse=True)[:3]
        assert set(np.flatnonzero(weights_II[:, item])) == set(kept)
        np.testing.assert_allclose(weights_II[kept, item], [near[other] for other in kept], rtol=1e-5)


def _map(lists_UK: Ints, relevant_UI: Bools) -> float:
    return float(average_precision(*hits(lists_UK, relevant_UI)).mean())


@given(st.integers(0, 1000), st.integers(1, 6))
@settings(max_examples=30)
def test_figures_are_those_of_their_definitions(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    scores_UI, relevant_UI = rng.random((5, 9)), rng.random((5, 9)) < 0.4
    relevant_UI[:, 0] = True
    hidden_UI = (rng.random((5, 9)) < 0.3) & ~relevant_UI
    lists_UK = best(scores_UI.astype(np.float32), hidden_UI, min(count, 3))
    found: dict[str, list[float]] = {"recall": [], "ndcg": [], "map": []}
    for own, relevant, hidden, score in zip(lists_UK.tolist(), relevant_UI, hidden_UI, scores_UI, strict=True):
        assert own == sorted(np.flatnonzero(~hidden), key=lambda item: -score[item])[: len(own)]
        own_hits, most = [bool(relevant[item]) for item in own], min(len(own), int(relevant.sum()))
        found["recall"].append(sum(own_hits) / most)
        gains = [1 / np.log2(place + 2) for place in range(len(own))]
        found["ndcg"].append(sum(g for g, hit in zip(gains, own_hits, strict=True) if hit) / sum(gains[:most]))
        found["map"].append(sum(sum(own_hits[: n + 1]) / (n + 1) for n, hit in enumerate(own_hits) if hit) / most)
    for name, figure in (("recall", recall), ("ndcg", ndcg), ("map", _map)):
        assert figure(lists_UK, relevant_UI) == pytest.approx(np.mean(found[name]))


@pytest.mark.slow
@pytest.mark.shared_data
def test_baselines_reach_their_figures_on_movielens() -> None:
    """Recall@10 and @50 of EASE, item-kNN and popularity, as measured by another implementation."""
    rated = ml1m_by_time(shared("ml-1m/ratings.parquet").parent)
    has = rated.later_UI.any(1)
    warm, new = np.flatnonzero(has & rated.liked_UI.any(1)), np.flatnonzero(has & ~rated.liked_UI.any(1))
    assert (len(warm), len(new), len(rated.items)) == (1120, 642, 3662)
    popular_UI = np.tile(popularity(rated.liked_UI), (len(rated.users), 1))
    expected = {
        (0.2466, 0.2775): (scores(rated.liked_UI, ease(rated.liked_UI)), warm),
        (0.2341, 0.2624): (scores(rated.liked_UI, item_knn(rated.liked_UI)), warm),
        (0.2192, 0.2373): (popular_UI, warm),
        (0.3833, 0.3366): (popular_UI, new),
    }
    for figures, (scores_UI, users) in expected.items():
        lists_UK = best(scores_UI[users], rated.rated_UI[users], 50)
        found = recall(lists_UK[:, :10], rated.later_UI[users]), recall(lists_UK, rated.later_UI[users])
        assert found == pytest.approx(figures, abs=2e-3)
