from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedding.store import Delta, TableDelta
from recsys.errors import RowsUnavailableError
from serving.cache.row_store import Floats, Ids, MemoryRows, RedisRows, RowStore
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import connect
from serving.replication.publish.publisher import Publisher
from tests.contracts.row_store import DIM, DIMS, RowStoreContract, ids


class TestMemoryRows(RowStoreContract):
    @pytest.fixture
    def store(self) -> RowStore:
        return MemoryRows(DIMS)

    def write(self, store: RowStore, table: str, ids_N: Ids, values_ND: Floats) -> None:
        assert isinstance(store, MemoryRows)
        store.write(table, ids_N, values_ND)

    def remove(self, store: RowStore, table: str, ids_N: Ids) -> None:
        assert isinstance(store, MemoryRows)
        store.remove(table, ids_N)


class TestRedisRows(RowStoreContract):
    """Filled by the publisher, so that the two agree on keys and bytes."""

    @pytest.fixture
    def store(self, client: RedisClient) -> RowStore:
        self.publisher = Publisher(client, "m")
        self.sequence = 0
        return RedisRows(client, "m", DIMS)

    def write(self, store: RowStore, table: str, ids_N: Ids, values_ND: Floats) -> None:
        self.publish(table, TableDelta(ids_N, values_ND, ids()))

    def remove(self, store: RowStore, table: str, ids_N: Ids) -> None:
        self.publish(table, TableDelta(ids(), np.empty((0, DIM), np.float32), ids_N))

    def publish(self, table: str, change: TableDelta) -> None:
        delta = Delta(self.sequence, False, {table: change})
        if self.sequence == 0:
            self.publisher.publish(Delta(0, True, {}))
        self.sequence += 1
        self.publisher.publish(Delta(self.sequence, False, delta.tables))


def test_rows_of_models_do_not_mix(client: RedisClient) -> None:
    client.set("recsys:a:row:item:0000000000000001", np.ones(DIM, "<f4").tobytes())
    assert RedisRows(client, "a", DIMS).read({"item": ids(1)})["item"].found_N.all()
    assert not RedisRows(client, "b", DIMS).read({"item": ids(1)})["item"].found_N.any()


def test_a_redis_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RowsUnavailableError, match="'m' cannot be read"):
        RedisRows(connect(folder=tmp_path), "m", DIMS).read({"item": ids(1)})
