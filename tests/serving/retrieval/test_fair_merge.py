"""Minimum places of rankings and of groups of items, by both rules, beside the best of all choices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from math import e
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.errors import InvalidValueError
from serving.cache.entity_cache import EntityFeatures
from serving.experiments.assignment import Arm
from serving.ranking.popularity import CatalogSnapshot
from serving.retrieval.catalog_sources import PopularItems, RecentItems
from serving.retrieval.fair_merge import Rule, merge, represent
from serving.retrieval.item_group import ItemGroup
from serving.retrieval.merged import MergedRetriever
from serving.retrieval.retriever import Candidates, RetrievalQuery, Retriever
from serving.settings import ServingSettings
from streaming.events.schema import Features

LETTERS = "abcdefg"
names = st.lists(st.sampled_from(LETTERS), unique=True, max_size=5)
RULES: tuple[Rule, ...] = ("borda", "chamberlin_courant")


def represented(items: Iterable[str], rankings: Sequence[Sequence[str]], weights: Sequence[float], count: int) -> float:
    """The score of Chamberlin and Courant."""
    chosen = set(items)
    return sum(
        weight * max((count - at for at, item in enumerate(ranking[:count]) if item in chosen), default=0)
        for ranking, weight in zip(rankings, weights, strict=True)
    )


@given(
    st.lists(st.tuples(names, st.integers(0, 2), st.sampled_from([0.5, 1.0])), min_size=1, max_size=3),
    st.lists(st.tuples(st.sets(st.sampled_from(LETTERS)), st.integers(0, 2)), max_size=2),
    st.integers(0, 3),
    st.sampled_from(RULES),
)
@settings(max_examples=60)
def test_every_bound_holds_whatever_the_groups_and_the_rule(
    sources: list[tuple[list[str], int, float]], groups: list[tuple[set[str], int]], more: int, rule: Rule
) -> None:
    rankings, minima, weights = ([one[n] for one in sources] for n in range(3))
    needed = sum(cast(list[int], minima)) + sum(minimum for _, minimum in groups)
    count = max(needed + more, 1)
    chosen = merge(
        cast(list[list[str]], rankings), cast(list[int], minima), cast(list[float], weights), count, groups, rule
    )
    pool = {item for ranking, _, _ in sources for item in ranking}
    assert len(chosen) == len(set(chosen)) == min(count, len(pool))
    bounds: list[tuple[Collection[str], int]] = [(set(ranking), minimum) for ranking, minimum, _ in sources]
    for members, minimum in [*bounds, *((members & pool, minimum) for members, minimum in groups)]:
        assert len(set(chosen) & set(members)) >= min(minimum, len(members))
    with pytest.raises(InvalidValueError, match="add up to"):
        merge([list(LETTERS)], [count], [1.0], count, [({"a"}, 1)], rule)


@given(st.lists(st.tuples(names, st.sampled_from([0.5, 1.0])), min_size=1, max_size=4), st.integers(1, 4))
@settings(max_examples=60)
def test_representatives_are_near_the_best_of_all_choices(sources: list[tuple[list[str], float]], count: int) -> None:
    """Each prefix reaches 1 - 1/e of what as many items can (Nemhauser, Wolsey and Fisher, 1978)."""
    rankings, weights = [ranking for ranking, _ in sources], [weight for _, weight in sources]
    chosen = represent(rankings, weights, count)
    pool = sorted({item for ranking in rankings for item in ranking})
    for size in range(1, len(chosen) + 1):
        best = max(represented(choice, rankings, weights, count) for choice in combinations(pool, size))
        assert represented(chosen[:size], rankings, weights, count) >= (1 - 1 / e) * best - 1e-9
    assert set(chosen) <= set(merge(rankings, [0] * len(rankings), weights, count, rule="chamberlin_courant"))


def test_the_rule_decides_whether_each_source_is_represented() -> None:
    """Two sources agree on a and b; the third, which is alone with its x, has no place by the sum of points."""
    rankings, weights = [["a", "b"], ["a", "b"], ["x"]], [1.0, 1.0, 0.4]
    assert merge(rankings, [0, 0, 0], weights, 2) == ["a", "b"]
    assert merge(rankings, [0, 0, 0], weights, 2, rule="chamberlin_courant") == ["a", "x"]


class Makers:
    """Items with small letters are of small makers."""

    def items(self, items: Sequence[str]) -> tuple[list[Features], bool]:
        return [{"maker": "small" if item[0].islower() else "large"} for item in items], True


def merged(groups: Sequence[ItemGroup]) -> Candidates:
    catalog = CatalogSnapshot()
    catalog.replace({item: 1.0 / at for at, item in enumerate("ABCDEFGHIJabc", 1)}, "KLMNOPQd")
    sources: dict[str, Retriever] = {"popular": PopularItems(catalog), "recent": RecentItems(catalog)}
    shares = {"popular": 0.4, "recent": 0.2}
    retriever = MergedRetriever(sources, shares, groups, cast(EntityFeatures, Makers()))
    return retriever.retrieve(RetrievalQuery("u", 1, {}, Arm("online")), 10)


def test_small_makers_have_their_share_though_no_source_has_them_near_its_top() -> None:
    without, found = merged([]), merged([ItemGroup(feature="item.maker", value="small", share=0.4)])
    assert not any(item.islower() for item in without.ids)
    assert {item for item in found.ids if item.islower()} == set("abcd")
    assert dict(zip(found.ids, found.source, strict=True))["d"] == "recent"
    assert len(found.ids) == len(set(found.ids)) == 10


@pytest.mark.parametrize(("share", "places"), [(0.29, 29), (0.57, 57), (0.299, 29)])
def test_a_share_of_whole_places_is_all_of_them(share: float, places: int) -> None:
    """0.29 * 100 is less than 29."""
    catalog = CatalogSnapshot()
    catalog.replace({f"{'L' if at <= 200 else 's'}{at}": 1.0 / at for at in range(1, 301)}, [])
    groups = [ItemGroup(feature="item.maker", value="small", share=share)]
    sources: dict[str, Retriever] = {"popular": PopularItems(catalog)}
    retriever = MergedRetriever(sources, {"popular": 0.4}, groups, cast(EntityFeatures, Makers()))
    found = retriever.retrieve(RetrievalQuery("u", 1, {}, Arm("online")), 100)
    assert sum(item.startswith("s") for item in found.ids) == places


@pytest.mark.parametrize(
    ("share", "feature", "message"),
    [
        (0.2, "item.maker", "shares of sources add up to 0.9 and those in `minimums` to 0.2: together at most 1"),
        (1.5, "item.maker", "less than or equal to 1"),
        (0.1, "user.age", "should match pattern"),
    ],
)
def test_minimums_that_cannot_be_met_are_refused(share: float, feature: str, message: str) -> None:
    with pytest.raises((InvalidValueError, ValidationError), match=message):
        ServingSettings(minimums=[ItemGroup(feature=feature, value="small", share=share)])
