"""A real broker for the tests of a process, on loopback."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from deploy.kafka.broker import Broker
from recsys.commands.demo.ports import free_port
from streaming.ingest.foreign_values import decode_values
from streaming.log.kafka.address import KafkaAddress
from streaming.log.kafka.kafka_log import KafkaLog
from tests.streaming.log.kafka import secure
from tests.streaming.log.kafka.needed import need_kafka


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    need_kafka()
    folder = tmp_path_factory.mktemp("kafka")
    broker = Broker(folder, port := free_port(), secure.settings(folder, port))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def url(broker: Broker) -> str:
    """Of a new topic."""
    return f"kafka://{broker.address}/t-{uuid.uuid4().hex[:12]}"


Open = Callable[..., KafkaLog]


@pytest.fixture
def open_kafka() -> Iterator[Open]:
    """Opens the log of a URL, with arguments of `KafkaLog`; all are closed after the test."""
    opened: list[KafkaLog] = []

    def of(url: str, partitions: int | None = None, **options: float) -> KafkaLog:
        address = KafkaAddress.parse(url.removeprefix("kafka:"))
        opened.append(KafkaLog(address, decode_values, partitions, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield of
    for log in opened:
        log.close()
