"""Ids without a row are served what they read in training; a store tells what that is, and real Redis lies between."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis

from embedding.local.store import LocalStore
from embedding.store import Admission, Delta, Table, TableDelta
from recsys.errors import RowsUnavailableError
from serving.cache.fallback_rows import FallbackRowCache
from serving.cache.row_cache import RowCache
from serving.cache.row_store import EmbeddingRows, Ids, MemoryRows
from serving.replication import delta_messages
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.follow.model_loader import ModelLoader
from serving.replication.health import Availability
from serving.replication.keys import ModelKeys
from serving.replication.publish.publisher import Publisher
from tests.serving.fakes import DIM, Graphs, artefact, ids, rows
from tests.serving.following import following, served
from tests.serving.waiting import until

OFTEN = Admission("count", 3)
TABLES = (
    Table("item", DIM, admission=OFTEN, fallback="multiplexed"),
    Table("user", DIM, admission=OFTEN, fallback="multiplexed"),
    Table("hour", DIM, admission=OFTEN),
)
DIMS = {table.name: DIM for table in TABLES}
EVERY = {table.name: np.arange(40, dtype=np.uint64) for table in TABLES}


class Trainer:
    """A store whose ids below 10 have rows, with its publisher."""

    def __init__(self, client: RedisClient, tables: tuple[Table, ...] = TABLES, model: str = "m") -> None:
        self.store = LocalStore(tables)
        self.publisher = Publisher(client, model)
        self.store.subscribe("redis")
        for table in self.store.tables:
            for _ in range(OFTEN.threshold):
                self.learn(table, *range(10))

    def learn(self, table: str, *keys: int) -> None:
        found = self.store.lookup(table, ids(*keys), 0)
        self.store.update(found, np.ones_like(found.values_ND))

    def publish(self) -> None:
        delta = self.store.delta("redis")
        self.publisher.publish(delta)
        self.store.acknowledge("redis", delta.sequence)

    def all(self) -> dict[str, list[list[float]]]:
        return {table: self.store.peek(table, ids_N).values_ND.tolist() for table, ids_N in EVERY.items()}


def all_of(loader: ModelLoader) -> dict[str, list[list[float]]]:
    assert loader.current is not None
    return {name: read.values_ND.tolist() for name, read in loader.current.rows.read(EVERY).rows.items()}


@pytest.fixture
def trainer(client: RedisClient) -> Trainer:
    made = Trainer(client)
    made.publish()
    made.publisher.publish_artefact(artefact())
    return made


@pytest.fixture
def loader(trainer: Trainer, client: RedisClient, redis_folder: Path) -> Iterator[ModelLoader]:
    with following(redis_folder, client, Graphs(), Availability(up=False), lambda: None) as made:
        served(made, 1)
        yield made


def loaded(client: RedisClient, model: str = "m") -> FallbackRowCache:
    made = FallbackRowCache(ModelKeys(model), DIMS)
    made.load(client)
    return made


def lists(read: EmbeddingRows) -> list[list[float]]:
    return [[float(value) for value in row] for row in read.values_ND]


def message(sequence: int, table: str, change: TableDelta) -> bytes:
    """The first one of a delta."""
    return delta_messages.encode(next(delta_messages.messages(Delta(sequence, False, {table: change}), sequence - 1)))


def filled(fallback: FallbackRowCache, table: str, *wanted: int) -> list[list[float]]:
    read = EmbeddingRows(np.zeros((len(wanted), DIM), np.float32), np.zeros(len(wanted), np.bool_))
    fallback.fill(table, ids(*wanted), read)
    return lists(read)


# following a trainer


def test_a_server_that_starts_reads_what_training_reads(trainer: Trainer, loader: ModelLoader) -> None:
    truth = trainer.all()
    assert all(any(row) for row in truth["item"] + truth["user"])
    assert not any(any(row) for row in truth["hour"][10:])
    assert all_of(loader) == truth


def test_changes_of_shared_rows_reach_it(trainer: Trainer, loader: ModelLoader, client: RedisClient) -> None:
    for key in (20, 21):
        before = all_of(loader)
        trainer.learn("item", key)
        trainer.publish()
        until(lambda before=before: all_of(loader) != before)  # type: ignore[misc]
        assert all_of(loader) == trainer.all()
    entries = cast(Any, client.xrange("recsys:m:deltas"))
    messages = [delta_messages.decode(entry[b"m"]) for _, entry in entries]
    assert sum(isinstance(message, delta_messages.Reset) for message in messages) == 1, "no other full delta was needed"


def test_an_id_that_gets_a_row_reads_it_and_the_fallback_again_when_it_went(
    trainer: Trainer, loader: ModelLoader, client: RedisClient
) -> None:
    shared = all_of(loader)["item"][30]
    for _ in range(OFTEN.threshold):
        trainer.learn("item", 30)
    trainer.publish()
    until(lambda: all_of(loader) == trainer.all())
    assert trainer.store.peek("item", ids(30)).rows_N[0] >= 0
    assert all_of(loader)["item"][30] != shared
    gone = TableDelta(ids(), np.empty((0, DIM), np.float32), ids(30))
    client.delete(ModelKeys("m").rows("item", ids(30))[0])
    client.xadd("recsys:m:deltas", {"m": message(3, "item", gone)})
    fresh = filled(loaded(client), "item", 30)
    until(lambda: all_of(loader)["item"][30:31] == fresh)


@pytest.mark.parametrize("fault", ["full delta", "gap", "unreadable", "row that is none"])
def test_a_server_that_lost_the_thread_loads_the_shared_rows_again(
    trainer: Trainer, loader: ModelLoader, client: RedisClient, fault: str
) -> None:
    trainer.learn("item", 19)
    trainer.publish()
    until(lambda: all_of(loader) == trainer.all())
    trainer.learn("item", 20)
    if fault == "full delta":
        trainer.store.subscribe("redis")
        trainer.publish()
    else:  # what the server should have been told is not on its stream
        delta = trainer.store.delta("redis")
        for name, table in delta.tables.items():
            for key, row in zip(ModelKeys("m").rows(name, table.ids_U), table.values_UD, strict=True):
                client.set(key, row.tobytes())
        shared = delta.fallback["item"].rows
        told = {
            "gap": delta_messages.encode(delta_messages.Applied(delta.sequence + 5, delta.sequence + 4)),
            "unreadable": b"\xff",
            "row that is none": message(delta.sequence, shared, TableDelta(ids(1 << 20), rows(1), ids())),
        }[fault]
        client.xadd("recsys:m:deltas", {"m": told})
    until(lambda: all_of(loader) == trainer.all())


def test_a_trainer_that_gave_up_its_fallback_is_followed(
    trainer: Trainer, loader: ModelLoader, client: RedisClient
) -> None:
    plain = Trainer(client, tuple(Table(table.name, DIM, admission=OFTEN) for table in TABLES))
    plain.publish()
    until(lambda: all_of(loader) == plain.all())
    assert not client.keys("recsys:m:row:fallback*")
    trainer.store.subscribe("redis")
    trainer.publish()
    until(lambda: all_of(loader) == trainer.all())


def test_an_artefact_may_come_before_its_rows(client: RedisClient, redis_folder: Path) -> None:
    with following(redis_folder, client, Graphs(), Availability(up=False), lambda: None) as made:
        late = Trainer(client)
        late.publisher.publish_artefact(artefact())
        served(made, 1)
        assert not any(any(row) for row in all_of(made)["item"])
        late.publish()
        until(lambda: all_of(made) == late.all())


def test_another_dimension_reads_zeros_until_its_rows_come(
    trainer: Trainer, loader: ModelLoader, client: RedisClient
) -> None:
    wide = Trainer(client, (Table("item", 8, admission=OFTEN, fallback="multiplexed"),))
    wide.publisher.publish_artefact(artefact(step=2, dim=8))
    model = served(loader, 2)
    assert not model.rows.read({"item": ids(50)}).rows["item"].values_ND.any()
    wide.publish()
    truth = wide.store.peek("item", ids(50)).values_ND.tolist()
    until(lambda: model.rows.read({"item": ids(50)}).rows["item"].values_ND.tolist() == truth)


def test_a_frozen_model_keeps_the_fallback_it_had(trainer: Trainer, client: RedisClient, redis_folder: Path) -> None:
    trainer.publisher.freeze("frozen")
    before = trainer.all()
    trainer.learn("item", 20)
    trainer.publish()
    assert trainer.all() != before
    with following(redis_folder, client, Graphs(), Availability(up=False), lambda: None, "frozen") as frozen:
        served(frozen, 1)
        assert all_of(frozen) == before
        trainer.publisher.freeze("frozen")
        until(lambda: all_of(frozen) == trainer.all())


def test_freezing_a_model_without_a_fallback_takes_that_of_an_earlier_copy_away(client: RedisClient) -> None:
    for model, tables in (("a", TABLES), ("b", (Table("item", DIM, admission=OFTEN),))):
        each = Trainer(client, tables, model)
        each.publish()
        each.publisher.publish_artefact(artefact())
        each.publisher.freeze("frozen")
        assert any(filled(loaded(client, "frozen"), "item", 50)[0]) == (model == "a")
    assert not client.keys("recsys:frozen:row:fallback*")


def test_after_redis_was_killed_and_filled_anew_it_is_right_again(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, server.client() as connected:
        first = Trainer(connected)
        first.publish()
        first.publisher.publish_artefact(artefact())
        up = Availability(up=False)
        with server.client(0.5) as reading, following(server.folder, reading, Graphs(), up, server.ensure) as made:
            served(made, 1)
            assert all_of(made) == first.all()
            killed = server.pid
            os.kill(killed, signal.SIGKILL)
            until(lambda: not up.up)
            until(lambda: up.up and server.pid != killed)
            with server.client() as anew:
                second = Trainer(anew)
                assert second.publisher.sequence() is None, "the killed Redis had not saved anything"
                second.learn("item", 20)
                second.publish()
                assert second.all() != first.all()
                until(lambda: all_of(made) == second.all())


# the cache


class CountingRows(MemoryRows):
    """Counts round trips, and can be gone."""

    reads = 0
    gone = False

    def read(self, ids: Mapping[str, Ids]) -> dict[str, EmbeddingRows]:
        if self.gone:
            raise RowsUnavailableError("gone")
        self.reads += 1
        return super().read(ids)


@pytest.fixture
def store() -> CountingRows:
    made = CountingRows(DIMS)
    made.write("item", ids(1), rows(1))
    return made


def test_the_fallback_takes_no_round_trip_of_its_own_and_is_not_cached(
    trainer: Trainer, client: RedisClient, store: CountingRows
) -> None:
    fallback = loaded(client)
    cache = RowCache(store, 4)

    shared = RowCache(store, 4, fallback)

    def read(*wanted: int) -> list[list[float]]:
        return lists(shared.read({"item": ids(*wanted)}).rows["item"])

    assert read(1, 20, 21) == [[1.0] * DIM, *trainer.store.peek("item", ids(20, 21)).values_ND.tolist()]
    assert (store.reads, shared.misses) == (1, 3)
    trainer.learn("item", 20)
    delta = trainer.store.delta("redis")
    name = delta.fallback["item"].rows
    fallback.apply(name, delta.tables[name])
    for wanted in ((20, 22), (20, 21)):  # moved from generation to generation meanwhile
        assert read(*wanted) == trainer.store.peek("item", ids(*wanted)).values_ND.tolist()
    assert not cache.read({"item": ids(20)}).rows["item"].values_ND.any()


def test_ids_that_cannot_be_asked_for_read_the_fallback(
    trainer: Trainer, client: RedisClient, store: CountingRows
) -> None:
    store.gone = True
    reading = RowCache(store, 100, loaded(client)).read({"item": ids(20), "hour": ids(20)})
    assert not reading.complete
    assert reading.rows["item"].values_ND.tolist() == trainer.store.peek("item", ids(20)).values_ND.tolist()
    assert not reading.rows["hour"].values_ND.any()


# its rows


def test_what_was_found_is_left_alone(trainer: Trainer, client: RedisClient) -> None:
    read = EmbeddingRows(rows(7, 0), np.array([True, False]))
    loaded(client).fill("item", ids(20, 21), read)
    assert read.values_ND[0].tolist() == [7.0] * DIM
    assert read.values_ND[1:].tolist() == trainer.store.peek("item", ids(21)).values_ND.tolist()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[1]",
        b'{"item":{"rows":"x"}}',
        b'{"item":{"rows":"x","salt":1,"slots":0}}',
        b'{"item":{"rows":"x","salt":1,"slots":1000000000000}}',
        b'{"item":{"rows":"x","salt":-1,"slots":4}}',
    ],
)
def test_a_rule_that_cannot_be_read_is_as_none(trainer: Trainer, client: RedisClient, damage: bytes) -> None:
    fallback = loaded(client)
    assert any(filled(fallback, "item", 20)[0])
    client.set("recsys:m:fallback", damage)
    fallback.load(client)
    assert not any(filled(fallback, "item", 20)[0])


def test_a_load_that_fails_keeps_what_was_there(trainer: Trainer, client: RedisClient) -> None:
    fallback = loaded(client)
    before = filled(fallback, "item", 20)

    def fail(*_: object) -> None:
        raise redis.ConnectionError("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "mget", fail)
        with pytest.raises(redis.ConnectionError):
            fallback.load(client)
    assert filled(fallback, "item", 20) == before


def test_a_change_of_a_row_that_there_is_not_is_refused(trainer: Trainer, client: RedisClient) -> None:
    fallback = loaded(client)
    name = trainer.store.delta("redis").fallback["item"].rows
    with pytest.raises(ValueError, match="4096 rows"):
        fallback.apply(name, TableDelta(ids(4096), rows(1), ids()))
