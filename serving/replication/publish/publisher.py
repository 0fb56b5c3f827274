"""The writing side of serving: puts a trainer's rows, graph, features, catalogue and status into Redis.

Shape suffixes: U distinct ids, D embedding dimension.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from xxhash import xxh3_64_hexdigest

from embedding.store import Delta, Floats, TableDelta
from recsys.errors import OutOfStepError
from serving.model.artefact import Artefact
from serving.replication import delta_messages, row_codec, trainer_status
from serving.replication.connection.redis_client import RedisClient
from serving.replication.publish.catalog_publisher import CatalogPublisher
from serving.replication.publish.entity_publisher import EntityPublisher
from serving.replication.publish.frozen_copy import freeze
from serving.replication.publish.item_set_publisher import ItemSetPublisher
from serving.replication.publish.lease import Lease
from serving.replication.publish.record_publisher import RecordPublisher
from serving.replication.publish.redis_writer import RedisWriter
from serving.replication.publish.removal import remove_model
from serving.replication.publish.served_run import KEEP, ServedRun
from serving.replication.publish.shared_facts import SharedFacts
from serving.replication.publish.vector_publisher import VectorPublisher
from serving.replication.publish.visit_publisher import VisitPublisher
from streaming.encode.entity_state import Changes
from streaming.events.schema import Features
from streaming.windows.record_changes import RecordChanges

_logger = logging.getLogger(__name__)


class Publisher:
    """Publishes one model. When a method returns, Redis holds everything it was given.

    Raises PublishError when Redis cannot be written after `retries` attempts with growing pauses. The call can then be
    repeated, because repeating a write does no harm. With a `lease`, each write raises LeaseError if another trainer
    holds it.

    Rows are rounded to `precision` here, once: servers receive the values that Redis holds. A diverged row stays in
    float32 and is counted. `now` gives the time of a status, in milliseconds. `kept_in` is the folder of the
    copy of all promotions (`SharedFacts`). A run that was replaced stays in Redis for `keep_run` milliseconds.
    """

    def __init__(
        self,
        client: RedisClient,
        model: str,
        retries: int = 3,
        precision: row_codec.Precision = "float32",
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        lease: Lease | None = None,
        kept_in: Path | None = None,
        keep_run: int = KEEP,
    ) -> None:
        self.diverged: Counter[str] = Counter()
        """By table, rows written in float32 because another precision cannot hold them."""
        self._precision = precision
        self._client = client
        self._keys = client.names.model(model)
        self._redis = RedisWriter(client, model, retries, lease)
        self._now = now
        self._keep_run = keep_run
        self.runs = ServedRun(self._redis, self._keys, now, keep_run)
        self._entities = EntityPublisher(self._redis)
        self._catalog = CatalogPublisher(self._redis)
        self.vectors = VectorPublisher(self._redis, self._keys)
        self._records = RecordPublisher(self._redis)
        self.visits = VisitPublisher(self._redis)
        self.item_sets = ItemSetPublisher(self._redis)
        self.facts = SharedFacts(self._redis, model, kept_in)
        self._written: int | None = None
        """Sequence of the last delta written by this publisher."""
        self._announced = 0
        """Sequence of the last of them that was announced."""
        self._changed: dict[str, int] = {}
        """When rows changed last, as the status has it."""

    @property
    def model(self) -> str:
        return self._keys.model

    def begin(self, run: str) -> None:
        """Publish under the run `run` from now on; a run is one training from scratch. Writes nothing yet."""
        self._keys = self._client.names.model(self.model, run)
        self.runs = ServedRun(self._redis, self._keys, self._now, self._keep_run)
        self.vectors = VectorPublisher(self._redis, self._keys)
        self._written, self._announced = None, 0

    def waits(self) -> bool:
        """Whether servers follow another run of the model, which this one may replace once it is complete."""
        return self.runs.other() is not None

    def take_over(self, version: str, why: str = "", over: str | None = None) -> bool:
        """Let servers follow this run, whose rows and graph `version` Redis holds; as `ServedRun.serve`."""
        return self.runs.serve(version, why, over)

    def sequence(self) -> int | None:
        """Sequence of the last delta that Redis holds completely; None when it holds no rows of this model."""
        known = self._positions()
        return None if None in known else min(one[0] for one in known if one)

    def _positions(self) -> set[tuple[int, str] | None]:
        """Sequence and epoch of the last delta in Redis: several if nodes of a cluster differ, None if one has none."""
        values = self._redis.do(lambda: cast(list[bytes | None], self._client.mget(self._keys.sequences)))
        return {None if value is None else _position(value) for value in set(values)}

    def publish(self, delta: Delta) -> None:
        """Write rows, then announce them, so that no server caches a row older than its notice.

        A delta without changes is not announced. Raises OutOfStepError when Redis lacks the preceding deltas: it was
        emptied or restarted with older data, or another trainer has published.
        """
        found = self._positions()
        known = {None if position is None else position[0] for position in found}
        if delta.full:
            self._catalog.forget()  # Redis may have been emptied
            self.runs.begin()
        elif not found <= {(delta.sequence - 1, delta.previous_epoch), (delta.sequence, delta.epoch)}:
            held = ", ".join(map(str, known))
            raise OutOfStepError(
                f"model {self.model!r}: delta {delta.sequence} does not follow delta {held}, the last one in Redis, "
                f"or one of them is from before a restart; subscribe again and publish a full delta"
            )
        written = {name: self._write(name, table, delta) for name, table in delta.tables.items()}
        if delta.full:
            self._remove_all_but(delta.tables)
            self._redis.set_one(self._keys.fallback, msgspec.json.encode(delta.fallback))
        previous = self._announced if known == {self._written} else delta.sequence - 1
        announced = self._announce(delta_messages.messages(replace(delta, tables=written), previous, self._keys.run))
        self._complete(f"{delta.sequence}:{delta.epoch}")
        if announced:
            self._changed = {trainer_status.ROWS_CHANGED: self._now()}
        self._written = delta.sequence
        self._announced = delta.sequence if announced else previous

    def publish_artefact(self, artefact: Artefact) -> None:
        """Replace the graph of this run; servers swap to it at once unless they follow another run."""
        waits = self.waits()
        if waits:
            self.runs.begin()  # so that the next trainer finds the graph if this one ends before its rows
        self._redis.set_one(self._keys.artefact, artefact.to_bytes())
        if not waits:
            self.runs.renew(artefact.version)

    def publish_whole(self, rows: Delta, artefact: Artefact, why: str) -> None:
        """Publish a model that nobody trains on, as a run of its own: servers follow it when Redis holds all of it."""
        self.begin(xxh3_64_hexdigest(artefact.version.encode()))
        self.publish(rows)
        self.publish_artefact(artefact)
        self._redis.set_one(self._keys.figures, trainer_status.encode(self._changed, self._now()))
        self.take_over(artefact.version, why)

    def publish_entities(self, users: Mapping[str, Features], items: Mapping[str, Features]) -> None:
        """Replace the latest features of these users and items, and announce their names."""
        self._entities.publish(users, items)

    def publish_entity_changes(self, users: Changes, items: Changes) -> None:
        """As `publish_entities`, and remove the features of those that were evicted."""
        self._entities.apply(users, items)

    def publish_records(self, changes: Sequence[RecordChanges]) -> None:
        """Write records of counters and histories that changed, and remove those of entities that were evicted."""
        for one in changes:
            self._records.apply(one)

    def publish_catalog(self, popular: Sequence[tuple[str, float]], recent: Sequence[tuple[str, int]]) -> None:
        """As `CatalogPublisher.publish`."""
        self._catalog.publish(popular, recent)

    def forget_catalog(self) -> None:
        """As `CatalogPublisher.forget`."""
        self._catalog.forget()

    def publish_status(self, status: Mapping[str, object]) -> None:
        """Replace the trainer's status: figures by name, or groups of figures (see `trainer_status.TrainerStatus`)."""
        published, status = self._now(), {**status, **self._changed}
        blobs = {self._keys.status: trainer_status.encode(status, published)}
        if status.get("serves"):
            blobs[self._keys.figures] = trainer_status.encode(trainer_status.lasting(status), published)
        self._redis.write(lambda pipe: pipe.mset(blobs))
        self.runs.sweep()

    def freeze(self, name: str, progress: Callable[[int], None] | None = None) -> int:
        """Copy the current state of this model to the model `name`, the fixed arm of an experiment: nobody trains it.

        Returns the number of rows; `progress` is called with the number so far. Raises ValueError when this model has
        no artefact yet, or when `name` is its own.
        """
        return freeze(self._redis, self.model, name, progress)

    def retire(self) -> int:
        """Remove all that Redis has of this model, as `remove_model` does; returns the number of its rows."""
        return remove_model(self._redis, self.model)

    def _write(self, name: str, table: TableDelta, delta: Delta) -> TableDelta:
        """Write the rows of a table and return them as readers decode them, without values if the delta is full.

        The delta's sequence seeds the rounding, so that repeating a delta writes the same bytes.
        """
        values: list[Floats] = []
        for part in row_codec.encode_parts(table.values_UD, table.ids_U, self._precision, delta.sequence):
            self._redis.set(self._keys.rows(name, part.ids_U), part.rows)
            self._count_diverged(name, part.diverged)
            if not delta.full:
                values.append(part.values_UD)
        self._redis.unlink(self._keys.rows(name, table.removed))
        return table if delta.full or not values else replace(table, values_UD=np.concatenate(values))

    def _count_diverged(self, name: str, rows: int) -> None:
        if rows:
            self.diverged[name] += rows
            _logger.warning(
                "model %r: %d rows of table %r hold NaN or numbers beyond +-65504 and are published in float32, not "
                "%s: the model diverges, lower its learning rate",
                *(self.model, rows, name, self._precision),
            )

    def _remove_all_but(self, tables: Mapping[str, TableDelta]) -> None:
        """After a full delta, remove rows that the store no longer holds."""
        nothing = np.empty(0, np.uint64)
        sorted_ids = {name: np.sort(table.ids_U) for name, table in tables.items()}  # once, there are many pages
        for page in self._redis.pages(self._keys.all_rows):
            for name, ids in self._keys.parse_rows(page).items():
                kept = sorted_ids.get(name, nothing)
                gone = np.searchsorted(kept, ids) == np.searchsorted(kept, ids, side="right")
                self._redis.unlink(self._keys.rows(name, ids[gone]))

    def _complete(self, position: str) -> None:
        """Let Redis say that it holds everything up to this position."""
        self._redis.set(self._keys.sequences, [position.encode()] * len(self._keys.sequences))

    def _announce(self, messages: Iterable[delta_messages.Message]) -> bool:
        """Add messages to the model's stream; False when there are none."""
        encoded = [delta_messages.encode(message) for message in messages]
        for message in encoded:
            self._redis.announce(self._keys.deltas, message)
        return bool(encoded)


def _position(value: bytes) -> tuple[int, str]:
    sequence, _, epoch = value.decode().partition(":")
    return int(sequence), epoch
