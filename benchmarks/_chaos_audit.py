"""What must be true after a storm, counted from the log itself and from a run that nothing interrupted."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import httpx
import numpy as np

from benchmarks._chaos_traffic import LAST
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
from streaming.events.schema import Event, Impression, Interaction
from streaming.feed import Feed
from streaming.ingest.codec import to_events
from streaming.log.event_log import EventLog, read_partitions

_TO_FOLLOW = 60.0
"""Seconds until a server must serve what Redis holds."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the log holds, every event once: the number of shown items, and those clicked by impression and item."""

    events: int
    impressions: frozenset[str]
    items: int
    clicked: frozenset[tuple[str, str]]
    repeated: int
    """Events that the log holds once more."""


def shown(config: Config) -> Shown:
    """Counted without the joiner. The lists at the end, whose windows are open, do not count."""
    sizes: dict[str, int] = {}
    clicks: Counter[tuple[str, str]] = Counter()
    events = repeated = 0
    log = wiring.event_log(config)
    for event in _events(log):
        events += 1
        if isinstance(event, Impression) and not event.id.startswith(LAST):
            repeated += event.id in sizes
            sizes[event.id] = len(event.items)
        elif isinstance(event, Interaction):
            clicks[event.impression, event.item] += 1
    log.close()
    repeated += sum(clicks.values()) - len(clicks)
    known = frozenset(click for click in clicks if click[0] in sizes)
    return Shown(events, frozenset(sizes), sum(sizes.values()), known, repeated)


def _events(log: EventLog) -> Iterator[Event]:
    for chunk in chain.from_iterable(read_partitions(log)):
        yield from to_events(chunk.events)


@dataclass(frozen=True, slots=True)
class Learned:
    """Shown items and clicks that were learned, or wait for a full batch, at the end of the log."""

    items: float
    clicked: float
    outcomes: dict[str, int]
    state: str
    """SHA-256 of what does not depend on where batches were cut: open lists, features, catalogue, cursor."""


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
