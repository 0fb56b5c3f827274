"""Thompson sampling: propensities by enumeration and by frequency, and what evidence does."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.config.file import parse
from recsys.errors import ConfigError, InvalidValueError
from serving.ranking.diversity import Diversity
from serving.ranking.exploration import log_odds
from serving.ranking.thompson import Posterior, Thompson
from serving.settings import ServingSettings
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Value
from tests.serving.api.asking import Start, rank, ready
from tests.serving.fakes import SPEC

EPSILON = 0.2
SCORES_DC = np.random.default_rng(3).random((8, 4))


def by_enumeration(order: list[int]) -> list[float]:
    """Of each position, given those above it: over all draws, and over all items that are left."""
    left, chances = set(range(SCORES_DC.shape[1])), []
    for item in order:
        best = [max(left, key=row.__getitem__) for row in SCORES_DC.tolist()]
        chances.append((1 - EPSILON) * best.count(item) / len(best) + EPSILON / len(left))
        left.remove(item)
    return chances


def test_propensities_are_those_of_an_enumeration_of_all_draws() -> None:
    policy, rng = Thompson(EPSILON), np.random.default_rng(0)
    for _ in range(100):
        order_K, chances_K = policy.order(SCORES_DC, 4, rng)
        assert chances_K.tolist() == pytest.approx(by_enumeration(order_K.tolist()))
    assert policy.order(SCORES_DC, 9, rng)[1][-1] == pytest.approx(1)


def test_the_propensities_of_all_lists_add_up_to_one() -> None:
    total = sum(np.prod(by_enumeration(list(order))) for order in itertools.permutations(range(4)))
    assert total == pytest.approx(1)


@pytest.mark.slow
def test_lists_are_drawn_as_often_as_stated() -> None:
    policy, rng, draws = Thompson(EPSILON), np.random.default_rng(1), 20_000
    seen = Counter(tuple(policy.order(SCORES_DC, 2, rng)[0].tolist()) for _ in range(draws))
    assert set(seen) == set(itertools.permutations(range(4), 2))
    for drawn, count in seen.items():
        p = float(np.prod(by_enumeration(list(drawn))))
        assert abs(count / draws - p) < 5 * np.sqrt(p * (1 - p) / draws)


@pytest.mark.slow
def test_inverse_propensities_have_no_bias_though_draws_differ_from_list_to_list() -> None:
    """The mean reward of the worst item, which hardly a draw has at its top: it is there by `epsilon` alone."""
    policy, posterior, rng = Thompson(EPSILON), Posterior("shown", draws=4), np.random.default_rng(2)
    scores_C = np.array([0.5, 0.4, 0.05])
    estimates = []
    for _ in range(20_000):
        order_K, chances_K = policy.order(posterior.draw(scores_C, [100, 100, 100], rng), 1, rng)
        estimates.append((order_K[0] == 2) / chances_K[0])
    assert np.mean(estimates) == pytest.approx(1, abs=5 * np.std(estimates) / np.sqrt(len(estimates)))


def test_draws_are_as_wide_as_what_labels_leave_open() -> None:
    """A normal posterior: precision 1 and, of each showing, p (1 - p)."""
    shown: list[Value] = [None, 0, 100, 10_000.0, -5]
    posterior = Posterior("shown", draws=20_000)
    scores_DC = posterior.draw(np.full(5, 0.2), shown, np.random.default_rng(0))
    odds_DC = log_odds(scores_DC)
    np.testing.assert_allclose(odds_DC.mean(0), np.log(0.25), atol=0.03)
    np.testing.assert_allclose(odds_DC.std(0), (1 + np.array([0, 0, 100, 10_000, 0]) * 0.16) ** -0.5, rtol=0.03)


def test_varied_lists_are_of_draws_too() -> None:
    """Item 2 is of another kind, and weighs more at the second position."""
    diversity, rng = Diversity("item.kind", 50.0, positions=2), np.random.default_rng(0)
    scores_DC = np.tile(np.array([0.5, 0.4, 0.3, 0.2]), (8, 1))
    for _ in range(20):
        order_K, chances_K = diversity.order(Thompson(0.1), scores_DC, ["a", "a", "b", "a"], 4, rng)
        assert sorted(order_K.tolist()) == [0, 1, 2, 3]
        if order_K[0] == 0:
            expected = 0.9 * (order_K[1] == 2) + 0.1 / 3
            assert chances_K[:2].tolist() == pytest.approx([0.9 + 0.1 / 4, expected])


def test_over_http_an_item_of_which_more_is_known_is_explored_less(start: Start, publish: Any) -> None:
    """The log odds of `a` are .4 above those of `b`: if both were shown often, it is first but for `epsilon`."""
    shown_field = Field("shown", "numeric", "item.shown", transform="log1p")
    publish({"a": -1.5, "b": -1.6}, spec=FeatureSpec.of([*SPEC.fields, shown_field]))
    app = ready(start(exploration="thompson", epsilon=0.01, thompson_by="item.shown", seed=3))

    def chances(shown: float) -> list[float]:
        """Of `a` to be first."""
        answers = [rank(app, "a", "b", item_features={"shown": [shown, shown]})["items"] for _ in range(20)]
        return [one["propensity"] if one["item"] == "a" else 1 - one["propensity"] for one, _ in answers]

    assert min(chances(0)) < 0.9  # 32 draws with deviations of 1 each
    assert chances(1000) == pytest.approx([0.995] * 20)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exploration": "thompson"}, "exploration: thompson needs thompson_by, such as item.count"),
        (
            {"exploration": "thompson", "thompson_by": "request.age"},
            "thompson_by: 'request.age' is no feature of items",
        ),
        ({"thompson_by": "item.shown"}, "thompson_by: item.shown has no effect while exploration is none"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        ServingSettings(**settings)


def test_what_no_field_reads_is_no_evidence() -> None:
    with pytest.raises(ConfigError, match=r"no field has the source 'item.shown'"):
        parse('[serving]\nexploration = "thompson"\nthompson_by = "item.shown"\n', Path("recsys.toml"))


def test_an_epsilon_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="above 0"):
        Thompson(0.0)
