"""What a published model costs: its bytes in Redis, and the processor time of a ranking from cached rows.

MovieLens small, a DeepFM of rows of 64 over ids of users and films; 200 films for a user who is known.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, cast

from benchmarks.harness import interleave, median
from recsys import wiring
from recsys.config.schema import Config
from recsys.datasets.movielens import movielens_small
from recsys.datasets.registry import EXAMPLES
from recsys.training.export.exporter import Exporter
from recsys.training.learner import Learner
from serving.model.artefact import RANKER, Artefact
from serving.model.loaded_model import LoadedModel
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher

CANDIDATES = 200
ROUNDS = 40
_CALLS = 5
"""Rankings of a round, so that it is longer than the clock's step."""
_TIME = 1_400_000_000_000

Publish = Callable[[Publisher], object]


@contextmanager
def prepared(sections: Mapping[str, Any]) -> Iterator[Config]:
    """A configuration with these sections, whose log has the ratings."""
    with tempfile.TemporaryDirectory() as folder:
        config = configured(Path(folder), sections)
        with closing(wiring.event_log(config)) as log:
            for batch in movielens_small(EXAMPLES / "ml-latest-small"):
                log.append(batch)
        yield config


def configured(folder: Path, sections: Mapping[str, Any]) -> Config:
    fields = [{"name": "user", "source": "user"}, {"name": "item", "source": "item"}]
    settings: dict[str, Any] = {
        "log": {"url": "file:log"},
        "redis": {"folder": "redis"},
        "features": {"dim": 64, "fields": fields} | sections.get("features", {}),
        "model": {"name": "fm", "mlp": [64, 32]},
        "training": {"positive": ["like"], "wait": "30m", "batch_size": 1024, "labels": "held"},
        "fit": {"split": "random"},
    }
    return Config.model_validate(settings | {name: sections[name] for name in sections if name != "features"}).rooted(
        folder
    )


def learned(config: Config) -> Publish:
    """Publish what one pass over the log comes to."""
    learner = wiring.learner(config)
    with closing(wiring.event_log(config)) as log:
        for batch in wiring.feed(config, log).poll():
            learner.step(batch, scored=False)
    return lambda publisher: _publish(learner, config, publisher)


def costs(config: Config, models: Mapping[str, Publish]) -> tuple[dict[str, int], dict[str, list[float]]]:
    """By model, bytes in Redis, and CPU seconds of a ranking in each round."""
    with ExitStack() as stack:
        client = stack.enter_context(stack.enter_context(EmbeddedRedis(config.redis.folder)).client())
        sizes = {name: _size(client, Publisher(client, name), publish) for name, publish in models.items()}
        loaded = {model.name: _ranking(model) for model in wiring.published_models(config, client)}
        seconds = interleave(loaded, ROUNDS)
    return sizes, {name: [each / _CALLS for each in times] for name, times in seconds.items()}


def p50(seconds: Mapping[str, list[float]], name: str) -> float:
    """Of a ranking by the model over one by the whole model."""
    return median(seconds[name]) / median(seconds["whole"])


def _publish(learner: Learner, config: Config, publisher: Publisher) -> None:
    learner.store.subscribe("size")
    rows = learner.store.delta("size")
    model, dims = learner.served_model, {table.name: table.dim for table in wiring.tables(config)}
    graph = Exporter(model, learner.spec).graph(model)
    artefact = Artefact("one-pass", learner.steps, 0, dims, {RANKER: graph}, learner.spec, learner.scaling)
    publisher.publish_whole(rows, artefact, "measured")


def _size(client: RedisClient, publisher: Publisher, publish: Publish) -> int:
    before = _used(client)
    publish(publisher)
    return _used(client) - before


def _used(client: RedisClient) -> int:
    return int(cast(dict[str, int], client.info("memory"))["used_memory"])


def _ranking(model: LoadedModel) -> Callable[[], None]:
    items = [str(film) for film in range(1, CANDIDATES + 1)]

    def work() -> None:
        for _ in range(_CALLS):
            encoded = model.encode("1", _TIME, {}, items, {})
            model.score(encoded, model.embed(encoded))

    return work
