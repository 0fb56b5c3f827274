"""The writing side of serving: a trainer's rows, graph, features and catalogue go to Redis.

Shape suffixes: U distinct ids, D embedding dimension.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from embedding.store import Delta, TableDelta
from serving.cache.entity_cache import Changed
from serving.model.artefact import Artefact
from serving.replication import delta_messages, keys, row_codec
from serving.replication.stream_follower import FIELD
from streaming.events.schema import Features

_logger = logging.getLogger(__name__)
_ROWS_PER_COMMAND = 2048
_STREAM_LENGTH = 256
"""Messages kept on a delta stream; a server further behind than this forgets its cache and reads rows again."""

_T = TypeVar("_T")


class PublishError(ConnectionError):
    """Redis could not be written. Nothing is acknowledged; the same call may be made again."""


class OutOfStepError(PublishError):
    """Redis does not hold what this delta builds on: subscribe again, which makes the next delta a full one."""


class Publisher:
    """Publishes one model. When a method returns, Redis holds everything it was given.

    Raises PublishError when Redis cannot be written, after `retries` attempts with growing pauses. Calling again with
    the same arguments is then right, because every write can be repeated.

    Rows are rounded to `precision` once, here: servers are told what Redis holds. A row that has diverged stays in
    float32 and is counted.
    """

    def __init__(
        self, client: redis.Redis, model: str, retries: int = 3, precision: row_codec.Precision = "float32"
    ) -> None:
        self.diverged: Counter[str] = Counter()
        """By table, rows written in float32 because they would not fit another precision."""
        self._precision = precision
        self._client = client
        self._keys = keys.ModelKeys(model)
        self._retry = Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.02), retries)

    @property
    def model(self) -> str:
        return self._keys.model

    def sequence(self) -> int | None:
        """Sequence of the last delta that Redis holds whole; None when it holds no rows of this model."""
        value = self._do(lambda: self._client.get(self._keys.sequence))
        return None if value is None else int(value)

    def publish(self, delta: Delta) -> None:
        """Rows first, then the stream that tells servers about them, so that none caches a row older than its notice.

        Raises OutOfStepError when Redis lacks the deltas before this one: it restarted with older data, or was emptied.
        """
        known = self.sequence()
        if not delta.full and known not in (delta.sequence - 1, delta.sequence):
            raise OutOfStepError(
                f"model {self.model!r}: delta {delta.sequence} does not follow on {known}, which is what Redis holds; "
                f"subscribe again and publish a full delta"
            )
        written: dict[str, TableDelta] = {}
        for name, table in delta.tables.items():
            rows = self._write(name, table, delta.sequence)
            if not delta.full:  # else servers are told no values
                written[name] = self._as_written(table, rows)
        if delta.full:
            self._remove_all_but(delta.tables)
            self._set([self._keys.fallback], [msgspec.json.encode(delta.fallback)])
        self._announce(delta_messages.messages(replace(delta, tables=written)))
        self._do(lambda: self._client.set(self._keys.sequence, delta.sequence))

    def publish_artefact(self, artefact: Artefact) -> None:
        """Replace the model's graph; servers swap to it at once."""
        self._put_artefact(artefact.to_bytes(), artefact.version)

    def publish_entities(self, users: Mapping[str, Features], items: Mapping[str, Features]) -> None:
        """Replace the latest features of these users and items, and tell servers which they are."""
        encode = msgspec.json.encode
        pairs = {keys.user(name): encode(features) for name, features in users.items()}
        pairs |= {keys.item(name): encode(features) for name, features in items.items()}
        self._set(list(pairs), list(pairs.values()))
        for kind, names in (("users", list(users)), ("items", list(items))):
            for start in range(0, len(names), _ROWS_PER_COMMAND):
                notice = Changed(**{kind: names[start : start + _ROWS_PER_COMMAND]})
                self._add(keys.ENTITIES, encode(notice))

    def publish_catalog(self, popular: Sequence[tuple[str, float]], recent: Sequence[tuple[str, int]]) -> None:
        """Replace the popular items (with their popularity) and the recent ones (with the time of first sight)."""
        self._do(partial(self._replace_catalog, {keys.POPULAR: dict(popular), keys.RECENT: dict(recent)}))

    def publish_status(self, status: Mapping[str, object]) -> None:
        """Replace the trainer's status: its progress and the counters of its tables."""
        data = msgspec.json.encode(status)
        self._do(lambda: self._client.set(self._keys.status, data))

    def freeze(self, name: str, progress: Callable[[int], None] | None = None) -> int:
        """Copy this model, as it is now, to the model `name`, which nobody trains: the fixed arm of an experiment.

        Returns the number of rows; `progress` is called with the number so far. Raises ValueError when this model has
        no artefact yet, or when `name` is its own.
        """
        target = keys.ModelKeys(name)
        if name == self.model:
            raise ValueError(f"model {name!r} cannot be frozen into itself: choose another name")
        data = self._do(lambda: cast(bytes | None, self._client.get(self._keys.artefact)))
        if data is None:
            raise ValueError(f"model {self.model!r} has not been published yet: publish its artefact, then freeze it")
        copy = Publisher(self._client, name)
        rows = 0
        for page in self._pages(self._keys):
            rows += copy._take_over(page, self._keys)
            if progress is not None:
                progress(rows)
        for page in self._pages(target):
            copy._drop_gone(page, self._keys)
        fallback = self._do(lambda: cast(bytes | None, self._client.get(self._keys.fallback)))
        copy._set([target.fallback], [fallback or b"{}"])
        copy._announce([delta_messages.Reset(0)])
        copy._put_artefact(data, Artefact.from_bytes(data).version)
        return rows

    def _write(self, name: str, table: TableDelta, draw: int) -> list[bytes]:
        """Returns the rows as bytes. The delta's number decides how they are rounded: repeated, it is the same."""
        rows = row_codec.encode(table.values_UD, table.ids_U, self._precision, draw)
        self._set(self._keys.rows(name, table.ids_U), rows)
        self._unlink(self._keys.rows(name, table.removed))
        if self._precision != "float32" and len(rows):
            self._count_diverged(name, int(row_codec.diverged(table.values_UD).sum()))
        return rows

    def _as_written(self, table: TableDelta, rows: list[bytes]) -> TableDelta:
        if self._precision == "float32" or not rows:
            return table
        return replace(table, values_UD=row_codec.decode(rows, table.values_UD.shape[1]))

    def _count_diverged(self, name: str, rows: int) -> None:
        if rows:
            self.diverged[name] += rows
            _logger.warning(
                "model %r: %d rows of table %r hold NaN or numbers beyond +-65504 and are published in float32, not "
                "%s: the model diverges, lower its learning rate",
                *(self.model, rows, name, self._precision),
            )

    def _set(self, names: list[str], values: list[bytes]) -> None:
        for start in range(0, len(names), _ROWS_PER_COMMAND):
            part = slice(start, start + _ROWS_PER_COMMAND)
            self._do(partial(self._client.mset, dict(zip(names[part], values[part], strict=True))))

    def _unlink(self, names: list[str]) -> None:
        for start in range(0, len(names), _ROWS_PER_COMMAND):
            self._do(partial(self._client.unlink, *names[start : start + _ROWS_PER_COMMAND]))

    def _remove_all_but(self, tables: Mapping[str, TableDelta]) -> None:
        """After a full delta: rows that Redis held before and the store does not."""
        nothing = np.empty(0, np.uint64)
        sorted_ids = {name: np.sort(table.ids_U) for name, table in tables.items()}  # once, there are many pages
        for page in self._pages(self._keys):
            for name, ids in self._keys.parse_rows(page).items():
                kept = sorted_ids.get(name, nothing)
                gone = np.searchsorted(kept, ids) == np.searchsorted(kept, ids, side="right")
                self._unlink(self._keys.rows(name, ids[gone]))

    def _announce(self, messages: Iterable[delta_messages.Message]) -> None:
        for message in messages:
            self._add(self._keys.deltas, delta_messages.encode(message))

    def _add(self, stream: str, message: bytes) -> None:
        entry: dict[Any, Any] = {FIELD: message}
        self._do(partial(self._client.xadd, stream, entry, maxlen=_STREAM_LENGTH, approximate=True))

    def _put_artefact(self, data: bytes, version: str) -> None:
        self._do(lambda: self._client.set(self._keys.artefact, data))
        self._announce([delta_messages.NewArtefact(version)])

    def _replace_catalog(self, sets: Mapping[str, Mapping[str, float]]) -> None:
        with self._client.pipeline(transaction=True) as pipe:
            for key, scores in sets.items():
                pipe.delete(key)
                if scores:
                    pipe.zadd(key, dict(scores))
            pipe.execute()

    def _pages(self, model: keys.ModelKeys) -> Iterator[list[bytes]]:
        """Row keys of a model, some at a time; a key may come twice."""
        cursor = 0
        while True:
            cursor, page = self._do(partial(self._scan, cursor, model.row_prefix + "*"))
            if page:
                yield page
            if cursor == 0:
                return

    def _scan(self, cursor: int, pattern: str) -> tuple[int, list[bytes]]:
        return cast(tuple[int, list[bytes]], self._client.scan(cursor, match=pattern, count=2048))

    def _take_over(self, page: list[bytes], source: keys.ModelKeys) -> int:
        values = self._do(lambda: cast(list[bytes | None], self._client.mget(page)))
        start = len(source.row_prefix)
        pairs = [(self._keys.row_prefix + k.decode()[start:], v) for k, v in zip(page, values, strict=True) if v]
        self._set([k for k, _ in pairs], [v for _, v in pairs])
        return len(pairs)

    def _drop_gone(self, page: list[bytes], source: keys.ModelKeys) -> None:
        """Of this model's rows drop those that the source does not have."""
        start = len(self._keys.row_prefix)
        originals = [source.row_prefix + key.decode()[start:] for key in page]
        values = self._do(lambda: self._client.mget(originals))
        self._unlink([key.decode() for key, value in zip(page, values, strict=True) if value is None])

    def _do(self, command: Callable[[], _T]) -> _T:
        try:
            return self._retry.call_with_retry(command, lambda _: None)
        except redis.RedisError as error:
            raise PublishError(f"model {self.model!r} cannot be published: {error}") from error
