"""Counters go from the trainer through Redis into a request's features, the same as the stream computes."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from serving.cache.counted_features import CountedFeatures
from serving.replication.connection.redis_client import RedisClient
from serving.replication.health import Availability
from serving.replication.publish.publisher import Publisher
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.windows.streamed_features import StreamedFeatures
from streaming.windows.streamed_source import StreamedSource, streamed_source

START = 1_700_000_000_000
SOURCES = [
    source
    for text in (
        "user.count(click, 1h)",
        "user.recent(click, 2)",
        "item.rate(click, 1h)",
        "item.last(click)",
        "pair.count(impression, 24h)",
    )
    if (source := streamed_source(text))
]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(n: int, *items: str) -> Impression:
    return Impression(id=f"i{n}", time=START + 1000 * n, user="u", items=list(items))


def click(n: int, item: str) -> Interaction:
    return Interaction(time=START + 1000 * n + 1, impression=f"i{n}", item=item)


def take(stream: StreamedFeatures, *events: Event) -> list[dict[str, Any]]:
    """Features and item features of the last of these events."""
    rows = stream.take(encode_events(list(events))).select(["features", "item_features"]).to_pylist()
    return [msgspec.json.decode(rows[-1][name] or b"{}") for name in ("features", "item_features")]


def publish(client: RedisClient, stream: StreamedFeatures) -> None:
    Publisher(client, "m", retries=0).publish_records(stream.drain_changes())


def items_in(client: RedisClient) -> list[bytes]:
    return cast(list[bytes], client.keys("recsys:counted:*:item:*"))


def made(capacity: int = 100, sources: list[StreamedSource] = SOURCES) -> StreamedFeatures:
    return StreamedFeatures(sources, capacity, 3_600_000, 1000)


def test_a_server_reads_what_the_stream_would_write(client: RedisClient) -> None:
    stream, features = made(), CountedFeatures(client, SOURCES, Clock(), Availability(up=True))
    take(stream, shown(1, "a", "b"), click(1, "a"), shown(2, "b"))
    publish(client, stream)
    got = features.read("u", ["a", "b", "new"], START + 9000)
    expected = take(stream, shown(9, "a", "b", "new"))
    assert got == (*expected, True)
    assert got[0]["user.recent(click, 2)"] == ["a"]
    assert got[1]["item.rate(click, 1h)"] == [1.0, 0.0, None]


def test_histories_of_evicted_users_leave_redis_and_a_request_is_read_as_of_its_time(client: RedisClient) -> None:
    sources = [source for source in SOURCES if source.record == "history"]
    stream, features = made(1, sources), CountedFeatures(client, sources, Clock(), Availability(up=True))
    take(stream, shown(1, "a", "b"), click(1, "a"))
    publish(client, stream)
    name = "user.recent(click, 2)"
    times = (START + 1001, START + 1002)
    assert [features.read("u", ["a"], time)[0][name] for time in times] == [[], ["a"]]
    other = Impression(id="o", time=START + 5000, user="v", items=["b"])
    take(stream, other, Interaction(time=START + 5001, impression="o", item="b"))
    publish(client, stream)
    assert [features.read(user, [], START + 9000)[0][name] for user in "uv"] == [[], ["b"]]
    assert len(cast(list[bytes], client.keys("recsys:counted:*:history:*"))) == 1


def test_records_of_evicted_entities_leave_redis(client: RedisClient) -> None:
    stream = made(capacity=1)
    take(stream, shown(1, "a"))
    publish(client, stream)
    before = items_in(client)
    take(stream, shown(2, "b"))
    publish(client, stream)
    assert ([key.rpartition(b":")[2] for key in before], [key.rpartition(b":")[2] for key in items_in(client)]) == (
        [b"a"],
        [b"b"],
    )
    assert 0 < client.ttl(items_in(client)[0]) <= 30 * 86_400


def test_a_trainer_that_starts_removes_what_it_does_not_know(client: RedisClient) -> None:
    old, new = made(), made()
    take(old, shown(1, "a"))
    publish(client, old)
    take(new, shown(1, "b"))
    new.change_all()
    publish(client, new)
    features = CountedFeatures(client, SOURCES, Clock(), Availability(up=True))
    assert features.read("u", ["a", "b"], START + 9000)[1]["pair.count(impression, 24h)"] == [0.0, 1.0]


def test_items_are_read_again_after_a_second_and_users_at_once(client: RedisClient) -> None:
    clock, stream = Clock(), made()
    features = CountedFeatures(client, SOURCES, clock, Availability(up=True))
    take(stream, shown(1, "a"))
    publish(client, stream)
    features.read("u", ["a"], START + 9000)
    take(stream, click(1, "a"))
    publish(client, stream)
    of_user, of_item, _ = features.read("u", ["a"], START + 9000)
    assert (of_user["user.count(click, 1h)"], of_item["item.rate(click, 1h)"]) == (1.0, [0.0])
    clock.now = 1.0
    assert features.read("u", ["a"], START + 9000)[1]["item.rate(click, 1h)"] == [1.0]


@pytest.mark.parametrize("up", [True, False])
def test_without_redis_known_items_are_used_and_the_answer_says_so(client: RedisClient, *, up: bool) -> None:
    stream, availability = made(), Availability(up=True)
    features = CountedFeatures(client, SOURCES, Clock(), availability)
    take(stream, shown(1, "a"), click(1, "a"))
    publish(client, stream)
    features.read("u", ["a"], START + 9000)
    availability.up = up
    of_user, of_item, fresh = features.read("u", ["a"], START + 9000)
    assert fresh is up
    assert of_user["user.count(click, 1h)"] == float(up)
    assert of_item["item.rate(click, 1h)"] == [1.0]
