"""A ranked list with the probabilities of several tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys import Config, Recommender
from recsys.errors import InvalidValueError
from tests.recsys.recommender.conftest import DRINKS, SETTINGS, prepared, world


@pytest.mark.slow
def test_every_task_has_its_probabilities(tmp_path: Path, graphs: Path) -> None:
    settings = {
        "features": {"dim": 8},
        "model": {"layers": 1},  # that of tests/test_tasks.py, whose graph is traced once for both
        "training": SETTINGS["training"],
        "tasks": [{"name": "buy", "actions": ["buy"], "wait": "1m"}],
    }
    with Recommender(Config.model_validate(settings), folder=prepared(tmp_path, graphs)) as made:
        made.ingest(world(60))
        made.fit()
        ranked = made.rank(0, list(DRINKS))
        assert set(ranked.scores) == {"click", "buy"}
        assert all(len(by_item) == len(DRINKS) for by_item in ranked.scores.values())
        assert all(0 < value < 1 for by_item in ranked.scores.values() for value in by_item)
        assert ranked.to_pandas()["scores.buy"].tolist() == ranked.scores["buy"]


@pytest.mark.slow
def test_one_task_has_its_score_alone(fitted: Recommender) -> None:
    ranked = fitted.rank(0, list(DRINKS))
    assert ranked.scores == {}
    assert ranked.to_arrow().column_names == ["item", "score", "source"]


@pytest.mark.slow
def test_items_may_be_asked_for_by_their_features(fitted: Recommender) -> None:
    hot = {item for item, kind in DRINKS.items() if kind == "hot"}
    assert {item for item, _ in fitted.recommend(0, 4, where={"temperature": "hot"})} == hot
    assert list(fitted.recommend(0, 4, where={"temperature": "frozen"})) == []


@pytest.mark.slow
def test_requests_may_boost_items(fitted: Recommender) -> None:
    cold = {"feature": "item.temperature", "value": "cold", "plus": 2.0}
    for ranked in (fitted.rank(0, list(DRINKS), boosts=[cold]), fitted.recommend(0, 4, boosts=[cold])):
        assert [DRINKS[item] for item, _ in ranked] == ["cold", "cold", "hot", "hot"]
        raised = [by - score for (_, score), by in zip(ranked, ranked.boosted, strict=True)]
        assert raised == pytest.approx([2, 2, 0, 0])
        assert ranked.to_pandas()["boosted"].tolist() == list(ranked.boosted)
    with pytest.raises(InvalidValueError, match=r"boosts\[0\]: .* written with `item\.`"):
        fitted.rank(0, list(DRINKS), boosts=[cold | {"feature": "temperature"}])
