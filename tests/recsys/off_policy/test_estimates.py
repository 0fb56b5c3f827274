"""Estimates of another policy's value: exact in expectation, with intervals that hold."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from recsys.off_policy.estimates import Contributions, DrawnLists, contributions, mean
from recsys.off_policy.policies import EpsilonPolicy, Floats, GreedyPolicy, PlackettLucePolicy, Policy
from serving.ranking.exploration import EpsilonGreedy, PlackettLuce

LOGGING = np.array([0.2, 0.5, 0.7, 0.4])
TARGET = np.array([0.6, 0.3, 0.5, 0.55])
CLICKS = np.array([0.5, 0.1, 0.3, 0.2])
MODEL = np.array([0.3, 0.3, 0.1, 0.2])
"""Wrong on purpose."""


def chance_of(policy: Policy, scores: Floats, order: tuple[int, ...]) -> Floats:
    return np.asarray(policy.chances(scores[list(order)][None])[0])


def rewards(order: tuple[int, ...]) -> Floats:
    """Expected clicks: an item is looked at less below items that are liked."""
    liked = CLICKS[list(order)]
    return np.asarray(liked / (1 + 3 * (np.cumsum(liked) - liked)))


def every_order(policy: Policy, top: int) -> tuple[Contributions, Floats, float]:
    """Contributions of all orders under PL logging, their chances, and the target's true value."""
    orders = list(permutations(range(len(LOGGING))))
    index = np.array(orders)
    logged = np.stack([chance_of(PlackettLucePolicy(1.0), LOGGING, order) for order in orders])
    lists = DrawnLists(logged, np.stack([rewards(order) for order in orders]), np.arange(len(orders)))
    found = contributions(lists, policy, TARGET[index], MODEL[index], top)
    target = np.array([chance_of(policy, TARGET, order).prod() for order in orders])
    assert target.sum() == pytest.approx(1.0)
    truth = float(target @ np.array([rewards(order)[:top].sum() for order in orders]))
    return found, logged.prod(1), truth


@pytest.mark.parametrize(
    "policy",
    [PlackettLucePolicy(1.0), PlackettLucePolicy(0.2), GreedyPolicy(), EpsilonPolicy(0.3)],
    ids=["wide", "narrow", "greedy", "epsilon"],
)
@pytest.mark.parametrize("top", [1, 2, 4])
def test_over_all_orders_ips_and_dr_are_the_targets_value(policy: Policy, top: int) -> None:
    found, chances, truth = every_order(policy, top)
    assert chances @ found.ips_by_list == pytest.approx(truth)
    assert chances @ found.dr_L == pytest.approx(truth)
    assert chances @ found.weights_LT == pytest.approx(1.0)
    assert chances @ found.logged_by_list != pytest.approx(truth, rel=0.01)


def test_the_chances_are_those_that_serving_logs() -> None:
    scores = np.array([0.2, 0.5, 0.7, 0.4, 0.5])
    for seed in range(20):
        order, propensities = PlackettLuce(0.7).order(scores, 5, np.random.default_rng(seed))
        assert PlackettLucePolicy(0.7).chances(scores[order][None])[0] == pytest.approx(propensities)
        order, propensities = EpsilonGreedy(0.7).order(scores + np.arange(5) / 100, 5, np.random.default_rng(seed))
        assert EpsilonPolicy(0.7).chances((scores + np.arange(5) / 100)[order][None])[0] == pytest.approx(propensities)


def test_a_greedy_policy_with_equal_scores_takes_any_of_them() -> None:
    scores, values = np.array([[0.5, 0.5, 0.1]]), np.array([[1.0, 3.0, 8.0]])
    assert GreedyPolicy().chances(scores).tolist() == [[0.5, 1.0, 1.0]]
    assert GreedyPolicy().expected(scores, values).tolist() == [[2.0, 3.0, 8.0]]


def test_scores_as_far_apart_as_they_can_be_stay_finite() -> None:
    scores = np.array([[0.0, 1.0, 0.5, 1.0]])
    found = PlackettLucePolicy(0.001)
    assert np.isfinite(found.chances(scores)).all()
    assert found.expected(scores, np.ones((1, 4))) == pytest.approx(1.0)


def drawn(rng: np.random.Generator, users: int) -> Contributions:
    """A log whose users have tastes of their own, with 1 to 5 lists each."""
    user_L = np.repeat(np.arange(users), rng.integers(1, 6, users))
    liking_L = rng.choice([0.4, 1.6], users)[user_L]
    utilities = np.log(LOGGING / (1 - LOGGING))
    order_LK = np.argsort(-(utilities + rng.gumbel(size=(len(user_L), len(LOGGING)))), axis=1)
    expected_LK = liking_L[:, None] * np.array([rewards(tuple(order)) for order in order_LK])
    clicked_LK = (rng.random(expected_LK.shape) < expected_LK).astype(np.float64)
    lists = DrawnLists(PlackettLucePolicy(1.0).chances(LOGGING[order_LK]), clicked_LK, user_L)
    return contributions(lists, PlackettLucePolicy(1.0), TARGET[order_LK], MODEL[order_LK], 2)


def test_intervals_have_the_truth_in_them_as_often_as_they_say() -> None:
    *_, truth = every_order(PlackettLucePolicy(1.0), 2)
    inside = dict.fromkeys(("ips", "snips", "dr"), 0)
    for seed in range(200):
        found = drawn(np.random.default_rng(seed), 100)
        for name in inside:
            estimate = getattr(found, name)()
            inside[name] += estimate.low <= truth <= estimate.high
    assert all(0.9 <= count / 200 <= 0.985 for count in inside.values()), inside


def test_lists_of_one_user_count_as_one() -> None:
    values, users = np.array([1.0, 0.0, 1.0, 1.0, 0.0]), np.arange(5)
    once, often = mean(values, users), mean(np.repeat(values, 10), np.repeat(users, 10))
    assert (often.value, often.low) == pytest.approx((once.value, once.low))
    alone = mean(values, np.zeros(5, np.int64))
    assert alone.low is None
