"""Cursors that consumers have committed, in Kafka's own place for them, so that its tools show the lag."""

from __future__ import annotations

from typing import Any

from kafka import TopicPartition
from kafka.errors import NoError
from kafka.structs import OffsetAndMetadata

from streaming.log.event_log import Cursor
from streaming.log.kafka.connection import Connection
from streaming.log.kafka.offsets import split_offset


class ConsumerGroups:
    """The cursor of each consumer, in the group recsys-CONSUMER. All methods raise errors of Kafka's client."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self._connection = connection
        self._partitions = [TopicPartition(connection.address.topic, partition) for partition in range(partitions)]

    def commit(self, consumer: str, cursor: Cursor) -> None:
        places = zip(self._partitions, cursor, strict=True)
        offsets = {one: OffsetAndMetadata(split_offset(offset)[0], str(offset), -1) for one, offset in places}

        def commit() -> None:
            for error in self._connection.admin.alter_group_offsets(_group(consumer), offsets).values():
                if error is not NoError:
                    raise error()

        self._connection.retried(commit)

    def committed(self, consumer: str) -> Cursor | None:
        asked: dict[str, Any] = {_group(consumer): self._partitions}
        found = self._connection.retried(lambda: self._connection.admin.list_group_offsets(asked))[_group(consumer)]
        offsets = [found[one].metadata for one in self._partitions if one in found and found[one].metadata]
        return tuple(map(int, offsets)) if len(offsets) == len(self._partitions) else None


def _group(consumer: str) -> str:
    return f"recsys-{consumer}"
