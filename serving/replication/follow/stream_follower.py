"""Follows Redis streams in a thread, reconnects after every failure, and keeps `Availability` up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import redis

from serving.replication.connection.redis_client import RedisClient
from serving.replication.delta_messages import FIELD
from serving.replication.health import Availability

_logger = logging.getLogger(__name__)
_BLOCK = 100
"""Longest wait (ms) for messages, so that closing and refreshing are prompt."""
_PAUSE = 0.1
_REFRESH = 1.0


class Sink(Protocol):
    """Receives the messages of one stream. Its methods are called from the follower's thread only."""

    @property
    def stream(self) -> str:
        """The stream's key."""
        ...

    def catch_up(self, client: RedisClient, *, continued: bool) -> None:
        """Called when following begins, and again whenever Redis answers after an outage.

        `continued` is false when messages may have been missed since the last one taken.
        """
        ...

    def take(self, client: RedisClient, message: bytes) -> None:
        """Take one message. Any exception other than redis.RedisError ends the thread."""
        ...


class StreamFollower:
    """Follows the streams of `sinks`. `connect` returns a client whose time-out exceeds
    the longest wait for messages (0.1 s).

    `refresh` is called about once a second while Redis answers, `revive` when it does not (to start an embedded one).
    """

    def __init__(
        self,
        connect: Callable[[], RedisClient],
        sinks: Sequence[Sink],
        availability: Availability,
        refresh: Callable[[RedisClient], None] = lambda _: None,
        revive: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._sinks: dict[bytes, Sink] = {}
        self._positions: dict[bytes, bytes] = {}
        self.follow(sinks)
        self._availability = availability
        self._refresh = refresh
        self._revive = revive
        self._clock = clock
        self._refreshed = -float("inf")
        self._stopped = threading.Event()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream-follower", daemon=True)

    def follow(self, sinks: Sequence[Sink]) -> None:
        """Follow these sinks from now on. Once it has started, only `refresh` may call it."""
        self._sinks = {sink.stream.encode(): sink for sink in sinks}
        self._positions = {stream: at for stream, at in self._positions.items() if stream in self._sinks}

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait(self, timeout: float) -> bool:
        """Wait until all sinks have caught up once; False when that took longer than `timeout` seconds."""
        return self._caught_up.wait(timeout)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._connect() as client:
                    self._follow(client)
            except redis.RedisError as error:
                if self._availability.up or not self._caught_up.is_set():
                    _logger.warning("Redis does not answer, serving from the cache: %s", error)
                self._availability.up = False
                self._try_to_revive()
                self._stopped.wait(_PAUSE)

    def _try_to_revive(self) -> None:
        try:
            self._revive()
        except (OSError, RuntimeError) as error:
            _logger.warning("Redis cannot be started: %s", error)

    def _follow(self, client: RedisClient) -> None:
        self._refresh_when_due(client)  # first, so that what a sink makes available finds all else up to date
        client.ping()
        self._availability.up = True
        for stream, sink in self._sinks.items():
            sink.catch_up(client, continued=self._resume(client, stream))
        self._caught_up.set()
        while not self._stopped.is_set():
            self._read(client)
            self._refresh_when_due(client)
            for stream, sink in self._sinks.items():
                if stream not in self._positions:  # it has come since
                    sink.catch_up(client, continued=self._resume(client, stream))
            self._availability.up = True

    def _refresh_when_due(self, client: RedisClient) -> None:
        if self._clock() - self._refreshed >= _REFRESH:
            self._refresh(client)
            self._refreshed = self._clock()

    def _resume(self, client: RedisClient, stream: bytes) -> bool:
        """Whether the stream still holds the last message read; if not, move to its end, before the sink reads."""
        position = self._positions.get(stream, b"0-0")
        if position != b"0-0" and client.xrange(stream, position, position):
            return True
        last = cast(Any, client.xrevrange(stream, count=1))
        self._positions[stream] = last[0][0] if last else b"0-0"
        return False

    def _read(self, client: RedisClient) -> None:
        if not self._positions:
            self._stopped.wait(_BLOCK / 1000)
            return
        news = cast(Any, client.xread(cast(Any, self._positions), count=64, block=_BLOCK))
        for stream, entries in news:
            for position, entry in entries:
                self._sinks[stream].take(client, entry.get(FIELD, b""))
                self._positions[stream] = position
