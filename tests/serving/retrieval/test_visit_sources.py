"""Items clicked together and the user's own, from the counts by way of Redis."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from serving.cache.visited_items import VisitedItems
from serving.experiments.assignment import Arm
from serving.replication.connection.redis_client import RedisClient
from serving.replication.health import Availability
from serving.replication.keys import KeyNames
from serving.replication.publish.publisher import Publisher
from serving.retrieval.retriever import RetrievalQuery
from serving.retrieval.visit_sources import HistoryItems, ItemToItem
from streaming.catalog import Catalog
from streaming.co_visits import CoVisits
from streaming.observers import Observers


def query(user: str) -> RetrievalQuery:
    return RetrievalQuery(user, 0, {}, Arm("all", "online"))


class Trained:
    """Counts of a few clicks, and their publication."""

    def __init__(self, client: RedisClient) -> None:
        self.catalog = Catalog(half_life=1000)
        self.visits = CoVisits(self.catalog, window=10, half_life=1000)
        self.observer = Observers(self.catalog, self.visits)
        self.publisher = Publisher(client, "m")
        self.observer.seen("abcd", 0)
        for user, items in (("ada", "ab"), ("bob", "abc"), ("cid", "bcd"), ("dan", "ca")):
            for time, item in enumerate(items):
                self.visits.click(user, item, time)

    def publish(self) -> None:
        self.publisher.visits.apply(self.visits.drain_changes())


@pytest.fixture
def trained(client: RedisClient) -> Trained:
    made = Trained(client)
    made.publish()
    return made


@pytest.fixture
def visited(client: RedisClient) -> VisitedItems:
    return VisitedItems(client, Availability(up=True))


def test_candidates_are_the_neighbours_of_the_users_items_by_summed_affinity(
    trained: Trained, visited: VisitedItems
) -> None:
    found = ItemToItem(visited).retrieve(query("ada"), 10)
    near: Callable[[str], dict[str, float]] = lambda item: dict(trained.visits.neighbours(item))  # noqa: E731
    expected = {item: near("a").get(item, 0.0) + near("b").get(item, 0.0) for item in "cd"}
    assert dict(zip(found.ids, found.score, strict=True)) == pytest.approx(expected)
    assert (found.ids, found.source) == (["c", "d"], ["item_to_item"] * 2)
    assert ItemToItem(visited).retrieve(query("ada"), 10, {"c"}).ids == ["d"]
    assert ItemToItem(visited).retrieve(query("ada"), 1).ids == ["c"]


def test_the_history_is_the_users_own_items_latest_first(trained: Trained, visited: VisitedItems) -> None:
    found = HistoryItems(visited).retrieve(query("bob"), 2, {"b"})
    assert (found.ids, found.source, found.score) == (["c", "a"], ["history"] * 2, [1.0, 0.5])


def test_an_unknown_user_has_nothing(trained: Trained, visited: VisitedItems) -> None:
    for source in (ItemToItem(visited), HistoryItems(visited)):
        assert source.retrieve(query("eve"), 5).ids == []


def test_a_withdrawn_item_is_never_returned(trained: Trained, visited: VisitedItems) -> None:
    trained.observer.available("c", 5, is_so=False)
    trained.publish()
    for user in ("ada", "bob", "cid", "dan"):
        for source in (ItemToItem(visited), HistoryItems(visited)):
            assert "c" not in source.retrieve(query(user), 10).ids
    trained.observer.available("c", 6, is_so=True)
    trained.publish()
    assert ItemToItem(visited).retrieve(query("ada"), 1).ids == ["c"]


def test_a_full_publication_removes_records_of_before(client: RedisClient, trained: Trained) -> None:
    client.set(KeyNames().visited_item("old"), b"[]")
    trained.visits.change_all()
    trained.publish()
    assert not client.exists(KeyNames().visited_item("old"))
    assert client.exists(KeyNames().visited_item("a"), KeyNames().visited_user("ada")) == 2


def test_without_redis_there_is_nothing_and_a_broken_record_is_an_error(
    client: RedisClient, trained: Trained, visited: VisitedItems
) -> None:
    assert VisitedItems(client, Availability(up=False)).read("ada") == {}
    client.set(KeyNames().visited_user("ada"), b"{")
    with pytest.raises(msgspec.DecodeError):
        visited.read("ada")
