"""Rows published in less than float32: one value of a row everywhere, and a trainer that goes on when it diverges."""

from __future__ import annotations

import logging
from typing import Any, cast

import numpy as np
import pytest

from embedding.store import Delta, Fallback, TableDelta
from serving.cache.fallback_rows import FallbackRowCache
from serving.cache.row_store import Floats, RedisRows
from serving.replication import delta_messages
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ModelKeys
from serving.replication.publish.publisher import Publisher
from serving.replication.row_codec import Precision
from tests.serving.fakes import artefact, delta, ids

pytestmark = pytest.mark.slow

DIM = 16
STEP = 1 / 127


def rows(*seeds: int) -> Floats:
    return np.stack([np.random.default_rng(seed).uniform(-1, 1, DIM).astype(np.float32) for seed in seeds])


def change(sequence: int, values_UD: Floats, *, full: bool = False, table: str = "item") -> Delta:
    ids_U = np.arange(len(values_UD), dtype=np.uint64)
    return Delta(sequence, full, {table: TableDelta(ids_U, values_UD, ids())})


def read(client: RedisClient, *wanted: int, model: str = "m") -> Floats:
    return RedisRows(client, model, {"item": DIM}).read({"item": ids(*wanted)})["item"].values_ND


def stored(client: RedisClient, model: str = "m") -> dict[bytes, bytes]:
    keys = cast(list[bytes], client.keys(f"recsys:{model}:row:*"))
    return {key.removeprefix(f"recsys:{model}:".encode()): cast(bytes, client.get(key)) for key in keys}


def told(client: RedisClient) -> Floats:
    """What the newest delta told servers of its rows."""
    entries = cast(Any, client.xrevrange("recsys:m:deltas"))
    messages = [delta_messages.decode(entry[b"m"]) for _, entry in entries]
    return next(m for m in messages if isinstance(m, delta_messages.Change)).arrays().values_UD


@pytest.fixture(params=["float32", "half", "int8"])
def precision(request: pytest.FixtureRequest) -> Precision:
    return cast(Precision, request.param)


@pytest.fixture
def publisher(client: RedisClient, precision: Precision) -> Publisher:
    made = Publisher(client, "m", precision=precision)
    made.publish(change(1, rows(0), full=True))
    return made


def test_servers_are_told_exactly_what_redis_holds(
    client: RedisClient, publisher: Publisher, precision: Precision
) -> None:
    values_UD = rows(1, 2, 3)
    publisher.publish(change(2, values_UD))
    np.testing.assert_array_equal(told(client), read(client, 0, 1, 2))
    assert np.abs(told(client) - values_UD).max() <= {"float32": 0, "half": 2**-11, "int8": STEP}[precision]


def test_redis_holds_fewer_bytes(client: RedisClient, publisher: Publisher, precision: Precision) -> None:
    (row,) = stored(client).values()
    assert len(row) == {"float32": 64, "half": 33, "int8": 21}[precision]


def test_a_delta_sent_again_is_the_same_bytes(client: RedisClient, publisher: Publisher) -> None:
    written = []
    for _ in range(2):
        publisher.publish(change(2, rows(1, 2, 3)))
        written.append((stored(client), told(client).tobytes()))
    assert written[0] == written[1]


@pytest.mark.parametrize("precision", ["int8"], indirect=True)
def test_the_same_row_published_again_and_again_is_right_on_average(client: RedisClient, publisher: Publisher) -> None:
    read_each = []
    for sequence in range(2, 402):
        publisher.publish(change(sequence, rows(1)))
        read_each.append(read(client, 0))
    assert np.abs(np.mean(read_each, axis=0) - rows(1)).max() < STEP / 4


def test_precisions_meet_while_a_new_one_is_published(client: RedisClient) -> None:
    values_UD = rows(1, 2, 3)
    for sequence, precision in enumerate(("float32", "half", "int8"), 1):
        publisher = Publisher(client, "m", precision=cast(Precision, precision))
        publisher.publish(change(sequence, values_UD[: 4 - sequence], full=sequence == 1))
    assert sorted(map(len, stored(client).values())) == [21, 33, 64]
    assert np.abs(read(client, 0, 1, 2) - values_UD).max() <= STEP


def test_shared_rows_are_rounded_alike(client: RedisClient, publisher: Publisher) -> None:
    shared = {"item": Fallback("fallback.16", salt=1, slots=2)}
    first = change(2, rows(1, 2), full=True, table="fallback.16")
    publisher.publish(Delta(2, True, first.tables, shared))
    followed, later = FallbackRowCache(ModelKeys("m"), {"item": DIM}), FallbackRowCache(ModelKeys("m"), {"item": DIM})
    followed.load(client)
    publisher.publish(Delta(3, False, change(3, rows(3, 4), table="fallback.16").tables, shared))
    followed.apply("fallback.16", TableDelta(ids(0, 1), told(client), ids()))
    later.load(client)
    filled = []
    for fallback in (followed, later):
        blank = RedisRows(client, "m", {"item": DIM}).read({"item": ids(*range(20))})["item"]
        fallback.fill("item", ids(*range(20)), blank)
        filled.append(blank.values_ND)
    assert filled[0].any(axis=1).all()
    np.testing.assert_array_equal(filled[0], filled[1])


@pytest.mark.parametrize("precision", ["half", "int8"], indirect=True)
@pytest.mark.parametrize("wild", [1e6, np.nan])
def test_a_row_that_diverged_does_not_stop_the_trainer(
    client: RedisClient, publisher: Publisher, wild: float, caplog: pytest.LogCaptureFixture
) -> None:
    values_UD = rows(1, 2)
    values_UD[1, 5] = wild
    with caplog.at_level(logging.WARNING):
        publisher.publish(change(2, values_UD))
    np.testing.assert_array_equal(read(client, 1), values_UD[1:])
    np.testing.assert_array_equal(told(client), read(client, 0, 1))
    assert publisher.diverged == {"item": 1}
    assert "1 rows of table 'item'" in caplog.text
    assert "lower its learning rate" in caplog.text


def test_nothing_to_say_of_rows_that_fit(
    publisher: Publisher, client: RedisClient, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.publish(Delta(2, False, {"item": TableDelta(ids(), np.empty((0, DIM), np.float32), ids(0))}))
    assert not stored(client)
    assert not publisher.diverged
    assert not caplog.text


def test_a_frozen_copy_has_the_same_bytes(client: RedisClient, publisher: Publisher) -> None:
    publisher.publish_artefact(artefact(dim=DIM))
    Publisher(client, "m").freeze("frozen")
    assert stored(client, "frozen") == stored(client)


def test_large_deltas_are_rounded_too(client: RedisClient, publisher: Publisher) -> None:
    values_UD = np.repeat(rows(1), delta_messages.MAX_ROWS + 1, axis=0)
    publisher.publish(change(2, values_UD))
    newest = cast(Any, client.xrevrange("recsys:m:deltas", count=1))[0][1][b"m"]
    assert delta_messages.decode(newest) == delta_messages.Reset(2)
    assert np.abs(read(client, 0, delta_messages.MAX_ROWS) - values_UD[:2]).max() <= STEP


def test_the_default_is_float32(client: RedisClient) -> None:
    Publisher(client, "m").publish(delta(1, {1: 0.1}, full=True))
    assert stored(client) == {b"row:item:0000000000000001": np.full(4, 0.1, "<f4").tobytes()}
