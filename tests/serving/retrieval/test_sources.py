"""Sources of candidates, merged and filtered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations
from pathlib import Path
from typing import cast

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import InvalidValueError
from serving.cache.entity_cache import EntityFeatures
from serving.experiments.assignment import Arm
from serving.limits import CATALOG_SIZE, Limits
from serving.ranking.popularity import CatalogSnapshot, PopularityScores
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import connect
from serving.replication.publish.publisher import Publisher
from serving.retrieval.attribute_filter import AttributeFilter
from serving.retrieval.catalog_sources import PopularItems, RecentItems
from serving.retrieval.fair_merge import merge
from serving.retrieval.merged import MergedRetriever
from serving.retrieval.retriever import Candidates, RetrievalQuery, Retriever
from serving.settings import ServingSettings
from streaming.events.schema import Features

LETTERS = "abcdefgh"
names = st.lists(st.sampled_from(LETTERS), unique=True)
QUERY = RetrievalQuery("u", 1_000, {}, Arm("online"))


def catalog(popular: Iterable[str], recent: Sequence[str]) -> CatalogSnapshot:
    made = CatalogSnapshot()
    made.replace({item: 1.0 / place for place, item in enumerate(popular, 1)}, recent)
    return made


def of(snapshot: CatalogSnapshot, popular: float, recent: float) -> MergedRetriever:
    sources: dict[str, Retriever] = {"popular": PopularItems(snapshot), "recent": RecentItems(snapshot)}
    return MergedRetriever(sources, {"popular": popular, "recent": recent})


@given(names, names, st.integers(1, 12), st.floats(0.01, 0.99), st.sets(st.sampled_from(LETTERS)))
@settings(max_examples=60)
def test_candidates_differ_are_allowed_and_of_each_source_its_share(
    popular: list[str], recent: list[str], count: int, share: float, exclude: set[str]
) -> None:
    found = of(catalog(popular, recent), 1 - share, share).retrieve(QUERY, count, exclude)
    allowed = (set(popular) | set(recent)) - exclude
    assert len(found.ids) == len(set(found.ids)) == min(count, len(allowed))
    assert set(found.ids) <= allowed
    for source, minimum in ((popular, 1 - share), (recent, share)):
        there = [item for item in source if item not in exclude]
        assert len(set(there[:count]) & set(found.ids)) >= min(int(count * minimum), len(there[:count]))
    sources = {"popular": set(popular), "recent": set(recent)}
    assert all(item in sources[source] for item, source in zip(found.ids, found.source, strict=True))
    assert len(found.score) == len(found.ids)


def value(items: Iterable[str], rankings: Sequence[Sequence[str]], weights: Sequence[float], count: int) -> float:
    points = (
        weight * (count - ranking.index(item))
        for ranking, weight in zip(rankings, weights, strict=True)
        for item in items
        if item in ranking
    )
    return sum(points)


def test_minima_that_cannot_be_met_are_an_error() -> None:
    with pytest.raises(InvalidValueError, match="add up to 4, but 3 items"):
        merge([["a", "b"], ["x", "y"]], [2, 2], [1.0, 1.0], 3)


def test_an_item_twice_in_a_ranking_counts_once() -> None:
    assert merge([["a", "b", "a"], ["x", "x"]], [2, 1], [1.0, 0.1], 3) == ["a", "b", "x"]
    assert merge([["a", "b", "a"], ["c"]], [0, 0], [0.5, 0.9], 2) == merge([["a", "b"], ["c"]], [0, 0], [0.5, 0.9], 2)


@given(st.lists(st.tuples(names, st.integers(0, 2), st.sampled_from([0.5, 1.0])), min_size=1, max_size=3), st.data())
@settings(max_examples=60)
def test_a_merge_is_as_good_as_the_best_of_all_choices(
    sources: list[tuple[list[str], int, float]], data: st.DataObject
) -> None:
    apart = data.draw(st.booleans())
    rankings = [[f"{n}{item}" if apart else item for item in ranking[:4]] for n, (ranking, _, _) in enumerate(sources)]
    minima, weights = [minimum for _, minimum, _ in sources], [weight for _, _, weight in sources]
    count = data.draw(st.integers(max(sum(minima), 1), 7))
    chosen = merge(rankings, minima, weights, count)
    needs = [min(minimum, len(ranking)) for ranking, minimum in zip(rankings, minima, strict=True)]

    def met(items: Iterable[str]) -> bool:
        return all(len(set(items) & set(r)) >= need for r, need in zip(rankings, needs, strict=True))

    pool = sorted({item for ranking in rankings for item in ranking})
    choices = [c for c in combinations(pool, min(count, len(pool))) if met(c)]
    assert met(chosen)
    assert len(chosen) == len(set(chosen)) == min(count, len(pool))
    best = max(value(choice, rankings, weights, count) for choice in choices)
    reached = value(chosen, rankings, weights, count)
    assert reached == best if apart else reached >= 0.5 * best


def test_a_source_that_fails_or_has_nothing_costs_its_places_only() -> None:
    class Broken:
        def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
            raise RuntimeError("no such row")

    sources: dict[str, Retriever] = {"two_tower": Broken(), "popular": PopularItems(catalog("ab", []))}
    merged = MergedRetriever(sources, {"two_tower": 0.9, "popular": 0.1})
    assert merged.retrieve(QUERY, 2).ids == ["a", "b"]
    assert merged.failures == {"two_tower": 1}


def test_it_reads_what_the_publisher_wrote(client: RedisClient) -> None:
    Publisher(client, "m").publish_catalog([("a", 3.0), ("b", 2.0), ("c", 1.0)], [("z", 30), ("y", 20)])
    snapshot = CatalogSnapshot()
    snapshot.refresh(client)
    found = of(snapshot, 0.5, 0.25).retrieve(QUERY, 4)
    assert dict(zip(found.ids, found.source, strict=True)) == dict.fromkeys("abc", "popular") | {"z": "recent"}
    assert PopularityScores(snapshot).of(["b", "z"]) == [2.0, 0.0]


def test_without_redis_it_keeps_what_it_had(tmp_path: Path) -> None:
    snapshot = catalog(["a"], [])
    with pytest.raises(redis.ConnectionError):
        snapshot.refresh(connect(folder=tmp_path))
    assert of(snapshot, 1.0, 0.0).retrieve(QUERY, 5).ids == ["a"]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"popular": 1.5}, "shares: the share of popular is 1.5: it must be between 0 and 1"),
        ({"popular": 0.7, "recent": 0.7}, "shares: the sum of the shares is 1.4: it must be above 0 and at most 1"),
        ({"popular": 0.0}, "shares: the sum of the shares is 0"),
        (
            {"poplar": 0.5},
            "shares: there is no source 'poplar'; the sources are two_tower, popular, recent, item_to_item, "
            "history, basket",
        ),
    ],
)
def test_shares_that_cannot_be_met_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        ServingSettings(shares=shares)


def test_no_more_is_retrieved_than_is_published() -> None:
    assert Limits(retrieve=2 * CATALOG_SIZE).retrieve == 2000
    with pytest.raises(InvalidValueError, match="1000 popular and 1000 recent items are published"):
        Limits(retrieve=2 * CATALOG_SIZE + 1)


class Described:
    """Features of items: every third one is a drama, and even ones are long."""

    def items(self, names: Sequence[str]) -> tuple[list[Features], bool]:
        def one(number: int) -> Features:
            return {"genres": ["drama", "war"] if number % 3 == 0 else ["comedy"], "long": number % 2 == 0}

        return [one(int(name)) if name.isdigit() else {} for name in names], True


@pytest.mark.parametrize("count", [1, 5, 40])
def test_items_have_the_asked_values(count: int) -> None:
    popular = PopularItems(catalog(["x", *map(str, range(200))], []))
    filtered = AttributeFilter(popular, cast(EntityFeatures, Described()))
    where: Features = {"genres": "drama", "long": True}
    found = filtered.retrieve(RetrievalQuery("u", 1, {}, Arm("online"), where), count, exclude={"6"})
    assert found.ids == [str(n) for n in range(0, 200, 6) if n != 6][:count]
    assert found.source == ["popular"] * len(found.ids)
    nothing = RetrievalQuery("u", 1, {}, Arm("online"), {"genres": "opera"})
    assert filtered.retrieve(nothing, count) == Candidates([], [], [])
