"""The topic that a log is in, and whether it is still the same one."""

from __future__ import annotations

import time
from typing import Any

from kafka.admin import ConfigResource

from recsys.errors import InvalidValueError, LogError
from streaming.log.kafka.connection import Connection


class Topic:
    """An existing topic. All methods raise errors of Kafka's client, too."""

    def __init__(self, connection: Connection, found: dict[str, Any], check_every: float) -> None:
        """`found` is what the brokers say of it. Raises InvalidValueError if the address has another `partitions`."""
        address = connection.address
        self._connection = connection
        self.id, self.partitions = str(found["topic_id"]), len(found["partitions"])
        if address.partitions not in (None, self.partitions):
            raise InvalidValueError(
                f"{address.where} has {self.partitions} partitions, not {address.partitions}; write "
                f"partitions={self.partitions} in [log] url, or name another topic"
            )
        self.identity = f"{connection.cluster()}/{self.id}"
        """The ids of the cluster and of the topic, which Kafka gave them."""
        self._check_every = check_every
        self._checked = time.monotonic()

    @staticmethod
    def opened(connection: Connection, partitions: int | None, check_every: float) -> Topic:
        """The topic of the connection's address, made with so many partitions if it is not there."""
        address = connection.address
        found = connection.topic(address.topic)
        if found is None:
            connection.make_topic(address.topic, address.partitions or partitions or 1)
            found = connection.topic(address.topic)
        if found is None:
            raise LogError(f"{address.where} was removed while it was made; try again")
        return Topic(connection, found, check_every)

    def retention(self) -> int | None:
        """How long (ms) records are kept after they were appended; None for ever."""
        name, connection = self._connection.address.topic, self._connection
        asked = [ConfigResource("topic", name, ["retention.ms"])]
        found = connection.retried(lambda: connection.admin.describe_configs(asked, config_filter="all"))
        milliseconds = int(found["topic"][name]["retention.ms"]["value"])
        return None if milliseconds < 0 else milliseconds

    def check(self, *, now: bool = False) -> None:
        """Ask the brokers, unless they were asked within the last `check_every` seconds.

        Raises LogError when the topic was removed, made anew or given more partitions.
        """
        if not now and time.monotonic() - self._checked < self._check_every:
            return
        address = self._connection.address
        found = self._connection.topic(address.topic)
        if found is None:
            raise LogError(f"{address.where} was removed; restore it, or start again to make it anew")
        if str(found["topic_id"]) != self.id:
            raise LogError(
                f"{address.where} was removed and made anew: its offsets name other events now. Start again; a trainer "
                "then needs another folder in [training] checkpoints, to begin at the beginning of the new topic"
            )
        if len(found["partitions"]) != self.partitions:
            raise LogError(
                f"{address.where} has {len(found['partitions'])} partitions now, not {self.partitions}: events of one "
                "impression would lie in two of them. Make a topic with that many partitions, ingest into it, and "
                "train into another folder of [training] checkpoints"
            )
        self._checked = time.monotonic()
