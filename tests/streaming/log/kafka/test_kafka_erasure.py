"""Erasing a user from a topic: readers forget, the records stay until the topic's retention, and that is said."""

from __future__ import annotations

import pytest
from kafka.admin import ConfigResource

from serving.erasure.log_places import LogPlace
from serving.erasure.place import erased
from streaming.log.kafka.kafka_log import KafkaLog
from streaming.log.merged_reader import LogReader
from tests.streaming.log.kafka.conftest import Open
from tests.streaming.log.test_erasure import ADA, BOB, fill

pytestmark = pytest.mark.slow


def test_readers_are_told_once_and_the_rest_is_up_to_the_retention(open_kafka: Open, url: str) -> None:
    log = open_kafka(url, 3)
    assert isinstance(log, KafkaLog)
    fill(log, range(5))
    place = LogPlace(log, [ADA])
    (finding,) = erased([place], place.tell)
    assert (finding.before, finding.now) == (15, 15)
    assert finding.remedy.startswith("records of a topic cannot be rewritten: they go 7 days after they came")
    end = log.end()
    again = LogPlace(log, [ADA])
    (finding,) = erased([again], again.tell)
    assert (finding.before, finding.now, log.end()) == (15, 15, end)
    fill(log, [6], [ADA, BOB])
    assert LogPlace(log, [ADA]).count() > 15  # those of the new user of that name, too

    reader, alone = LogReader(log, None, slack=0), 0
    while (chunk := reader.read(1000)) is not None:
        users = chunk.events.column("user").to_pylist()
        alone += users == [ADA] and chunk.events.column("kind").to_pylist() == [4]
    assert alone == 3


def test_a_topic_that_keeps_records_for_ever_is_named(open_kafka: Open, url: str) -> None:
    log = open_kafka(url, 1)
    assert isinstance(log, KafkaLog)
    fill(log, range(2), [ADA])
    forever = ConfigResource("topic", log.address.topic, {"retention.ms": "-1"})
    log._connection.admin.alter_configs([forever])
    place = LogPlace(log, [ADA])
    (finding,) = erased([place], place.tell)
    assert finding.remedy.endswith("keeps them for ever: set its retention.ms")
