"""Faults of a log in Kafka, each on a real broker: what was acknowledged is read once, and errors say what to do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions

from deploy.kafka.broker import Broker
from recsys.errors import LogError
from streaming.events.schema import Event, Interaction
from streaming.ingest.codec import encode_events, to_events
from streaming.log.kafka.kafka_log import KafkaLog
from tests.serving.waiting import until
from tests.streaming.log.kafka.conftest import Open


def clicks(*numbers: int) -> list[Event]:
    return [Interaction(time=number, impression=f"n{number}", item="a") for number in numbers]


def times(log: KafkaLog, partition: int = 0) -> list[int]:
    """Of all events, in the order of the log."""
    found: list[int] = []
    offset = log.begin()[partition]
    while (chunk := log.read(partition, offset)).events.num_rows:
        found += [event.time for event in to_events(chunk.events)]
        offset = chunk.next_offset
    return found


def topic_of(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]


def admin(broker: Broker) -> KafkaAdminClient:
    return KafkaAdminClient(bootstrap_servers=broker.address)


def as_json(event: Event) -> bytes:
    one: Any = event
    return json.dumps(
        {"type": "interaction", "time": one.time, "impression": one.impression, "item": one.item}
    ).encode()


def test_no_broker_at_all(open_kafka: Open) -> None:
    with pytest.raises(LogError, match=r"topic clicks on 127\.0\.0\.1:1: opening the log"):
        open_kafka("kafka://127.0.0.1:1/clicks?timeout=1")


def test_what_a_transaction_took_back_is_not_read(open_kafka: Open, broker: Broker, url: str) -> None:
    log = open_kafka(url, 1)
    producer = KafkaProducer(bootstrap_servers=broker.address, transactional_id=uuid.uuid4().hex)
    producer.init_transactions()
    for numbers, taken_back in (((1, 2), False), ((3, 4), True), ((5,), False)):
        producer.begin_transaction()
        sent = [producer.send(topic_of(url), as_json(one), partition=0) for one in clicks(*numbers)]
        assert all(one.get(120).offset >= 0 for one in sent)  # also those that are taken back were stored
        if taken_back:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    producer.close()
    assert times(log) == [1, 2, 5]
    assert log.unread(log.begin()) > 0
    last = log.read(0, log.begin()[0]).next_offset
    assert log.unread((last,)) == 0
    assert not log.wait((last,), 0.0)


def test_a_record_that_is_no_event_becomes_a_dead_letter_with_its_place(
    open_kafka: Open, broker: Broker, url: str
) -> None:
    log = open_kafka(url, 2)
    producer = KafkaProducer(bootstrap_servers=broker.address)
    values = [as_json(clicks(1)[0]), b"{broken", b"\xff\xfe", as_json(clicks(2)[0])]
    for value in values:
        producer.send(topic_of(url), value, partition=1).get(120)
    # one of ours, torn: its headers are right
    log.append(encode_events(clicks(3)), 1)
    consumer = KafkaConsumer(bootstrap_servers=broker.address, auto_offset_reset="earliest")
    ours = records_of(consumer, topic_of(url), 1)[-1]
    producer.send(topic_of(url), ours.value[:-20], headers=ours.headers, partition=1).get(120)
    producer.close()

    assert times(log, 1) == [1, 2, 3]
    assert times(open_kafka(url), 1) == [1, 2, 3]  # another reader: the letters are not doubled under other keys
    refused = records_of(consumer, f"{topic_of(url)}-dead-letters", 0)
    consumer.close()
    letters = {record.key.decode(): json.loads(record.value) for record in refused}
    assert letters.keys() == {f"{topic_of(url)}/1/{offset}" for offset in (1, 2, 5)}
    broken = letters[f"{topic_of(url)}/1/1"]
    assert (broken["topic"], broken["partition"], broken["offset"]) == (topic_of(url), 1, 1)
    assert broken["raw"] == "{broken"
    assert "JSON" in broken["reason"]
    assert "not a batch of events" in letters[f"{topic_of(url)}/1/5"]["reason"]
    assert log.refused(100) == list(letters.values())
    assert log.refused(2) == list(letters.values())[-2:]


def test_a_log_that_refused_nothing_says_so(open_kafka: Open, url: str) -> None:
    assert open_kafka(url, 1).refused(100) == []


def records_of(consumer: KafkaConsumer, topic: str, partition: int) -> list[Any]:
    place = TopicPartition(topic, partition)
    consumer.assign([place])
    end = consumer.end_offsets([place])[place]
    consumer.seek(place, 0)
    found: list[Any] = []

    def at_the_end() -> bool:
        found.extend(consumer.poll(200).get(place, []))
        return bool(consumer.position(place) >= end)

    until(at_the_end)
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda client, topic: client.create_partitions({topic: NewPartitions(3)}), "has 3 partitions now, not 2"),
        (lambda client, topic: client.delete_topics([topic]), "was removed"),
    ],
    ids=["partitions added", "topic removed"],
)
def test_another_topic_is_never_taken_for_the_same(
    open_kafka: Open, broker: Broker, url: str, change: Callable[[KafkaAdminClient, str], Any], message: str
) -> None:
    log = open_kafka(url, 2, check_every=0.0)
    assert log.end() == (0, 0)
    client = admin(broker)
    change(client, topic_of(url))
    client.close()

    until(lambda: message in refusal(log))


def refusal(log: KafkaLog) -> str:
    """What the log says when it is asked for its end; empty when it answers."""
    try:
        log.end()
    except LogError as error:
        return str(error)
    return ""


def test_a_topic_made_anew_has_another_identity(open_kafka: Open, broker: Broker, url: str) -> None:
    log = open_kafka(url, 1, check_every=0.0)
    log.append(encode_events(clicks(1)))
    client = admin(broker)
    client.delete_topics([topic_of(url)])
    client.close()
    until(lambda: log._connection.topic(topic_of(url)) is None)
    again = open_kafka(url, 1)
    assert again.identity != log.identity
    with pytest.raises(LogError, match="was removed and made anew: its offsets name other events now"):
        log.end()
