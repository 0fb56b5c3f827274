"""A model that is kept current in a thread, as a server keeps it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from serving.model.loaded_model import LoadedModel
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import connect
from serving.replication.follow.model_loader import ModelLoader
from serving.replication.follow.stream_follower import StreamFollower
from serving.replication.health import Availability
from tests.serving.fakes import Graphs
from tests.serving.waiting import until


@contextmanager
def following(
    folder: Path,
    client: RedisClient,
    graphs: Graphs,
    availability: Availability,
    revive: Callable[[], None],
    name: str = "m",
) -> Iterator[ModelLoader]:
    """A loader of a model with its thread."""
    made = ModelLoader(name, client, graphs, 100, availability, time.monotonic)
    follower = StreamFollower(partial(connect, "", folder), [made], availability, revive=revive)
    follower.start()
    assert follower.wait(120)
    yield made
    follower.close()


def served(loader: ModelLoader, step: int) -> LoadedModel:
    """The model once it is at this step."""

    def reached() -> LoadedModel | None:
        model = loader.current
        return model if model is not None and model.artefact.step == step else None

    model = until(reached)
    assert model is not None
    return model
