"""Lists that are varied, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from serving.experiments.assignment import Arm, Experiment
from tests.serving.api.asking import Start, figures, rank, ready, shown

SCORES = {"a": 0.41, "b": 0.4, "c": 0.39, "d": 0.3}
FEATURES = {"a": {"kind": "news"}, "b": {"kind": "news"}, "c": {"kind": "news"}, "d": {"kind": "sport"}}
ARMS = (Arm("plain", "online", 1, diversity=0.0), Arm("varied", "online", 1))


@pytest.fixture
def published(publish: Any) -> None:
    publish(SCORES).publish_entities({}, FEATURES)


def test_an_item_of_another_kind_comes_second(start: Start, published: None) -> None:
    app = ready(start(diversity_by="item.kind", diversity=2.0))
    answer = rank(app, *SCORES, count=3)
    assert shown(answer) == ["a", "d", "b"]
    assert answer["degraded"] == []
    kinds = figures(app)
    assert kinds["recsys_list_variety_count"] == 1
    assert kinds["recsys_list_variety_sum"] == pytest.approx(3 / 2 ** (2 / 3))  # shares 2/3 and 1/3
    given = rank(app, *SCORES, count=3, item_features={"kind": ["x", "y", "z", "x"]})
    assert shown(given) == ["a", "b", "c"]  # the request's values go first


def test_without_a_weight_variety_is_measured(start: Start, published: None) -> None:
    app = ready(start(diversity_by="item.kind"))
    assert shown(rank(app, *SCORES, count=3)) == ["a", "b", "c"]
    assert figures(app)["recsys_list_variety_sum"] == pytest.approx(1)


def test_arms_may_value_it_differently(start: Start, published: None) -> None:
    experiment = Experiment("ab", ARMS)
    app = ready(start(diversity_by="item.kind", diversity=2.0, experiments=(experiment,)))
    users = {
        arm: next(f"u{n}" for n in range(99) if experiment.arm(f"u{n}").name == arm) for arm in ("plain", "varied")
    }
    found = {arm: shown(rank(app, *SCORES, user=user)) for arm, user in users.items()}
    assert found == {"plain": ["a", "b", "c", "d"], "varied": ["a", "d", "b", "c"]}


def test_another_value_is_another_split() -> None:
    same = Experiment("ab", (ARMS[0], Arm("varied", "online", 1)))
    other = Experiment("ab", (ARMS[0], Arm("varied", "online", 1, diversity=1.0)))
    assert Experiment("ab", ARMS).allocation == same.allocation != other.allocation
