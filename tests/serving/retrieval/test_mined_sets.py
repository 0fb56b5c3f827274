"""Baskets completed to what is clicked together, from the counts by way of Redis."""

from __future__ import annotations

import pytest

from serving.cache.visited_items import VisitedItems
from serving.experiments.assignment import Arm
from serving.replication.connection.redis_client import RedisClient
from serving.replication.health import Availability
from serving.replication.publish.publisher import Publisher
from serving.retrieval.mined_sets import MinedSets
from serving.retrieval.retriever import Candidates, RetrievalQuery
from streaming.catalog import Catalog
from streaming.co_visits import CoVisits

RECIPES = {"paella": ["rice", "saffron", "prawns"], "risotto": ["rice", "wine", "parmesan"]}


@pytest.fixture(scope="module")
def visits() -> CoVisits:
    """Users cook one recipe each; rice is in both."""
    catalog = Catalog(half_life=1 << 40)
    made = CoVisits(catalog, window=100, half_life=1 << 40)
    catalog.seen([item for items in RECIPES.values() for item in items], 0)
    for user in range(20):
        for time, item in enumerate(RECIPES["paella" if user % 2 else "risotto"]):
            made.click(f"u{user}", item, time)
    return made


@pytest.fixture
def source(client: RedisClient, visits: CoVisits) -> MinedSets:
    visits.change_all()
    Publisher(client, "m").visits.apply(visits.drain_changes())
    return MinedSets(VisitedItems(client, Availability(up=True)))


def completed(source: MinedSets, *basket: str, count: int = 10, exclude: frozenset[str] = frozenset()) -> Candidates:
    return source.retrieve(RetrievalQuery("u", 1, {}, Arm("online"), basket=basket), count, exclude)


def test_what_a_recipe_still_lacks_comes_before_what_goes_with_one_item_alone(source: MinedSets) -> None:
    found = completed(source, "rice", "saffron")
    assert found.ids[0] == "prawns"
    assert set(found.ids) == {"prawns", "wine", "parmesan"}
    assert found.source == ["basket"] * 3
    assert found.score == sorted(found.score, reverse=True)
    assert completed(source, "wine").ids[0] in ("rice", "parmesan")


def test_it_is_bounded_and_leaves_out_the_basket_and_what_is_excluded(source: MinedSets) -> None:
    assert len(completed(source, "rice", count=2).ids) == 2
    assert completed(source, "rice", "saffron", exclude=frozenset({"prawns"})).ids[0] != "prawns"
    for basket in ((), ("unknown",), tuple(RECIPES["paella"] + RECIPES["risotto"])):
        assert completed(source, *basket) == Candidates()


def test_without_redis_it_finds_nothing(client: RedisClient) -> None:
    assert completed(MinedSets(VisitedItems(client, Availability(up=False))), "rice") == Candidates()
