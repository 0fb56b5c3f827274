"""What trainers publish about themselves: their progress and the counters of their tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec

from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ModelKeys

ROWS_CHANGED = "rows_changed"
"""When rows of the model changed in Redis last, in milliseconds of the writer's clock; absent until they have."""


class TrainerStatus(msgspec.Struct, frozen=True):
    """The latest status of one model's trainer."""

    published: int
    """When it was written, in milliseconds of the trainer's clock."""
    status: dict[str, Any]
    """Figures by name. Those of embedding tables are under `tables`, by table and counter."""

    @property
    def not_served(self) -> str:
        """See `not_served`."""
        return not_served(self.status)

    def figures(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Every number, with the names that lead to it.

        >>> list(TrainerStatus(0, {"steps": 7, "tables": {"item": {"rows": 3}}}).figures())
        [(('steps',), 7.0), (('tables', 'item', 'rows'), 3.0)]
        """
        return _figures((), self.status)


def not_served(status: Mapping[str, Any]) -> str:
    """A sentence about a run that servers do not follow; empty for one that they do, and where nothing is said of it.

    >>> not_served({"run": "3f2a", "serves": True})
    ''
    >>> not_served({"run": "3f2a", "serves": False, "waits": "it has 7 events to read"})
    'Run 3f2a is not served: servers follow another run of this model; it has 7 events to read'
    """
    if status.get("serves", True):
        return ""
    until = status.get("waits") or "it takes over when a trainer of it has read the log to its end"
    return f"Run {status.get('run', '')} is not served: servers follow another run of this model; {until}"


def lasting(status: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run beyond its trainer: how well it did on recent rows, until when, and when rows changed."""
    return {name: status[name] for name in ("event_time", "tasks", ROWS_CHANGED) if name in status}


class TrainerStatuses:
    """The latest statuses by model, kept while Redis is away. Models without a trainer (frozen ones) have none."""

    def __init__(self, models: Iterable[str]) -> None:
        self.follow(models)
        self.by_model: Mapping[str, TrainerStatus] = {}

    def follow(self, models: Iterable[str]) -> None:
        """Read those of these models from now on."""
        self._models = list(models)

    def refresh(self, client: RedisClient) -> None:
        """Read all statuses. Raises redis.RedisError and keeps what it had."""
        if not self._models:
            return
        blobs = cast(list[bytes | None], client.mget([client.names.model(model).status for model in self._models]))
        read = {model: decode(blob) for model, blob in zip(self._models, blobs, strict=True)}
        self.by_model = {model: status for model, status in read.items() if status is not None}


def rows_changed(client: RedisClient, keys: ModelKeys) -> int | None:
    """When rows of a run changed last (ms), None if nobody has said. Raises redis.RedisError."""
    said = decode(cast(bytes | None, client.get(keys.figures)))
    return None if said is None else said.status.get(ROWS_CHANGED)


def encode(status: Mapping[str, object], published: int) -> bytes:
    return msgspec.json.encode(TrainerStatus(published, dict(status)))


def decode(blob: bytes | None) -> TrainerStatus | None:
    """The decoded status, or None if it is missing or of another version: nothing depends on it."""
    try:
        return None if blob is None else msgspec.json.decode(blob, type=TrainerStatus)
    except msgspec.DecodeError:
        return None


def _figures(path: tuple[str, ...], values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _figures((*path, name), value)
        elif isinstance(value, int | float):
            yield (*path, name), float(value)
