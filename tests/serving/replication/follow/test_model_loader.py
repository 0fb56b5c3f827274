from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.model.loaded_model import LoadedModel
from serving.replication import delta_messages
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.follow.model_loader import ModelLoader
from serving.replication.health import Availability
from serving.replication.publish.publisher import Publisher
from streaming.encode.feature_spec import FeatureSpec, Field
from tests.serving.fakes import SPEC, Graphs, artefact, delta, ids
from tests.serving.following import following, served
from tests.serving.waiting import until


@pytest.fixture
def publisher(client: RedisClient) -> Publisher:
    made = Publisher(client, "m")
    made.publish(delta(1, {1: 1.0, 2: 2.0}, full=True))
    made.publish_artefact(artefact(step=1))
    return made


@pytest.fixture
def graphs() -> Graphs:
    return Graphs()


@pytest.fixture
def loader(client: RedisClient, redis_folder: Path, graphs: Graphs) -> Iterator[ModelLoader]:
    with following(redis_folder, client, graphs, Availability(up=False), lambda: None) as made:
        yield made


def values(model: LoadedModel, *wanted: int) -> list[float]:
    return [float(v) for v in model.rows.read({"item": ids(*wanted)}).rows["item"].values_ND[:, 0]]


def test_what_was_published_before_the_start_is_served(publisher: Publisher, loader: ModelLoader) -> None:
    assert values(served(loader, 1), 1, 2, 3) == [1, 2, 0]


def test_a_model_published_later_is_served_too(loader: ModelLoader, client: RedisClient) -> None:
    assert loader.current is None
    publisher = Publisher(client, "m")
    publisher.publish_artefact(artefact(step=1))
    publisher.publish(delta(1, {1: 1.0}, full=True))
    until(lambda: values(served(loader, 1), 1) == [1])


def test_changed_rows_reach_the_cache(publisher: Publisher, loader: ModelLoader) -> None:
    model = served(loader, 1)
    assert values(model, 1, 2, 3) == [1, 2, 0]
    misses = model.rows.misses
    publisher.publish(delta(2, {1: 10.0, 3: 30.0}, removed=ids(2)))
    until(lambda: values(model, 1, 2, 3) == [10, 0, 30])
    assert model.rows.misses == misses, "the rows came by the stream, not by reading them again"


def test_a_graph_is_swapped_and_the_cache_kept(publisher: Publisher, loader: ModelLoader) -> None:
    first = served(loader, 1)
    publisher.publish_artefact(artefact(step=2))
    second = served(loader, 2)
    assert second.rows is first.rows
    assert second.encoder is first.encoder
    assert first.artefact.step == 1, "who still ranks with the first is not disturbed"


def test_the_same_artefact_is_not_opened_twice(publisher: Publisher, loader: ModelLoader, graphs: Graphs) -> None:
    served(loader, 1)
    publisher.publish_artefact(artefact(step=1))
    publisher.publish_artefact(artefact(step=2))
    served(loader, 2)
    assert len(graphs.opened) == 2


def test_another_specification_gets_its_own_encoder(publisher: Publisher, loader: ModelLoader) -> None:
    first = served(loader, 1)
    other = FeatureSpec.of([*SPEC.fields, Field("hour", "categorical", "time.hour")])
    publisher.publish_artefact(artefact(step=2, spec=other))
    assert served(loader, 2).encoder is not first.encoder


def test_rows_of_another_dimension_get_their_own_cache(publisher: Publisher, loader: ModelLoader) -> None:
    first = served(loader, 1)
    publisher.publish_artefact(artefact(step=2, dim=8))
    assert served(loader, 2).rows.dims["item"] == 8
    assert first.rows.dims["item"] == 4


@pytest.mark.parametrize("fault", ["cut", "altered", "refused by the scorer", "fails when tried"])
def test_a_bad_artefact_is_refused_and_the_previous_one_serves_on(
    publisher: Publisher, loader: ModelLoader, client: RedisClient, fault: str
) -> None:
    served(loader, 1)
    whole = artefact(step=2).to_bytes()
    bad = {
        "cut": whole[:-1],
        "altered": whole[:-1] + b"!",
        "refused by the scorer": artefact(step=2, graph=b"no graph").to_bytes(),
        "fails when tried": artefact(step=2, graph=b"nan").to_bytes(),
    }[fault]
    publisher.publish(delta(2, {1: 5.0}))
    client.set("recsys:m:artefact", bad)
    client.xadd("recsys:m:deltas", {"m": delta_messages.encode(delta_messages.NewArtefact("step-2"))})
    until(lambda: loader.refused)
    model = served(loader, 1)
    until(lambda: values(model, 1) == [5])
    publisher.publish_artefact(artefact(step=3))
    served(loader, 3)
    assert loader.refused == ""


def test_a_gap_in_the_sequence_empties_the_cache(
    publisher: Publisher, loader: ModelLoader, client: RedisClient
) -> None:
    """Deltas 2 and 3 are trimmed off the stream before the server reads them; it must not keep what they changed."""
    model = served(loader, 1)
    assert values(model, 1, 2) == [1, 2]
    publisher.publish(delta(2, {2: 2.5}))
    until(lambda: values(model, 2) == [2.5])
    client.set("recsys:m:row:item:0000000000000001", b"\x00\x00\x00\x41" * 4)  # 8.0, as delta 3 wrote it
    client.set("recsys:m:sequence", 3)
    publisher.publish(delta(4, {2: 20.0}))
    until(lambda: values(model, 1, 2) == [8, 20])


THIRD, FOURTH = (3, {1: 30.0, 2: 31.0}), (4, {1: 40.0})
"""Deltas by number, with the rows that they change."""


@pytest.mark.parametrize(
    ("deltas", "torn"),
    [([THIRD, THIRD, FOURTH], 0), ([THIRD, FOURTH, THIRD], 0), ([FOURTH, THIRD], 0), ([FOURTH], 0),
     ([THIRD, FOURTH], 1), ([THIRD, THIRD, FOURTH], 1)],
    ids=["doubled", "doubled later", "reordered", "dropped", "torn", "torn and again"],
)  # fmt: skip
def test_rows_are_those_of_redis_however_deltas_come(
    publisher: Publisher,
    loader: ModelLoader,
    client: RedisClient,
    deltas: list[tuple[int, dict[int, float]]],
    torn: int,
) -> None:
    """Redis has what the fourth delta left. Of the first `torn` deltas the last message is missing."""
    model = served(loader, 1)
    assert values(model, 1, 2) == [1, 2]
    publisher.publish(delta(2, {2: 3.0}))
    until(lambda: values(model, 1, 2) == [1, 3])
    client.set("recsys:m:row:item:0000000000000001", np.full(4, 40, "<f4").tobytes())
    client.set("recsys:m:row:item:0000000000000002", np.full(4, 31, "<f4").tobytes())
    for number, (sequence, rows) in enumerate(deltas):
        whole = list(delta_messages.messages(delta(sequence, rows), sequence - 1))
        for message in whole[: -1 if number < torn else None]:
            client.xadd("recsys:m:deltas", {"m": delta_messages.encode(message)})
    publisher.publish_artefact(artefact(step=2))
    assert values(served(loader, 2), 1, 2) == [40, 31]
    assert served(loader, 2).rows is model.rows


def test_deltas_without_changes_are_no_gap(publisher: Publisher, loader: ModelLoader) -> None:
    model = served(loader, 1)
    assert values(model, 1, 2) == [1, 2], "cached before anything changes: rows read during a change are not kept"
    misses = model.rows.misses
    publisher.publish(delta(2, {1: 2.0}))
    until(lambda: values(model, 1, 2) == [2, 2])
    publisher.publish(delta(3))
    publisher.publish(delta(4, {1: 4.0}))
    until(lambda: values(model, 1) == [4])
    assert values(model, 2) == [2]
    assert model.rows.misses == misses, "the cache was kept"


def test_a_full_delta_empties_the_cache(publisher: Publisher, loader: ModelLoader) -> None:
    model = served(loader, 1)
    assert values(model, 1, 2) == [1, 2]
    publisher.publish(delta(9, {2: 7.0}, full=True))
    until(lambda: values(model, 1, 2) == [0, 7])


def test_a_message_that_is_none_empties_the_cache_and_no_more(
    publisher: Publisher, loader: ModelLoader, client: RedisClient
) -> None:
    model = served(loader, 1)
    values(model, 1)
    client.xadd("recsys:m:deltas", {"m": b"\xff\xff"})
    until(lambda: len(model.rows) == 0)
    publisher.publish_artefact(artefact(step=2))
    served(loader, 2)


class TestRedisRestarts:
    """With a Redis of its own, which is killed or stopped."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[EmbeddedRedis]:
        with EmbeddedRedis(tmp_path) as made:
            yield made

    @pytest.fixture
    def availability(self) -> Availability:
        return Availability(up=False)

    @pytest.fixture
    def own_loader(self, server: EmbeddedRedis, graphs: Graphs, availability: Availability) -> Iterator[ModelLoader]:
        with server.client() as rows, following(server.folder, rows, graphs, availability, server.ensure) as made:
            yield made

    def test_it_follows_on_where_it_was(self, server: EmbeddedRedis, own_loader: ModelLoader) -> None:
        with server.client() as connected:
            publisher = Publisher(connected, "m")
            publisher.publish(delta(1, {1: 1.0}, full=True))
            publisher.publish_artefact(artefact(step=1))
            model = served(own_loader, 1)
            assert values(model, 1) == [1]
            connected.client_kill_filter(_type="normal", skipme=True)
            publisher.publish(delta(2, {1: 2.0}))
            misses = model.rows.misses
            until(lambda: values(model, 1) == [2])
            assert model.rows.misses == misses, "no change was missed, so nothing had to be read again"

    def test_after_a_kill_it_starts_redis_and_reads_everything_anew(
        self, server: EmbeddedRedis, own_loader: ModelLoader, availability: Availability
    ) -> None:
        with server.client() as connected:
            Publisher(connected, "m").publish(delta(1, {1: 1.0}, full=True))
            Publisher(connected, "m").publish_artefact(artefact(step=1))
        model = served(own_loader, 1)
        assert values(model, 1) == [1]
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        until(lambda: not availability.up)
        assert values(model, 1) == [1], "served from the cache meanwhile"
        until(lambda: availability.up)
        assert server.pid != killed
        with server.client() as connected:
            publisher = Publisher(connected, "m")
            assert publisher.sequence() is None, "the killed Redis had not saved anything"
            publisher.publish(delta(2, {1: 2.0}, full=True))
        until(lambda: values(model, 1) == [2])
        assert own_loader.current is model, "a model once loaded is not dropped because Redis lost it"


def test_a_new_graph_is_measured_on_what_the_one_before_was_asked(
    client: RedisClient, loader: ModelLoader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    publisher = Publisher(client, "m")
    publisher.publish_artefact(artefact(step=1, graph=b"coarse 1"))
    model = served(loader, 1)
    loader.maintain()
    assert "model 'm' scores in float32 until the first requests" in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}, "so it is after every start"
    for _ in range(8):
        encoded = model.encode("u", 0, {}, ["a", "b"], {})
        model.score(encoded, model.embed(encoded))
    publisher.publish_artefact(artefact(step=2, graph=b"coarse 2"))
    precision = served(loader, 2).precision
    assert precision is not None
    assert precision.error == pytest.approx(0.01, rel=1e-3)
    loader.maintain()
    loader.maintain()
    assert caplog.text.count("model 'm' scores in bfloat16") == 1
    publisher.publish_artefact(artefact(step=3, graph=b"sum"))
    assert served(loader, 3).precision is None
