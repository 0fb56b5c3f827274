"""What completes the sets that a basket begins, from the features of items by way of Redis."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import pytest

from serving.cache.entity_cache import EntityFeatures
from serving.cache.item_set_members import ItemSetMembers
from serving.experiments.assignment import Arm
from serving.replication.connection.redis_client import RedisClient
from serving.replication.health import Availability
from serving.replication.keys import KeyNames
from serving.replication.publish.publisher import Publisher
from serving.retrieval.basket_items import BasketItems
from serving.retrieval.retriever import RetrievalQuery
from streaming.catalog import Catalog
from streaming.encode.entity_state import EntityState
from streaming.item_sets import ItemSets
from streaming.observers import Observers

RECIPES = {
    "paella": ["salt", "rice", "saffron", "mussels"],
    "risotto": ["salt", "rice", "parmesan"],
    "boiled egg": ["salt", "egg"],
    "omelette": ["salt", "egg", "butter"],
    "toast": ["butter", "bread"],
}
ITEMS = sorted(set().union(*RECIPES.values()))


class Trained:
    """What the trainer keeps of items, and its publication."""

    def __init__(self, client: RedisClient) -> None:
        self.catalog, self.entities = Catalog(half_life=1000), EntityState(100)
        self.sets = ItemSets("recipes", self.catalog, members=10)
        self.observer = Observers(self.catalog, self.sets)
        self.publisher = Publisher(client, "m")
        for item in ITEMS:
            self.describe(item, [name for name, needs in RECIPES.items() if item in needs])

    def describe(self, item: str, recipes: list[str | int], at: int = 0) -> None:
        self.entities.items.update(item, at, {"recipes": recipes})
        self.observer.seen([item], at)

    def publish(self) -> None:
        users, items = self.entities.drain_changes()
        self.sets.update(items)
        self.publisher.publish_entity_changes(users, items)
        self.publisher.item_sets.apply(self.sets.drain_changes())


@pytest.fixture
def trained(client: RedisClient) -> Trained:
    made = Trained(client)
    made.publish()
    return made


@pytest.fixture
def source(client: RedisClient) -> BasketItems:
    up = Availability(up=True)
    features = EntityFeatures(client, 0.0, 100, time.monotonic, up)
    return BasketItems("recipes", features, ItemSetMembers(client, up))


def query(*basket: str) -> RetrievalQuery:
    return RetrievalQuery("ada", 0, {}, Arm("all", "online"), basket=basket)


def cosines(basket: list[str]) -> dict[str, float]:
    """By recipe: of its vector of weights, and that of the basket."""
    in_NS = np.array([[item in needs for needs in RECIPES.values()] for item in ITEMS], float)
    weighted_NS = in_NS / in_NS.sum(1, keepdims=True)
    basket_N = np.array([item in basket for item in ITEMS]) / in_NS.sum(1)
    product_S = basket_N @ weighted_NS
    found_S = product_S / (np.linalg.norm(basket_N) * np.linalg.norm(weighted_NS, axis=0))
    return dict(zip(RECIPES, found_S.tolist(), strict=True))


@pytest.mark.parametrize("basket", [["saffron"], ["salt", "saffron"], ["egg", "salt"], ["butter"], ["rice", "egg"]])
def test_missing_items_come_with_the_cosine_of_their_best_set(
    trained: Trained, source: BasketItems, basket: list[str]
) -> None:
    found = source.retrieve(query(*basket, "unknown", basket[0]), 100)
    near = cosines(basket)
    begun = {name: needs for name, needs in RECIPES.items() if set(needs) & set(basket)}
    missing = set().union(*begun.values()).difference(basket)
    expected = {item: max(near[name] for name, needs in begun.items() if item in needs) for item in missing}
    assert dict(zip(found.ids, found.score, strict=True)) == pytest.approx(expected)
    assert found.score == sorted(found.score, reverse=True)
    assert found.source == ["basket"] * len(found.ids)


def test_an_item_that_tells_its_set_counts_more_than_one_in_every_set(trained: Trained, source: BasketItems) -> None:
    found = source.retrieve(query("salt", "saffron"), 100)
    assert found.ids[:2] == ["mussels", "rice"]  # all that the paella lacks, by what tells it best
    assert source.retrieve(query("salt", "saffron"), 1, {"mussels"}).ids == ["rice"]
    assert source.retrieve(query("salt", "saffron", "rice", "mussels"), 1).ids != ["saffron"]


def test_a_withdrawn_item_is_not_returned_but_tells_its_sets(trained: Trained, source: BasketItems) -> None:
    trained.observer.available("saffron", 5, is_so=False)
    trained.publish()
    assert "saffron" not in source.retrieve(query("mussels"), 10).ids
    assert source.retrieve(query("saffron"), 1).ids == ["mussels"]
    trained.observer.available("saffron", 6, is_so=True)
    trained.publish()
    assert source.retrieve(query("mussels"), 1).ids == ["saffron"]


def test_an_update_changes_the_sets_of_the_next_request(trained: Trained, source: BasketItems) -> None:
    trained.describe("ham", ["toast"], 5)
    trained.describe("bread", [], 5)
    trained.publish()
    assert source.retrieve(query("butter"), 10).ids[-1] == "ham"
    assert "bread" not in source.retrieve(query("butter"), 10).ids
    assert source.retrieve(query("bread"), 10).ids == []


def test_a_full_publication_removes_records_of_before(client: RedisClient, trained: Trained) -> None:
    client.set(KeyNames().item_set("old"), b"[]")
    trained.sets.change_all()
    trained.publish()
    assert not client.exists(KeyNames().item_set("old"))
    assert all(client.exists(KeyNames().item_set(name)) for name in RECIPES)


def test_without_a_basket_a_feature_or_redis_there_is_nothing_and_a_broken_record_is_an_error(
    client: RedisClient, trained: Trained, source: BasketItems
) -> None:
    assert source.retrieve(query(), 5).ids == []
    features = EntityFeatures(client, 0.0, 100, time.monotonic, Availability(up=True))
    assert BasketItems("", features, ItemSetMembers(client, Availability(up=True))).retrieve(query("egg"), 5).ids == []
    assert (
        BasketItems("recipes", features, ItemSetMembers(client, Availability(up=False))).retrieve(query("egg"), 5).ids
        == []
    )
    client.set(KeyNames().item_set("toast"), b"{")
    with pytest.raises(msgspec.DecodeError):
        source.retrieve(query("butter"), 5)
