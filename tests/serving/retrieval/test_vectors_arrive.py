"""From what a trainer learned to the candidates of a server: vectors by Redis, the user tower as a graph."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from recsys import wiring
from recsys.training.export.exporter import Exporter
from recsys.training.learner import Learner
from recsys.training.progress import Progress
from recsys.training.publishing.publication import Publication
from recsys.training.retrieval.vector_publication import VectorPublication
from serving.cache.entity_cache import EntityFeatures
from serving.experiments.assignment import Arm
from serving.replication import delta_messages, keys
from serving.replication.connection.redis_client import RedisClient
from serving.replication.follow.followed_models import FollowedModels
from serving.replication.follow.model_loader import ModelLoader
from serving.replication.health import Availability
from serving.replication.publish.publisher import Publisher
from serving.retrieval.retriever import RetrievalQuery
from serving.retrieval.two_tower_items import TwoTowerItems
from streaming.catalog import Catalog
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from tests.recsys.training.retrieval.test_retrieval_learner import GROUPS, ITEMS, batches, config, features_of
from tests.serving.fakes import Graphs
from tests.serving.following import following
from tests.serving.waiting import until


class Traced:
    """Stands in for the exporter of the ranker's graph."""

    ready = True

    def graph(self, _model: object) -> bytes:
        return b"sum"


class Training:
    """A learner with its catalogue and features, and their publication, as a trainer has them."""

    def __init__(self, client: RedisClient, run: str, learner: Learner) -> None:
        self.learner = learner
        self.catalog, self.entities = Catalog(half_life=1 << 40), EntityState(1000)
        encoder = Encoder(learner.spec)
        assert learner.beside.retrieval is not None
        vectors = VectorPublication(learner, learner.beside.retrieval, encoder, self.entities, self.catalog, share=0.2)
        self.publication = Publication(
            learner,
            Publisher(client, "m"),
            cast(Exporter, Traced()),
            self.entities,
            self.catalog,
            rows_every=0,
            dense_every=0,
            vectors=vectors,
        )
        for item in range(ITEMS):
            self.describe(f"i{item}", features_of(item))
        self.publication.start(run)
        self.publish()

    def describe(self, item: str, features: Any) -> None:
        self.catalog.seen([item], 1)
        self.entities.items.update(item, 1, features)

    def publish(self) -> None:
        assert self.publication.publish(Progress(), {}, has_caught_up=True, dense=True)


@pytest.fixture(scope="module")
def learner() -> Learner:
    made = wiring.learner(config())
    for batch in batches(60):
        made.step(batch, scored=False)
    return made


@pytest.fixture
def training(client: RedisClient, learner: Learner) -> Training:
    return Training(client, "aa", learner)


@pytest.fixture
def loader(client: RedisClient, redis_folder: Path, training: Training) -> Iterator[ModelLoader]:
    with following(redis_folder, client, Graphs(), Availability(up=False), lambda: None) as made:
        yield made


def nearest(loader: ModelLoader, client: RedisClient, count: int = 15, group: str = "g1") -> list[str]:
    entities = EntityFeatures(client, 60, 100, time.monotonic, Availability())
    source = TwoTowerItems(FollowedModels([loader.name], lambda _: loader), entities)
    return source.retrieve(RetrievalQuery("u1-1", 1, {"group": group}, Arm("m", "m")), count).ids


def of_group(items: list[str]) -> float:
    return float(np.mean([int(item.removeprefix("i").removeprefix("new")) % GROUPS == 1 for item in items]))


@pytest.mark.slow
def test_the_users_items_are_retrieved_and_item_rows_are_not_in_redis(loader: ModelLoader, client: RedisClient) -> None:
    assert loader.current is not None
    assert of_group(nearest(loader, client)) >= 0.9
    assert len(nearest(loader, client, 100)) == ITEMS
    tables = {key.decode().split(":")[4] for key in cast(list[bytes], client.keys("recsys:m:aa:row:*"))}
    assert "retrieval_user_user" in tables
    assert not any(table.startswith("retrieval_item") for table in tables)


def test_a_new_item_is_retrieved_and_a_withdrawn_one_is_not(
    training: Training, loader: ModelLoader, client: RedisClient
) -> None:
    training.describe("new61", features_of(61))
    gone = nearest(loader, client)[0]
    training.catalog.available(gone, 2, is_so=False)
    training.publish()
    until(lambda: "new61" in nearest(loader, client))
    until(lambda: gone not in nearest(loader, client, 100))
    training.catalog.available(gone, 3, is_so=True)
    training.publish()
    until(lambda: gone in nearest(loader, client, 100))
    training.describe("i0", {"tags": ["t1"], "price": 1.0})  # changed features change the vector
    training.publish()
    until(lambda: "i0" in nearest(loader, client, 25))


def test_servers_that_began_at_different_times_find_the_same(
    training: Training, loader: ModelLoader, client: RedisClient, redis_folder: Path
) -> None:
    def found(by: ModelLoader) -> list[str]:
        return nearest(by, client, 100)

    training.describe("new62", features_of(62))
    training.publish()
    until(lambda: "new62" in found(loader))
    with following(redis_folder, client, Graphs(), Availability(up=False), lambda: None) as later:
        assert found(later) == found(loader)
        training.catalog.available("new62", 2, is_so=False)
        training.describe("new63", features_of(63))
        training.publish()
        for server in (loader, later):
            until(lambda: "new63" in found(server) and "new62" not in found(server))  # noqa: B023 - called at once
        assert found(later) == found(loader)


def test_what_was_learned_reaches_all_items_in_a_few_publications(
    training: Training, loader: ModelLoader, client: RedisClient
) -> None:
    def stored() -> dict[bytes, bytes]:
        return client.hgetall(keys.ModelKeys("m", "aa").vectors)  # type: ignore[return-value]

    before = stored()
    for batch in batches(2, seed=9):
        training.learner.step(batch, scored=False)
    for _ in range(6):  # the first one begins a sweep
        training.publish()
    after = stored()
    assert before.keys() == after.keys()
    assert all(before[item] != after[item] for item in before)
    for _ in range(6):  # a sweep that began while the towers still changed
        training.publish()
    announced = vector_changes(client)
    for _ in range(7):
        training.publish()
    assert vector_changes(client) == announced, "nothing was learned since"


def vector_changes(client: RedisClient) -> int:
    entries = cast(Any, client.xrange("recsys:m:deltas"))
    messages = [delta_messages.decode(entry[delta_messages.FIELD]) for _, entry in entries]
    return sum(isinstance(message, delta_messages.VectorChange) for message in messages)


def test_another_run_brings_its_own_vectors_at_once(
    training: Training, loader: ModelLoader, client: RedisClient
) -> None:
    first = loader.current
    assert first is not None
    assert first.two_tower is not None
    other = Training(client, "bb", wiring.learner(config()))
    until(lambda: loader.current is not first)
    assert loader.current is not None
    assert loader.current.two_tower is not None
    assert len(loader.current.two_tower.items) == ITEMS
    assert len(first.two_tower.items) == ITEMS, "who still ranks with the first run is not disturbed"
    assert client.exists(keys.ModelKeys("m", "aa").vectors), "it can be gone back to"
    assert other.publication.status["serves"]


def test_vectors_of_a_restarted_trainer_are_complete_and_no_others(
    training: Training, loader: ModelLoader, client: RedisClient, learner: Learner
) -> None:
    client.hset(keys.ModelKeys("m", "aa").vectors, "stale", b"\0" * 16)
    again = Training(client, "aa", learner)
    again.catalog.available("i7", 2, is_so=False)
    again.publication.start("aa")
    again.publish()
    until(lambda: len(nearest(loader, client, 100)) == ITEMS - 1)
    assert {"stale", "i7"}.isdisjoint(nearest(loader, client, 100))


def test_an_emptied_redis_leaves_the_vectors_that_are_here(
    training: Training, loader: ModelLoader, client: RedisClient
) -> None:
    client.flushall()
    loader.catch_up(client, continued=False)
    assert len(nearest(loader, client, 100)) == ITEMS


def test_damaged_vectors_are_ignored(training: Training, loader: ModelLoader, client: RedisClient) -> None:
    publisher = Publisher(client, "m")
    publisher.begin("aa")
    publisher.vectors.change(["i1", "i2"], np.full((2, 8), np.nan, np.float32))
    publisher.vectors.change(["i3"], np.ones((1, 5), np.float32))
    publisher.vectors.change(["last"], np.ones((1, 8), np.float32))
    until(lambda: "last" in nearest(loader, client, 100))
    assert len(nearest(loader, client, 100)) == ITEMS + 1


def test_a_frozen_model_has_the_vectors_of_its_source(training: Training, client: RedisClient) -> None:
    Publisher(client, "m").freeze("still")
    source = client.hgetall(keys.ModelKeys("m", "aa").vectors)
    assert client.hgetall(keys.ModelKeys("still").vectors) == source
    assert len(source) == ITEMS


def test_a_model_without_towers_finds_nothing(training: Training, loader: ModelLoader, client: RedisClient) -> None:
    assert loader.current is not None
    loader.current = replace(loader.current, two_tower=None)
    assert nearest(loader, client) == []
