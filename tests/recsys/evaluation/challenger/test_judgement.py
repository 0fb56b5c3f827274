"""Verdicts on planted logs."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.challenger.judgement import Judgement, judge
from recsys.evaluation.challenger.scored_lists import Floats, ScoredList, ScoredLists
from recsys.evaluation.challenger.varied_orders import VariedOrders
from recsys.off_policy.policies import GreedyPolicy, PlackettLucePolicy
from serving.ranking.diversity import Diversity
from serving.ranking.exploration import PlackettLuce
from streaming.events.schema import Value

CLICK = {"click": 1.0}
PLACKETT_LUCE = PlackettLucePolicy(1.0)


def planted(count: int = 600, users: int = 150, seed: int = 1) -> list[ScoredList]:
    """The champion knows nothing of what is clicked, the challenger all; the champion draws lists of four."""
    rng, made = np.random.default_rng(seed), []
    for n in range(count):
        chances_K = rng.permutation([0.05, 0.1, 0.2, 0.5])
        guess_K = np.full(4, 0.2)
        order_K, propensities_K = PlackettLuce(1.0).order(guess_K, 4, rng)
        shown_K = chances_K[order_K]
        labels_K = (rng.random(4) < shown_K).astype(np.float64)
        made.append(ScoredList(f"u{n % users}", guess_K, shown_K, propensities_K, labels_K))
    return made


def swapped(lists: list[ScoredList]) -> list[ScoredList]:
    return [ScoredList(o.user, o.challenger_K, o.champion_K, np.zeros(0), o.labels_K) for o in lists]


def judgement(lists: list[ScoredList], score: dict[str, float] | None = None) -> Judgement:
    return judge(ScoredLists(lists), score or CLICK, PLACKETT_LUCE)


def test_a_better_challenger() -> None:
    found = judgement(planted())
    assert (found.verdict, found.because) == ("better", ["AUC", "log loss", "off-policy gain"])
    assert (found.lists, found.users, found.items) == (600, 150, 2400)
    assert found.champion.auc == 0.5
    assert found.challenger.auc is not None
    assert found.challenger.auc > 0.7
    assert found.challenger.calibration == pytest.approx(1, abs=0.1)
    value = found.off_policy
    assert value.refused == ""
    assert value.lists == 600
    assert 100 < value.effective < 600


def test_the_off_policy_value_is_that_of_the_challengers_own_order() -> None:
    """The expected clicks at the first three positions, by drawing orders of the challenger's."""
    rng, scores = np.random.default_rng(7), np.array([0.05, 0.1, 0.2, 0.5])
    truth = np.mean([scores[PlackettLuce(1.0).order(scores, 4, rng)[0][:3]].sum() for _ in range(4000)])
    value = judgement(planted(2000, users=2000, seed=3)).off_policy
    assert value.dr is not None
    assert value.dr.low is not None
    assert value.dr.high is not None
    assert value.dr.low < truth < value.dr.high


def test_a_worse_challenger_and_no_list_drawn() -> None:
    found = judgement(swapped(planted()))
    assert (found.verdict, found.because) == ("worse", ["AUC", "log loss"])
    assert found.off_policy.refused.startswith("no list was drawn at random and shown whole")
    assert found.off_policy.gain is None


def test_equal_models_differ_in_nothing() -> None:
    lists = [ScoredList(o.user, o.champion_K, o.champion_K, o.propensities_K, o.labels_K) for o in planted()]
    assert judgement(lists).verdict == "no difference shown"


def test_worse_in_one_figure_is_worse() -> None:
    """It ranks right, and promises too much."""
    lists = [ScoredList(o.user, o.champion_K, o.challenger_K**0.2, np.zeros(0), o.labels_K) for o in planted()]
    found = judgement(lists)
    assert (found.verdict, found.because) == ("worse", ["log loss"])
    assert found.auc is not None
    assert found.auc.low is not None
    assert found.auc.low > 0


def test_scores_of_several_tasks_are_judged_by_their_order_alone() -> None:
    found = judgement(planted(), {"click": 1.0, "buy": 1.0})
    assert found.log_loss is None
    assert found.challenger.calibration is None
    assert found.challenger.auc is not None
    assert found.verdict == "better"


@pytest.mark.parametrize(
    ("lists", "because"),
    [
        (planted(99, users=99), ["99 users, fewer than 100"]),
        ([], ["0 users, fewer than 100", "0 positives, fewer than 20"]),
    ],
)
def test_too_little_is_said(lists: list[ScoredList], because: list[str]) -> None:
    found = judgement(lists)
    assert (found.verdict, found.because) == ("too little", because)


def test_a_challenger_whose_order_was_hardly_ever_shown_gets_no_value() -> None:
    lists = [one for one in planted() if one.labels_K.sum() < 5]
    found = judge(ScoredLists(lists), CLICK, PlackettLucePolicy(0.05))
    assert "lists say as much as" in found.off_policy.refused
    assert found.off_policy.dr is None


def test_lists_cut_short_say_nothing_of_other_orders() -> None:
    def cut(values_K: Floats) -> Floats:
        return values_K[:2]

    lists = [
        ScoredList(o.user, cut(o.champion_K), cut(o.challenger_K), cut(o.propensities_K), cut(o.labels_K))
        for o in planted()
    ]
    assert judge(ScoredLists(lists), CLICK, GreedyPolicy()).off_policy.lists == 0


KINDS: list[Value] = ["tea", "tea", ["tea", "herb"], "cake"]
VARIED = Diversity("item.kind", 2.0, positions=3)


def varied(count: int, seed: int) -> list[ScoredList]:
    """As `planted`, with lists that servers vary by kind; what is liked most is of the same kind."""
    rng, made = np.random.default_rng(seed), []
    clicked_K, guess_K = np.array([0.6, 0.5, 0.1, 0.05]), np.full(4, 0.2)
    for n in range(count):
        order_K, propensities_K = VARIED.order(PlackettLuce(0.7), guess_K, KINDS, 4, rng)
        labels_K = (rng.random(4) < clicked_K[order_K]).astype(np.float64)
        values = [KINDS[place] for place in order_K.tolist()]
        made.append(ScoredList(f"u{n}", guess_K, clicked_K[order_K], propensities_K, labels_K, values))
    return made


def test_the_value_of_varied_orders_is_that_of_the_challengers_own_varied_order() -> None:
    rng, clicked = np.random.default_rng(7), np.array([0.6, 0.5, 0.1, 0.05])
    truth = np.mean(
        [clicked[VARIED.order(PlackettLuce(0.7), clicked, KINDS, 4, rng)[0][:3]].sum() for _ in range(3000)]
    )
    lists, orders = varied(2000, seed=2), VariedOrders(VARIED, 0.7)
    value = judge(ScoredLists(lists), CLICK, orders).off_policy
    assert value.dr is not None
    assert value.dr.low is not None
    assert value.dr.high is not None
    assert value.dr.low < truth < value.dr.high


def test_chances_of_varied_orders_are_those_that_serving_logs() -> None:
    for one in varied(50, seed=4):
        assert one.values_K is not None
        chances = VariedOrders(VARIED, 0.7).policy([one.values_K]).chances(one.champion_K[None])
        np.testing.assert_allclose(chances[0], one.propensities_K, rtol=1e-9)


def test_varied_orders_without_the_feature_in_the_log_or_without_draws_are_refused() -> None:
    found = judge(ScoredLists(planted(20)), CLICK, VariedOrders(VARIED, 1.0)).off_policy
    assert found.refused == "lists are varied by item.kind, which the log has not: add it to features.fields"
    assert "without drawing them" in judge(ScoredLists(planted(20)), CLICK, None).off_policy.refused
