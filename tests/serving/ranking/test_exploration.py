from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidValueError
from serving.ranking.diversity import Diversity
from serving.ranking.exploration import (
    LEAST_TEMPERATURE,
    EpsilonGreedy,
    Exploration,
    Greedy,
    PlackettLuce,
)
from serving.ranking.named_exploration import exploration

SCORES_C = np.array([0.9, 0.5, 0.2, 0.7])


def plackett_luce(order: tuple[int, ...], weights: list[float]) -> list[float]:
    """By the definition, one position after the other."""
    left = dict(enumerate(weights))
    conditional = []
    for i in order:
        conditional.append(left[i] / sum(left.values()))
        del left[i]
    return conditional


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_propensities_are_those_of_the_definition(temperature: float) -> None:
    weights = [(p / (1 - p)) ** (1 / temperature) for p in SCORES_C.tolist()]
    policy, rng = PlackettLuce(temperature), np.random.default_rng(0)
    for _ in range(50):
        order_K, propensities_K = policy.order(SCORES_C, 3, rng)
        np.testing.assert_allclose(propensities_K, plackett_luce(tuple(order_K.tolist()), weights)[:3], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("policy", [PlackettLuce(2.0), EpsilonGreedy(0.4)], ids=["plackett_luce", "epsilon"])
def test_lists_are_drawn_as_often_as_their_propensity_says(policy: Exploration) -> None:
    """The product of a list's propensities is its probability; over 40,000 draws within five standard errors."""
    rng, draws = np.random.default_rng(1), 40_000
    seen: Counter[tuple[int, ...]] = Counter()
    stated: dict[tuple[int, ...], float] = {}
    for _ in range(draws):
        order_K, propensities_K = policy.order(SCORES_C, 2, rng)
        drawn = tuple(order_K.tolist())
        seen[drawn] += 1
        stated[drawn] = float(np.prod(propensities_K))
    assert set(seen) == set(itertools.permutations(range(4), 2))
    assert sum(stated.values()) == pytest.approx(1.0)
    for drawn, count in seen.items():
        p = stated[drawn]
        assert abs(count / draws - p) < 5 * np.sqrt(p * (1 - p) / draws)


@pytest.mark.slow
def test_inverse_propensities_estimate_another_policy_without_bias() -> None:
    """What they are logged for: the first position's mean reward under the ranked policy, from explored lists."""
    rewards_C = np.array([0.3, 0.1, 0.0, 0.2])
    policy, rng = PlackettLuce(3.0), np.random.default_rng(2)
    best = int(Greedy().order(SCORES_C, 1, rng)[0][0])
    estimates = []
    for _ in range(40_000):
        order_K, propensities_K = policy.order(SCORES_C, 1, rng)
        estimates.append((order_K[0] == best) * rewards_C[order_K[0]] / propensities_K[0])
    assert np.mean(estimates) == pytest.approx(rewards_C[best], abs=5 * np.std(estimates) / 200)


def test_a_small_temperature_ranks() -> None:
    order_K, propensities_K = PlackettLuce(1e-3).order(SCORES_C, 4, np.random.default_rng(0))
    assert order_K.tolist() == [0, 3, 1, 2]
    np.testing.assert_allclose(propensities_K, 1.0)


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 100), st.integers(1, 40))
def test_any_scores_give_a_list_and_probabilities(scores: list[float], temperature: float, limit: int) -> None:
    rng = np.random.default_rng(0)
    for policy in (PlackettLuce(temperature), Greedy()):
        order_K, propensities_K = policy.order(np.array(scores), limit, rng)
        assert len(set(order_K.tolist())) == len(propensities_K) == min(limit, len(scores))
        assert ((propensities_K > 0) & (propensities_K <= 1)).all()


def test_ranking_keeps_the_order_of_equals_and_is_certain() -> None:
    order_K, propensities_K = Greedy().order(np.array([0.5, 0.9, 0.5]), 3, np.random.default_rng(0))
    assert order_K.tolist() == [1, 0, 2]
    assert propensities_K.tolist() == [1, 1, 1]


def test_epsilon_is_the_chance_of_any_item_that_is_left() -> None:
    policy, rng = EpsilonGreedy(0.4), np.random.default_rng(0)
    for _ in range(50):
        order_K, propensities_K = policy.order(SCORES_C, 4, rng)
        best_first, expected = [0, 3, 1, 2], []
        for item in order_K.tolist():
            expected.append(0.4 / len(best_first) + 0.6 * (item == best_first[0]))
            best_first.remove(item)
        assert propensities_K.tolist() == pytest.approx(expected)
    drawn = [policy.draw(np.array([-np.inf, 0.2, 0.1]), rng) for _ in range(100)]
    assert set(drawn) == {(1, 0.8), (2, 0.2)}


def test_a_wrong_policy_is_named() -> None:
    for epsilon in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            exploration("epsilon", epsilon=epsilon)
    with pytest.raises(ValueError, match="plackett_luce"):
        exploration("greedy", 1.0)
    with pytest.raises(ValueError, match="at least 1e-06"):
        exploration("plackett_luce", 0.0)


class LuckyLast(np.random.Generator):
    """Noise with which the last candidate is drawn first, however improbable that is."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def gumbel(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return np.where(np.arange(size) == size - 1, 1e9, 0.0)


def test_a_propensity_is_never_zero_and_estimates_stay_finite() -> None:
    """Of this draw it is e^-3200, which no float holds."""
    order_K, propensities_K = PlackettLuce(0.01).order(np.array([1.0, 0.0]), 2, LuckyLast())
    assert order_K.tolist() == [1, 0]
    assert 0 < propensities_K[0] <= 1e-30
    assert np.isfinite(1 / propensities_K).all()


@pytest.mark.parametrize("temperature", [LEAST_TEMPERATURE, 1e300])
def test_propensities_are_numbers_at_the_ends_of_what_is_allowed(temperature: float) -> None:
    scores_C, rng = np.array([0.0, 1.0, 0.5, 0.5]), np.random.default_rng(0)
    for diverse in (Diversity("item.kind"), Diversity("item.kind", 1.0)):
        order_K, chances_K = diverse.order(PlackettLuce(temperature), scores_C, ["a", "b", "a", "b"], 4, rng)
        assert sorted(order_K.tolist()) == [0, 1, 2, 3]
        assert ((chances_K > 0) & (chances_K <= 1)).all()


@pytest.mark.parametrize("temperature", [1e-308, 0.0, -1.0, float("inf"), float("nan")])
def test_other_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(InvalidValueError, match=r"at least 1e-06"):
        PlackettLuce(temperature)
