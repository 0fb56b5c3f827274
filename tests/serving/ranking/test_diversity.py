"""Lists in which variety is worth something."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidValueError
from serving.ranking.diversity import Diversity, categories
from serving.ranking.exploration import Exploration, Greedy, PlackettLuce
from serving.ranking.vendi import Floats, vendi_score
from streaming.events.schema import Value

SCORES_C = np.array([0.5, 0.45, 0.4, 0.3])
KINDS: list[Value] = ["a", "a", "a", "b"]
VALUES = st.one_of(st.none(), st.sampled_from("abc"), st.integers(0, 2), st.lists(st.sampled_from("abc"), max_size=2))


def order(
    weight: float, policy: Exploration | None = None, values: Sequence[Value] = KINDS, limit: int = 4, seed: int = 0
) -> tuple[list[int], list[float]]:
    diversity = Diversity("item.kind", weight)
    order_K, chances_K = diversity.order(policy or Greedy(), SCORES_C, values, limit, np.random.default_rng(seed))
    return order_K.tolist(), chances_K.tolist()


def log_odds(score: float) -> float:
    return math.log(score / (1 - score))


def test_an_item_of_another_kind_comes_above_those_that_are_little_better() -> None:
    assert order(0.0)[0] == [0, 1, 2, 3]
    # At the second position: b is worth log(.3 / .7) + weight log 2, the second a log(.45 / .55).
    enough = (log_odds(0.45) - log_odds(0.3)) / math.log(2)
    assert order(enough - 0.01)[0][1] == 1
    assert order(enough + 0.01)[0] == [0, 3, 1, 2]


def test_where_all_are_alike_or_unknown_scores_decide() -> None:
    same: list[list[Value]] = [["a"] * 4, [None] * 4, [[]] * 4]
    for values in same:
        assert order(9.0, values=values)[0] == [0, 1, 2, 3]


def test_an_item_without_a_value_is_like_others_without_one() -> None:
    assert order(9.0, values=[None, [], "a", "a"])[0][:2] == [0, 2]


def test_only_the_first_positions_are_varied() -> None:
    diversity = Diversity("item.kind", 9.0, positions=2)
    order_K, chances_K = diversity.order(Greedy(), SCORES_C, ["a", "a", "b", "c"], 4, np.random.default_rng(0))
    assert order_K.tolist() == [0, 2, 1, 3]
    assert chances_K.tolist() == [1.0] * 4


def chances(drawn: Sequence[int], weight: float, temperature: float) -> list[float]:
    """Of each position given those above it, by the definition."""
    found, vectors = [], categories(KINDS).dense()

    def worth(above: Sequence[int], item: int) -> float:
        before = vendi_score(vectors[list(above)], 2) or 1.0
        gain = math.log(vendi_score(vectors[[*above, item]], 2) / before)
        return math.exp((log_odds(SCORES_C[item]) + weight * gain) / temperature)

    for position, item in enumerate(drawn):
        left = [one for one in range(len(KINDS)) if one not in drawn[:position]]
        found.append(worth(drawn[:position], item) / sum(worth(drawn[:position], one) for one in left))
    return found


def test_propensities_are_those_of_what_was_drawn() -> None:
    for seed in range(20):
        drawn, stated = order(2.0, PlackettLuce(0.7), seed=seed, limit=3)
        assert stated == pytest.approx(chances(drawn, 2.0, 0.7), rel=1e-9)


def test_lists_are_drawn_as_often_as_their_propensities_say() -> None:
    """Over 4,000 draws within five standard errors."""
    policy, rng, draws = PlackettLuce(1.0), np.random.default_rng(3), 4000
    seen = Counter(
        tuple(Diversity("item.kind", 2.0).order(policy, SCORES_C, KINDS, 2, rng)[0].tolist()) for _ in range(draws)
    )
    assert len(seen) == 12
    for drawn, count in seen.items():
        p = math.prod(chances(drawn, 2.0, 1.0))
        assert abs(count / draws - p) < 5 * math.sqrt(p * (1 - p) / draws)


@given(st.lists(st.tuples(st.floats(0, 1), VALUES), max_size=12), st.floats(0, 1e6), st.integers(1, 15), st.booleans())
def test_any_candidates_give_a_list_and_chances(
    candidates: list[tuple[float, Value]], weight: float, limit: int, explores: bool
) -> None:
    scores_C, values = np.array([score for score, _ in candidates]), [value for _, value in candidates]
    policy = PlackettLuce(1.0) if explores else Greedy()
    diversity = Diversity("item.kind", weight, positions=5)
    order_K, chances_K = diversity.order(policy, scores_C, values, limit, np.random.default_rng(0))
    assert len(order_K) == len(chances_K) == min(limit, len(candidates))
    assert len(set(order_K.tolist())) == len(order_K)
    assert ((chances_K > 0) & (chances_K <= 1)).all()


def test_more_weight_gives_more_variety() -> None:
    rng = np.random.default_rng(1)
    scores_C = 0.3 + 0.1 * rng.random(200)
    values: list[Value] = [f"g{int(120 * (score - 0.3))}" for score in scores_C.tolist()]  # the best are alike

    def variety(weight: float) -> tuple[float, Floats]:
        diversity = Diversity("item.genres", weight)
        order_K, _ = diversity.order(Greedy(), scores_C, values, 20, rng)
        return diversity.score([values[place] for place in order_K.tolist()]), scores_C[order_K]

    (plain, best), (some, good), (most, _) = variety(0.0), variety(1.0), variety(20.0)
    assert plain < some < most
    assert good.mean() > 0.95 * best.mean()  # for little of the score


@pytest.mark.parametrize("name", ["genres", "item.", "user.genres"])
def test_what_is_no_feature_of_items_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="such as item"):
        Diversity(name)


def test_memory_is_that_of_the_values_not_of_all_pairs_of_items_and_values() -> None:
    """10,000 candidates, each with a brand of its own: as a matrix they would be 800 MB, made for every request."""
    values: list[Value] = [f"brand {n}" for n in range(10_000)]
    scores_C = np.linspace(0.1, 0.9, len(values))
    tracemalloc.start()
    order_K, _ = Diversity("item.brand", 1.0).order(Greedy(), scores_C, values, 20, np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert order_K.tolist() == list(range(9_999, 9_979, -1))
    assert peak < 10_000_000
