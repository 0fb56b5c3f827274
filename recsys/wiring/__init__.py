"""From the configuration to the parts of the running system: the one place that builds them.

What needs torch, or a server, is imported only when it is built.
"""

from recsys.wiring.erasure_places import places
from recsys.wiring.learning import exporter, learner, model, set_threads, store, tables, tensorboard
from recsys.wiring.online_training import locked_trainer, trainer, training_lock
from recsys.wiring.publishing import ONLINE, publisher, redis_client, running_redis
from recsys.wiring.serving import goals, local_ranking, open_scorer, published_models, server
from recsys.wiring.stream import (
    batch_origin,
    event_log,
    feed,
    file_sources,
    ingest,
    inspected_log,
    joiner,
    rules,
    sources,
    spec,
    tasks,
)

__all__ = [
    "ONLINE",
    "batch_origin",
    "event_log",
    "exporter",
    "feed",
    "file_sources",
    "goals",
    "ingest",
    "inspected_log",
    "joiner",
    "learner",
    "local_ranking",
    "locked_trainer",
    "model",
    "open_scorer",
    "places",
    "published_models",
    "publisher",
    "redis_client",
    "rules",
    "running_redis",
    "server",
    "set_threads",
    "sources",
    "spec",
    "store",
    "tables",
    "tasks",
    "tensorboard",
    "trainer",
    "training_lock",
]
