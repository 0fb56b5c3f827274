"""What was learned in a storm, against a run that nothing interrupted, and what is served after it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from recsys import wiring
from recsys.config.schema import Config
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.manifest import part_folder
from recsys.training.progress import Progress
from recsys.training.trainer import Trainer
from serving.api.messages.schemas import RankRequest
from serving.cache.row_store import RedisRows
from serving.local_ranking import LocalRanking
from serving.replication.embedded_redis import connect
from streaming.catalog import Catalog
from streaming.encode.batch import TrainingBatch
from streaming.feed import Feed

_TO_FOLLOW = 60.0
"""Seconds until a server must serve what Redis holds."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Shown items and clicks that were learned, or wait for a full batch, at the end of the log."""

    items: float
    clicked: float
    outcomes: dict[str, int]
    state: str
    """SHA-256 of what does not depend on where batches were cut: open lists, features, catalogue, cursor."""


def trained(config: Config) -> float:
    """Shown items that the newest checkpoint has learned from."""
    progress, newest = Progress(), Checkpoints(config.training.checkpoints).newest()
    if newest is None:
        return 0.0
    progress.load(part_folder(newest))
    return progress.total().weight


def learned(config: Config) -> Learned:
    """By the newest checkpoint, and by what follows in the log, which a trainer has still to learn from."""
    return _read(config, Checkpoints(config.training.checkpoints).newest())


def uninterrupted(config: Config) -> Learned:
    """What is to be learned from the log, read from its begin to its end at once."""
    return _read(config, None)


def _read(config: Config, checkpoint: Path | None) -> Learned:
    catalog, progress = Catalog(half_life=config.catalog.half_life), Progress()
    with closing(wiring.event_log(config)) as log:
        feed = wiring.feed(config, log, catalog)
        if checkpoint is not None:
            folder = part_folder(checkpoint)
            feed.restore((folder / "feed.bin").read_bytes())
            catalog.restore((folder / "catalog.bin").read_bytes())
            progress.load(folder)
        total = progress.total()
        items, clicked = total.weight, total.positives
        for batch in _rest(feed):
            items += float(batch.counted_B.sum())
            clicked += float(batch.labels_B.sum())
        state = hashlib.sha256(feed.state() + catalog.state()).hexdigest()
        return Learned(items, clicked, feed.joiner.counts, state)


def _rest(feed: Feed) -> Iterator[TrainingBatch]:
    yield from feed.poll()
    yield from feed.drain()


def wrong_rows_at_the_end(config: Config) -> tuple[int, int]:
    """Learn the rest of the log; embedding rows in Redis that are then not the trainer's to the bit, of how many."""
    alone = config.model_copy(update={"training": config.training.model_copy(update={"workers": 1})})
    with wiring.trainer(alone, publish=True) as trainer:
        trainer.resume()
        trainer.run(follow=False, stop=threading.Event())
        return _wrong_rows(config, trainer)


def _wrong_rows(config: Config, trainer: Trainer) -> tuple[int, int]:
    store = trainer.learner.store
    store.subscribe("audit")
    tables = store.delta("audit").tables
    dims = {name: table.values_UD.shape[1] for name, table in tables.items()}
    with connect(config.redis.url, config.redis.folder) as client:
        rows = RedisRows(client, wiring.ONLINE, dims, run=trainer.run_id)
        found = rows.read({name: table.ids_U for name, table in tables.items()})
    wrong = [(found[name].values_ND != table.values_UD).any(1) for name, table in tables.items()]
    return int(sum(one.sum() for one in wrong)), sum(map(len, wrong))


def served_otherwise(config: Config, url: str, lists: list[list[str]]) -> float:
    """Largest difference between a score of the server, which lived through it all, and one of what Redis holds now.

    The server has a minute to get there: it follows Redis.
    """
    deadline = time.monotonic() + _TO_FOLLOW
    with closing(wiring.local_ranking(config)) as fresh, httpx.Client(base_url=url, timeout=60) as http:
        while (worst := _difference(fresh, http, lists)) and time.monotonic() < deadline:
            time.sleep(0.1)
    return worst


def _difference(fresh: LocalRanking, http: httpx.Client, lists: list[list[str]]) -> float:
    worst = 0.0
    for number, items in enumerate(lists):
        asked = {"user": f"user-{number}", "items": items}
        answer = http.post("/v1/rank", json=asked).raise_for_status().json()
        got = {item["item"]: item["score"] for item in answer["items"]}
        own = fresh.rank(RankRequest(user=f"user-{number}", items=items))
        scores = dict(zip(own.shown.items, own.shown.scores, strict=True))
        worst = max(worst, float(np.abs([got[item] - scores[item] for item in items]).max()))
    return worst
