"""Candidates that are left out before the model, over HTTP, by the vectors of a two-tower model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from recsys.errors import InvalidValueError
from serving.model.artefact import USER_TABLE, USER_TOWER
from serving.replication.publish.publisher import Publisher
from serving.settings import ServingSettings
from streaming.events.schema import Impression
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import Start, figures, rank, ready, shown, stored
from tests.serving.fakes import DIM, artefact
from tests.serving.waiting import until

SCORES = {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.2}
VECTORS = {"a": [0.0, 1.0], "b": [0.8, 0.6], "c": [0.6, 0.8], "d": [1.0, 0.0]}


def tower() -> bytes:
    """A graph of which every user's vector is (1, 0)."""
    rows = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, [1, "F", DIM])
    vector = onnx.helper.make_tensor_value_info("vector", onnx.TensorProto.FLOAT, [1, 2])
    value = onnx.helper.make_tensor("value", onnx.TensorProto.FLOAT, [1, 2], [1.0, 0.0])
    node = onnx.helper.make_node("Constant", [], ["vector"], value=value)
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "tower", [rows], [vector]), opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    return bytes(model.SerializeToString())


@pytest.fixture
def published(publish: Any) -> Publisher:
    publisher: Publisher = publish(SCORES)
    vectors_NE = np.array(list(VECTORS.values()), np.float32)
    publisher.vectors.change(list(VECTORS), vectors_NE)
    plain = artefact(step=2)
    publisher.publish_artefact(
        replace(plain, graphs=plain.graphs | {USER_TOWER: tower()}, dims=plain.dims | {f"{USER_TABLE}user": DIM})
    )
    return publisher


def test_the_best_by_the_vectors_go_to_the_model(start: Start, published: Publisher, log: MemoryLog) -> None:
    app = ready(start(prerank=2, prerank_checked=0.0))
    answer = rank(app, *SCORES, count=1)
    assert shown(answer) == ["b"]  # a, c have the greater angles to (1, 0)
    assert answer["preranked"] == {"by": "two_tower", "left_out": 2}
    assert answer["degraded"] == []
    assert figures(app)['recsys_preranked_total{result="reduced"}'] == 1
    assert figures(app)['recsys_stage_seconds_count{stage="prerank"}'] == 1
    until(lambda: stored(log))
    logged = stored(log)[0]
    assert isinstance(logged, Impression)
    assert (logged.items, logged.propensities) == (["b"], [1.0])


def test_every_item_comes_back_where_all_are_asked_for(start: Start, published: Publisher) -> None:
    app = ready(start(prerank=2, prerank_checked=0.0))
    everything = rank(app, *SCORES)
    assert shown(everything) == ["a", "b", "c", "d"]
    assert "preranked" not in everything
    assert shown(rank(app, *SCORES, count=3)) == ["b", "c", "d"]  # as many as are wanted


def test_checked_requests_measure_what_is_lost(start: Start, published: Publisher) -> None:
    app = ready(start(prerank=2, prerank_checked=1.0))
    answer = rank(app, *SCORES, count=2)
    assert shown(answer) == ["a", "b"]
    assert "preranked" not in answer
    found = figures(app)
    assert found['recsys_prerank_survived_count{by="two_tower"}'] == 1
    assert found['recsys_prerank_survived_sum{by="two_tower"}'] == 0.5  # b, and not a


def test_recommendations_are_preranked(start: Start, published: Publisher) -> None:
    published.publish_catalog([(item, 1.0) for item in SCORES], [])
    app = ready(start(prerank=2, prerank_checked=0.0, shares={"popular": 1.0}))
    answer = app.post("/v1/recommend", json={"user": "u", "count": 1}).json()
    assert shown(answer) == ["b"]
    assert answer["items"][0]["source"] == "popular"
    assert answer["preranked"] == {"by": "two_tower", "left_out": 2}


def test_without_vectors_the_means_of_earlier_requests_decide(start: Start, publish: Any) -> None:
    publish(SCORES)
    app = ready(start(prerank=2, prerank_checked=0.0))
    first = rank(app, *SCORES, count=1)
    assert shown(first) == ["a"]
    assert "preranked" not in first  # nothing is known yet
    second = rank(app, *reversed(SCORES), count=1)
    assert shown(second) == ["a"]
    assert second["preranked"] == {"by": "mean_logit", "left_out": 2}
    found = figures(app)
    assert found['recsys_preranked_total{result="unscored"}'] == found['recsys_preranked_total{result="reduced"}'] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"prerank": 2000}, "prerank: 2000 has no effect"), ({"prerank_checked": 0.5}, "no effect without prerank")],
)
def test_settings_without_an_effect_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        ServingSettings(**settings)
