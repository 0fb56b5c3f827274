"""The clients of a topic, without a broker."""

from __future__ import annotations

from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from streaming.log.kafka.address import KafkaAddress
from streaming.log.kafka.connection import Connection


class Unanswered:
    """A client whose broker is away; as a producer, one that waits for what it has sent."""

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent
        self.closed: list[dict[str, Any]] = []

    def close(self, **bounds: Any) -> None:
        self.closed.append(bounds)
        if self.sent:
            assert bounds.get("timeout") is not None, "would wait for as long as the broker is away"
            raise KafkaTimeoutError("Timeout waiting for future")


def test_closing_waits_no_longer_than_a_broker_may_take_and_closes_all(caplog: pytest.LogCaptureFixture) -> None:
    connection = Connection(KafkaAddress.parse("//127.0.0.1:1/clicks?timeout=2"))
    made = {"producer": Unanswered(sent=True), "consumer": Unanswered(sent=False), "admin": Unanswered(sent=False)}
    connection._made = dict(made)
    connection.close()
    connection.close()
    assert {name: client.closed for name, client in made.items()} == {
        "producer": [{"timeout": 2}],
        "consumer": [{}],
        "admin": [{}],
    }
    assert "topic clicks on 127.0.0.1:1: closed without an answer to what was sent last" in caplog.text
