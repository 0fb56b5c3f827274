"""The log in Kafka keeps the event log's contract, on a real broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from kafka import KafkaConsumer

from deploy.kafka.broker import Broker
from streaming.log.event_log import EventLog
from streaming.log.kafka.kafka_log import KafkaLog
from tests.contracts.event_log import EventLogContract, events
from tests.streaming.log.kafka.conftest import Open

pytestmark = pytest.mark.slow


class TestKafkaLog(EventLogContract):
    """Small records, so that every test crosses their borders."""

    examples = 3

    @pytest.fixture(autouse=True)
    def _opened(self, open_kafka: Open, broker: Broker) -> None:
        self._open, self._broker, self._made = open_kafka, broker, 0

    def make(self, tmp: pytest.TempPathFactory, partitions: int) -> EventLog:
        self._made += 1
        return self._open(
            f"kafka://{self._broker.address}/{tmp.mktemp('topic').name}-{id(self)}-{self._made}",
            partitions,
            record_events=7,
        )

    def reopen(self, log: EventLog) -> EventLog:
        assert isinstance(log, KafkaLog)
        log.close()
        address = log.address
        return self._open(f"kafka://{address.servers[0]}/{address.topic}", record_events=11)

    def starts(self, places: int) -> Iterable[int]:
        return range(0, places, 6)

    def about(self, unread: int, events: int) -> bool:
        return events / 3 < unread < events * 3


def test_the_ends_of_all_partitions_are_one_request(
    open_kafka: Open, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_kafka(url, 6)
    for partition in range(5):
        log.append(events(partition, 3), partition)
    asked = list[int]()
    ends = KafkaConsumer.end_offsets

    def counted(consumer: KafkaConsumer, partitions: list[Any], *options: Any) -> Any:
        asked.append(len(partitions))
        return ends(consumer, partitions, *options)

    monkeypatch.setattr(KafkaConsumer, "end_offsets", counted)
    assert log.unread(log.begin()) >= 15
    end = log.end()
    asked.clear()
    assert log.unread(end) == 0
    assert asked == [6]
