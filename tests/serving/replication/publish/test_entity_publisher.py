"""Features in Redis are those that a bounded state of entities knows, and no others."""

from __future__ import annotations

from typing import Any, cast

import pytest

from recsys.errors import PublishError
from serving.cache.entity_cache import EntityFeatures
from serving.replication.connection.redis_client import RedisClient
from serving.replication.delta_messages import FIELD
from serving.replication.health import Availability
from serving.replication.keys import KeyNames
from serving.replication.publish.publisher import Publisher
from streaming.encode.entity_state import EntityState

CAPACITY = 20


def publish(client: RedisClient, entities: EntityState) -> None:
    Publisher(client, "m", retries=0).publish_entity_changes(*entities.drain_changes())


def names(client: RedisClient, prefix: str) -> set[str]:
    return {key.decode().removeprefix(prefix) for key in client.scan_iter(prefix + "*")}


def update(entities: EntityState, numbers: range) -> None:
    for number in numbers:
        entities.users.update(f"u{number}", number, {"age": number})
        entities.items.update(f"i{number}", number, {"text": "x" * 100})


def last(prefix: str, end: int) -> set[str]:
    return {f"{prefix}{number}" for number in range(end - CAPACITY, end)}


@pytest.mark.slow
def test_keys_and_memory_are_bounded_while_ids_grow_without_end(client: RedisClient) -> None:
    entities, used = EntityState(CAPACITY), []
    for end in range(500, 10_001, 500):
        for start in range(end - 500, end, 10):
            update(entities, range(start, start + 10))
            if start % 50 == 0:
                publish(client, entities)
        publish(client, entities)
        used.append(client.info("memory")["used_memory"])
    assert names(client, "recsys:user:") == last("u", 10_000)
    assert names(client, "recsys:item:") == last("i", 10_000)
    assert client.dbsize() == 2 * CAPACITY + 1  # and the stream of notices, which is capped
    assert max(used[10:]) - min(used[5:10]) < 256 * 1024


def test_what_a_former_trainer_left_goes_with_the_first_publication(client: RedisClient) -> None:
    update(before := EntityState(5 * CAPACITY), range(5 * CAPACITY))
    publish(client, before)
    assert len(names(client, "recsys:user:")) == 5 * CAPACITY
    update(entities := EntityState(CAPACITY), range(5 * CAPACITY))
    entities.change_all()  # as a trainer does when it starts
    publish(client, entities)
    assert names(client, "recsys:user:") == last("u", 5 * CAPACITY)
    assert names(client, "recsys:item:") == last("i", 5 * CAPACITY)


def test_evictions_during_an_outage_leave_redis_after_it(client: RedisClient) -> None:
    entities = EntityState(CAPACITY)
    update(entities, range(CAPACITY))
    publish(client, entities)
    update(entities, range(CAPACITY, CAPACITY + 5))
    client.delete(KeyNames().entities)
    client.set(KeyNames().entities, "in the way")
    drained = entities.drain_changes()
    with pytest.raises(PublishError):
        Publisher(client, "m", retries=0).publish_entity_changes(*drained)
    entities.restore_changes(*drained)
    client.delete(KeyNames().entities)
    update(entities, range(CAPACITY + 5, CAPACITY + 9))
    publish(client, entities)
    assert names(client, "recsys:user:") == last("u", CAPACITY + 9)


def test_a_server_forgets_what_was_evicted(client: RedisClient) -> None:
    entities = EntityState(1)
    entities.users.update("u", 1, {"age": 3})
    publish(client, entities)
    features = EntityFeatures(client, 1000.0, 100, lambda: 0.0, Availability(up=True))
    assert features.user("u") == ({"age": 3}, True)
    entities.users.update("v", 2, {"age": 4})
    publish(client, entities)
    for _, entry in cast(Any, client.xrange(KeyNames().entities)):
        features.take(client, entry[FIELD])
    assert features.user("u") == ({}, True)
