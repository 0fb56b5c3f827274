"""What the model attended to, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from embedding.store import Delta, TableDelta
from serving.assembly import build
from serving.model.explanation import EXPLAINED
from serving.model.scorer import load_scorer
from serving.process_settings import Settings
from serving.replication.connection.redis_client import RedisClient
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from tests.contracts.scorer import DIM, exported
from tests.serving.api.asking import FailingLog, Start, rank, ready
from tests.serving.fakes import artefact, ids
from tests.serving.running import running

ITEMS = [f"i{number}" for number in range(12)]
FIELDS = ["user", "history", "item", "tags", "age", "price"]
FEATURES = {"features": {"age": 3.0, "history": ["i1"]}, "item_features": {"price": [float(n) for n in range(12)]}}


def publish_exported(client: RedisClient, name: str) -> None:
    """A model whose items have rows of their own."""
    model, spec, exporter = exported(name, "every kind of field")
    publisher = Publisher(client, "online")
    items, _ = Encoder(spec).encode_items(ITEMS, [{}] * len(ITEMS))
    values = np.random.default_rng(0).normal(size=(len(ITEMS), DIM)).astype(np.float32)
    publisher.publish(Delta(1, True, {"item": TableDelta(items["item"].values, values, ids())}))
    publisher.publish_artefact(artefact(graph=exporter.graph(model), spec=spec, dim=DIM))


def refused(app: httpx.Client) -> dict[str, str]:
    response = app.post("/v1/rank", json={"user": "u", "items": ["a"], "explain": True})
    assert response.status_code == 422
    error: dict[str, str] = response.json()["error"]
    assert error["field"] == "explain"
    return error


def test_autoint_says_what_it_attended_to(settings: Settings, log: FailingLog, client: RedisClient) -> None:
    publish_exported(client, "autoint")
    with running(build(settings, log, load_scorer)) as app:
        answer = rank(ready(app), *ITEMS, explain=True, **FEATURES)
        plain = rank(app, *ITEMS, **FEATURES)
    assert answer["degraded"] == plain["degraded"] == []
    assert {item["item"]: item["score"] for item in answer["items"]} == {
        item["item"]: item["score"] for item in plain["items"]
    }
    assert answer["attention"]["fields"] == FIELDS
    weights = np.array(answer["attention"]["weights"])
    assert weights.shape == (2, 2, len(FIELDS), len(FIELDS))
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-4)
    explained = [item for item in answer["items"] if "pairs" in item]
    assert explained == answer["items"][:EXPLAINED]
    assert len({str(item["pairs"]) for item in explained}) == EXPLAINED, "items have pairs of their own"
    first = explained[0]["pairs"]
    assert [pair["weight"] for pair in first] == sorted((pair["weight"] for pair in first), reverse=True)
    a, b = (FIELDS.index(name) for name in first[0]["fields"])
    mean = weights.mean((0, 1))
    assert first[0]["weight"] == pytest.approx((mean[a, b] + mean[b, a]) / 2, abs=1e-4)
    assert "attention" not in plain
    assert not any("pairs" in item for item in plain["items"])


def test_another_model_refuses(settings: Settings, log: FailingLog, client: RedisClient) -> None:
    publish_exported(client, "fm")
    with running(build(settings, log, load_scorer)) as app:
        assert "explains its rankings: its model is fm, not autoint" in refused(ready(app))["message"]
        assert rank(app, "a")["degraded"] == []


def test_a_graph_that_is_none_refuses(start: Start, publish: Any) -> None:
    publish({"a": 1.0})
    app = ready(start())
    assert "cannot read this graph" in refused(app)["message"]


def test_a_ranking_by_popularity_has_no_explanation(start: Start) -> None:
    answer = rank(start(), "a", "b", explain=True)
    assert answer["degraded"] == ["no_model"]
    assert "attention" not in answer
