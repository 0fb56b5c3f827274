"""Erasing users while a server runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from serving.erasure.log_places import DeadLettersPlace, LogPlace
from serving.erasure.place import Finding, Place, check_users, erased
from serving.erasure.redis_place import RedisPlace
from serving.replication.connection.redis_client import RedisClient
from streaming.encode.feature_spec import FeatureSpec
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.log.event_log import EventLog


def shared_places(
    log: EventLog, client: RedisClient, spec: FeatureSpec | None, dead_letters: Path, users: Sequence[str]
) -> tuple[list[Place], LogPlace]:
    """What servers and trainers share, in the order in which it is cleared; the log, which comes last, beside it."""
    events = LogPlace(log, users)
    letters = DeadLettersPlace(DeadLetters(dead_letters), users, events.impressions)
    return [RedisPlace(client, spec, users, events.impressions), letters, events], events


class Erasures:
    """Erases a user at a time from `shared_places`; checkpoints follow with the trainer. Thread-safe."""

    def __init__(self, log: EventLog, client: RedisClient, spec: FeatureSpec | None, dead_letters: Path) -> None:
        self._where = log, client, spec, dead_letters
        self._one = threading.Lock()

    def erase(self, user: str) -> list[Finding]:
        """What each place had and has. Raises InvalidValueError, and another RecsysError if it must be repeated."""
        check_users([user])
        with self._one:
            places, log = shared_places(*self._where, [user])
            return erased(places, log.tell)
