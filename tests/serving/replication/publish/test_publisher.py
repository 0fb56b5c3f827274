from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from embedding.store import Delta, TableDelta
from recsys.errors import OutOfStepError, PublishError
from serving.cache.row_store import RedisRows
from serving.model.artefact import Artefact
from serving.replication import delta_messages, keys
from serving.replication.connection.redis_client import RedisClient
from serving.replication.delta_messages import FIELD
from serving.replication.embedded_redis import connect
from serving.replication.keys import KeyNames
from serving.replication.publish.publisher import Publisher
from serving.replication.trainer_status import TrainerStatus, TrainerStatuses
from tests.serving.fakes import DIM, artefact, delta, ids, rows


def read(client: RedisClient, model: str, *wanted: int) -> list[float | None]:
    got = RedisRows(client, model, {"item": DIM}).read({"item": ids(*wanted)})["item"]
    return [float(v) if found else None for v, found in zip(got.values_ND[:, 0], got.found_N, strict=True)]


def told(client: RedisClient, model: str = "m") -> list[delta_messages.Message]:
    entries = cast(Any, client.xrange(keys.ModelKeys(model).deltas))
    return [delta_messages.decode(entry[FIELD]) for _, entry in entries]


@pytest.fixture
def publisher(client: RedisClient) -> Publisher:
    made = Publisher(client, "m")
    made.publish(delta(1, {1: 1.0, 2: 2.0}, full=True))
    return made


def test_changes_and_tombstones_are_written(client: RedisClient, publisher: Publisher) -> None:
    publisher.publish(delta(2, {2: 20.0, 3: 30.0}, removed=ids(1)))
    assert read(client, "m", 1, 2, 3) == [None, 20, 30]
    assert publisher.sequence() == 2


def test_servers_are_told_after_the_rows_are_there(client: RedisClient, publisher: Publisher) -> None:
    publisher.publish(delta(2, {3: 30.0}, removed=ids(1)))
    reset, change, applied = told(client)
    assert reset == delta_messages.Reset(1)
    assert isinstance(change, delta_messages.Change)
    assert change.arrays().ids_U.tolist() == [3]
    assert change.arrays().removed.tolist() == [1]
    assert applied == delta_messages.Applied(2, 1)


def test_publishing_again_after_a_lost_answer_is_right(client: RedisClient, publisher: Publisher) -> None:
    for _ in range(2):
        publisher.publish(delta(2, {3: 30.0}))
    assert read(client, "m", 3) == [30]


def test_a_full_delta_forgets_what_it_does_not_have(client: RedisClient, publisher: Publisher) -> None:
    client.set("recsys:m:row:old:0000000000000001", b"x")
    publisher.publish(delta(7, {2: 5.0}, full=True))
    assert read(client, "m", 1, 2) == [None, 5]
    assert not client.exists("recsys:m:row:old:0000000000000001")
    assert publisher.sequence() == 7


def test_a_known_number_of_a_restored_trainer_is_not_taken_for_a_repeat(publisher: Publisher) -> None:
    publisher.publish(replace(delta(2, {1: 9.0}), epoch="a"))
    publisher.publish(replace(delta(3, {1: 9.0}), epoch="a", previous_epoch="a"))
    again = replace(delta(3, {1: 8.0}), epoch="b", previous_epoch="a")
    with pytest.raises(OutOfStepError, match="before a restart"):
        publisher.publish(again)
    publisher.publish(replace(again, full=True))
    publisher.publish(replace(delta(4, {1: 7.0}), epoch="b", previous_epoch="b"))
    assert publisher.sequence() == 4


@pytest.mark.parametrize("sequence", [3, 0])
def test_a_delta_that_does_not_follow_is_refused(publisher: Publisher, client: RedisClient, sequence: int) -> None:
    with pytest.raises(OutOfStepError, match="subscribe again"):
        publisher.publish(delta(sequence, {1: 9.0}))
    assert read(client, "m", 1) == [1]


def test_an_emptied_redis_asks_for_everything(publisher: Publisher, client: RedisClient) -> None:
    client.flushall()
    assert publisher.sequence() is None
    with pytest.raises(OutOfStepError):
        publisher.publish(delta(2, {1: 9.0}))


def test_a_delta_of_many_rows_is_sent_in_parts_or_as_a_reset(client: RedisClient, publisher: Publisher) -> None:
    for sequence, count in ((2, 10_000), (3, delta_messages.MAX_ROWS + 1)):
        changed = TableDelta(np.arange(count, dtype=np.uint64), np.ones((count, DIM), np.float32), ids())
        publisher.publish(Delta(sequence, False, {"item": changed}))
    kinds = [type(message).__name__ for message in told(client)[1:]]
    assert kinds == ["Change", "Change", "Change", "Applied", "Reset"]
    assert read(client, "m", delta_messages.MAX_ROWS) == [1]


@pytest.mark.slow
def test_the_stream_stays_short(client: RedisClient, publisher: Publisher) -> None:
    for sequence in range(2, 800):
        publisher.publish(delta(sequence, {1: float(sequence)}))
    assert client.xlen("recsys:m:deltas") < 500


def test_a_delta_without_changes_is_not_announced(client: RedisClient, publisher: Publisher) -> None:
    publisher.publish(delta(2, {1: 2.0}))
    for sequence in range(3, 300):
        publisher.publish(delta(sequence))
    assert publisher.sequence() == 299
    kinds = delta_messages.RowMessage
    assert [message.sequence for message in told(client) if isinstance(message, kinds)] == [1, 2, 2]
    publisher.publish(delta(300, {1: 3.0}))
    assert told(client)[-1] == delta_messages.Applied(300, previous=2)


def test_an_idle_trainer_still_notices_an_emptied_redis(client: RedisClient, publisher: Publisher) -> None:
    publisher.publish(delta(2))
    client.flushall()
    with pytest.raises(OutOfStepError):
        publisher.publish(delta(3))


def test_an_unchanged_catalogue_is_not_written_again(client: RedisClient, publisher: Publisher) -> None:
    publisher.publish_catalog([("a", 3.0)], [("a", 20)])
    client.delete(KeyNames().popular)
    publisher.publish_catalog([("a", 3.0)], [("a", 20)])
    assert not client.exists(KeyNames().popular)
    publisher.publish(delta(2, {1: 1.0}, full=True))  # as a trainer does after Redis was emptied
    publisher.publish_catalog([("a", 3.0)], [("a", 20)])
    assert client.zrange(KeyNames().popular, 0, -1) == [b"a"]


def test_the_status_is_read_back(client: RedisClient) -> None:
    statuses = TrainerStatuses(["m", "frozen"])
    Publisher(client, "m", now=lambda: 77).publish_status({"steps": 5, "tables": {"item": {"rows": 3}}})
    statuses.refresh(client)
    assert statuses.by_model == {"m": TrainerStatus(77, {"steps": 5, "tables": {"item": {"rows": 3}}})}
    client.set("recsys:m:status", b"no status")
    statuses.refresh(client)
    assert statuses.by_model == {}


def test_features_and_status_for_a_redis_that_is_gone_are_an_error(tmp_path: Path) -> None:
    publisher = Publisher(connect(folder=tmp_path), "m", retries=1)
    with pytest.raises(PublishError, match="cannot be published"):
        publisher.publish_entities({"u": {"age": 3}}, {})
    with pytest.raises(PublishError, match="cannot be published"):
        publisher.publish_catalog([("a", 1.0)], [])
    with pytest.raises(PublishError, match="cannot be published"):
        publisher.publish_status({"steps": 1})


def test_features_that_failed_halfway_are_published_whole_when_repeated(
    client: RedisClient, publisher: Publisher
) -> None:
    """The features are written, their notice fails: repeating tells the servers."""
    client.set(KeyNames().entities, "in the way")
    with pytest.raises(PublishError):
        publisher.publish_entities({"u": {"age": 3}}, {})
    client.delete(KeyNames().entities)
    publisher.publish_entities({"u": {"age": 3}}, {})
    assert client.get(KeyNames().user("u")) == b'{"age":3}'
    assert client.xlen(KeyNames().entities) == 1


def test_nothing_is_published_to_a_redis_that_is_gone(tmp_path: Path) -> None:
    publisher = Publisher(connect(folder=tmp_path), "m", retries=1)
    with pytest.raises(PublishError, match="cannot be published"):
        publisher.publish(delta(1, full=True))
    with pytest.raises(PublishError, match="cannot be published"):
        publisher.publish_artefact(artefact())


def test_a_failed_publication_is_repeated_whole(client: RedisClient, publisher: Publisher) -> None:
    """Rows go, the notice fails: the sequence stays, and the same delta is published again."""
    client.delete("recsys:m:deltas")
    client.set("recsys:m:deltas", "in the way")
    with pytest.raises(PublishError):
        publisher.publish(delta(2, {1: 9.0}))
    assert publisher.sequence() == 1
    client.delete("recsys:m:deltas")
    publisher.publish(delta(2, {1: 9.0}))
    assert publisher.sequence() == 2


def test_entities_are_json(client: RedisClient, publisher: Publisher) -> None:
    publisher.publish_entities({"u": {"age": 3}}, {"i": {"tags": ["a", "b"]}})
    publisher.publish_entities({"u": {"age": 4}}, {})
    assert client.get(KeyNames().user("u")) == b'{"age":4}'
    assert client.get(KeyNames().item("i")) == b'{"tags":["a","b"]}'
    notices = [json.loads(entry[FIELD]) for _, entry in cast(Any, client.xrange(KeyNames().entities))]
    users, nobody = {"users": ["u"], "items": []}, {"users": [], "items": ["i"]}
    assert notices == [users, nobody, users]


def test_the_catalogue_is_replaced(client: RedisClient, publisher: Publisher) -> None:
    publisher.publish_catalog([("a", 3.0), ("b", 1.5)], [("b", 20)])
    publisher.publish_catalog([("c", 2.0)], [])
    assert client.zrange(KeyNames().popular, 0, -1, withscores=True) == [(b"c", 2.0)]
    assert not client.exists(KeyNames().recent)


class TestFreeze:
    def test_the_copy_stays_while_the_original_learns(self, client: RedisClient, publisher: Publisher) -> None:
        publisher.publish_artefact(artefact(step=1))
        seen: list[int] = []
        assert publisher.freeze("frozen", seen.append) == 2
        assert seen[-1] == 2
        publisher.publish(delta(2, {1: 9.0}, removed=ids(2)))
        publisher.publish_artefact(artefact(step=2))
        assert read(client, "frozen", 1, 2) == [1, 2]
        data = cast(bytes, client.get("recsys:frozen:artefact"))
        assert Artefact.from_bytes(data) == artefact(step=1)

    def test_freezing_again_drops_rows_that_are_gone(self, client: RedisClient, publisher: Publisher) -> None:
        publisher.publish_artefact(artefact())
        publisher.freeze("frozen")
        publisher.publish(delta(2, {3: 3.0}, removed=ids(1)))
        assert publisher.freeze("frozen") == 2
        assert read(client, "frozen", 1, 2, 3) == [None, 2, 3]
        assert isinstance(told(client, "frozen")[-2], delta_messages.Reset)

    def test_many_rows(self, client: RedisClient, publisher: Publisher) -> None:
        many = TableDelta(np.arange(20_000, dtype=np.uint64), rows(*range(20_000)), ids())
        publisher.publish(Delta(2, False, {"item": many}))
        publisher.publish_artefact(artefact())
        assert publisher.freeze("frozen") == 20_000
        assert read(client, "frozen", 0, 19_999) == [0, 19_999]

    def test_what_cannot_be_frozen_is_said(self, publisher: Publisher) -> None:
        with pytest.raises(ValueError, match="not been published yet"):
            publisher.freeze("frozen")
        with pytest.raises(ValueError, match="another name"):
            publisher.freeze("m")
        with pytest.raises(ValueError, match="cannot be used"):
            publisher.freeze("user")


@pytest.mark.parametrize("name", ["", "a:b", "user", "popularity", "a*", " a"])
def test_a_model_s_name_cannot_be_taken_for_another_key(client: RedisClient, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        Publisher(client, name)
