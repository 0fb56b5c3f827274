"""What can be said of a topic without making it, for `recsys check`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

from recsys.errors import LogError
from streaming.log.kafka.address import KafkaAddress
from streaming.log.kafka.connection import Connection, kafka_errors
from streaming.log.kafka.topic import Topic

PATIENCE = 5
"""Seconds to wait for a broker at most."""


def inspect(address: KafkaAddress, partitions: int | None = None) -> tuple[str, str]:
    """A sentence on the topic, which would be made with so many partitions, and its identity; "" if it is not there.

    Raises LogError or InvalidValueError, with a remedy, for what keeps the log from being used.
    """
    soon = replace(address, timeout=min(address.timeout, PATIENCE))
    with closing(Connection(soon)) as connection, kafka_errors(soon, "looking at the topic"):
        found = connection.topic(address.topic)
        if found is None:
            new = address.partitions or partitions or 1
            return f"{address.where} is not there yet; it will be made, with partitions: {new}", ""
        topic = Topic(connection, found, 0)
        places = found["partitions"]
        if alone := [str(one["partition_index"]) for one in places if one["leader_id"] < 0]:
            raise LogError(
                f"{address.where}: no broker leads {_named('partition', alone)}, so that it can be neither read nor "
                f"written; start {_named('broker', _brokers(places, 'replica_nodes'))}"
            )
        copies = min(len(one["replica_nodes"]) for one in places)
        sentence = f"{address.where} is there, with partitions: {len(places)}, copies of each record: {copies}"
        late = sorted(set(_brokers(places, "replica_nodes")) - set(_brokers(places, "isr_nodes")))
        missing = f"; {_named('broker', late)} is away or behind" if late else ""
        return sentence + missing, topic.identity


def _brokers(places: list[dict[str, Any]], which: str) -> list[str]:
    return sorted({str(broker) for place in places for broker in place[which]})


def _named(what: str, which: list[str]) -> str:
    return f"{what}{'s' if len(which) > 1 else ''} {', '.join(which)}"
