from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from serving.cache.entity_cache import EntityFeatures
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import connect
from serving.replication.health import Availability
from serving.replication.keys import KeyNames
from serving.replication.publish.publisher import Publisher


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.availability = Availability()

    def features(self, client: RedisClient, capacity: int = 100) -> EntityFeatures:
        return EntityFeatures(client, 2.0, capacity, lambda: self.now, self.availability)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_features_are_read_again_when_they_are_old(client: RedisClient, clock: Clock) -> None:
    entities, publisher = clock.features(client), Publisher(client, "m")
    publisher.publish_entities({"u": {"age": 1}}, {"a": {"tags": ["x"]}})
    assert entities.user("u") == ({"age": 1}, True)
    assert entities.items(["b", "a"]) == ([{}, {"tags": ["x"]}], True)
    assert entities.items(["u"]) == ([{}], True), "users and items do not mix"
    publisher.publish_entities({"u": {"age": 2}}, {})
    clock.now = 1.9
    assert entities.user("u") == ({"age": 1}, True)
    clock.now = 2.0
    assert entities.user("u") == ({"age": 2}, True)


def test_features_that_changed_are_read_again(client: RedisClient, clock: Clock) -> None:
    entities, publisher = clock.features(client), Publisher(client, "m")
    publisher.publish_entities({"u": {"age": 1}}, {})
    assert entities.user("u")[0] == {"age": 1}
    publisher.publish_entities({"u": {"age": 2}, "v": {"age": 3}}, {})
    entities.take(client, b'{"users":["u","v"],"items":["u"]}')
    assert entities.user("u") == ({"age": 2}, True)


@pytest.mark.parametrize("lost", ["a notice", "the connection"])
def test_when_notices_were_missed_all_is_read_again(client: RedisClient, clock: Clock, lost: str) -> None:
    entities, publisher = clock.features(client), Publisher(client, "m")
    entities.user("u")
    publisher.publish_entities({"u": {"age": 2}}, {})
    entities.catch_up(client, continued=True)
    assert entities.user("u")[0] == {}
    if lost == "a notice":
        entities.take(client, b"no notice")
    else:
        entities.catch_up(client, continued=False)
    assert entities.user("u")[0] == {"age": 2}


def test_features_read_while_a_notice_came_are_not_kept(client: RedisClient, clock: Clock) -> None:
    class Interrupted:
        names = KeyNames()

        """Reads, and is told of a change before it can answer."""

        def mget(self, wanted: list[str]) -> Any:
            found = client.mget(wanted)
            Publisher(client, "m").publish_entities({"u": {"age": 2}}, {})
            entities.take(client, b'{"users":["u"]}')
            return found

    entities = clock.features(cast(RedisClient, Interrupted()))
    assert entities.user("u")[0] == {}
    assert entities.user("u")[0] == {"age": 2}


def test_without_redis_old_features_are_used_and_said_to_be_old(client: RedisClient, clock: Clock) -> None:
    entities = clock.features(client)
    Publisher(client, "m").publish_entities({"u": {"age": 1}}, {})
    entities.user("u")
    clock.now, clock.availability.up = 10.0, False
    assert entities.user("u") == ({"age": 1}, False)
    assert entities.user("nobody") == ({}, False)


def test_a_redis_that_fails_is_no_error(tmp_path: Path, clock: Clock) -> None:
    assert clock.features(connect(folder=tmp_path)).user("u") == ({}, False)
    assert not clock.availability.up


def test_memory_is_bounded(client: RedisClient, clock: Clock) -> None:
    entities = clock.features(client, capacity=10)
    for i in range(50):
        entities.items([f"{i}-{j}" for j in range(5)])
        assert len(entities) <= 10
