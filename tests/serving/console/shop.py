"""What the browser looks at: a small shop with an experiment, whose trainer goes on learning."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from embedding.store import Delta, TableDelta
from serving.api_key import new_key
from serving.assembly import build
from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.judged_experiments import JudgedExperiments, publish_judged
from serving.experiments.counts.log_counts import LogCounts
from serving.experiments.goals import Goal
from serving.experiments.guardrails import Guardrail
from serving.experiments.log_summary import log_summary
from serving.process_settings import Settings
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Features
from streaming.ingest.refusals.dead_letters import DeadLetter, DeadLetters
from streaming.log.event_log import EventLog, read_partitions
from streaming.log.file_log import FileLog
from tests.serving.fakes import FEW_EVENTS, SPEC, Graphs, artefact, ids, rows
from tests.serving.running import running
from tests.serving.waiting import until

EXPERIMENT = Experiment("drinks", (Arm("online"), Arm("popular", "popularity")))
GOALS = [Goal("bought", "conversion", 3_600_000, frozenset({"click"}))]
KEY, _CONFIGURED = new_key("boss", ["admin", "rank", "events"])
ITEMS = ("tea", "cocoa", "mate", "coffee", "juice", "water", "<b>soda</b>")
SHOP = FeatureSpec.of(
    [
        *SPEC.fields,
        Field("kind", "multi", "item.kind"),
        Field("country", "categorical", "request.country"),
        Field("price", "numeric", "item.price"),
    ]
)


class Shop:
    """The server's client, and its trainer."""

    def __init__(self, http: httpx.Client, client: RedisClient) -> None:
        self.http = http
        self.url = str(http.base_url).rstrip("/")
        self._publisher = Publisher(client, "online")
        self._steps = self._customers = 0

    def open(self) -> None:
        """Publish a model and a catalogue."""
        self.learn(dict(zip(ITEMS, (0.31, 0.22, 0.13, 0.07, -0.05, -0.12, -0.33), strict=True)))
        made = replace(artefact(spec=SHOP), step=1200, version="step-1200-3f2a81c0-9b1d44", time=_now() - 60_000)
        self._publisher.publish_artefact(made)
        kinds: dict[str, Features] = {
            item: {"kind": ["drink", "hot" if place < 4 else "cold"], "price": 0.4 - 0.09 * place}
            for place, item in enumerate(ITEMS)
        }
        self._publisher.publish_entities({"ada": {"country": "uk"}, "bob": {"country": "se"}}, kinds)
        self._publisher.publish_catalog([(item, 9.0 - place) for place, item in enumerate(ITEMS)], [("juice", 5)])
        self.say()
        until(lambda: self.http.get("/readyz").status_code == 200)

    def welcome(self, customers: int) -> None:
        """So many come who were not here before; those of the arm `online` click more often."""
        clicks = []
        for _ in range(customers):
            self._customers += 1
            asked = {"user": f"customer {self._customers}", "items": ITEMS, "count": 3}
            answer = self.http.post("/v1/rank", json=asked).json()
            if self._customers % (3 if answer["arm"] == "online" else 5) == 0:
                clicked = {"type": "interaction", "time": _now(), "action": "click"}
                clicks.append(clicked | {"impression": answer["impression"], "item": answer["items"][0]["item"]})
        assert self.http.post("/v1/events", json=clicks).status_code == 200

    def learn(self, scores: dict[str, float]) -> None:
        """Publish rows."""
        found, _ = Encoder(SPEC).encode_items(list(scores), [{}] * len(scores))
        sequence = (self._publisher.sequence() or 0) + 1
        change = TableDelta(found["item"].values, rows(*scores.values()), ids())
        self._publisher.publish(Delta(sequence, sequence == 1, {"item": change}))

    def say(self) -> None:
        """Publish a status, each with other figures."""
        self._steps += 1
        step, now = self._steps, _now()
        wave = math.sin(step / 7)
        tables = {name: _counters(name, step) for name in ("user", "item")}
        self._publisher.publish_status(
            {
                "run": "3f2a81c0",
                "serves": True,
                "step": 1200 + step,
                "event_time": now - 400,
                "lag_events": 12 + round(10 * wave),
                "events_per_second": 2512.0,
                "rows": 614_000 + round(2400 * step + 9000 * wave),
                "tasks": {
                    "click": {
                        "auc": 0.7712,
                        "log_loss": 0.4312 - 0.0004 * step,
                        "calibration": 1.01 + 0.02 * wave,
                        "normalised_entropy": 0.874,
                    }
                },
                "tables": tables,
                "outcomes": {"impressions": 204_811, "joined": 61_204, "unmatched": 37, "late": 12, "updates": 5120},
                "losses": {"closed_early": 0, "bad_values": 3},
                "checkpoint": {"step": 1180, "written": now - 21_000},
            }
        )


def _now() -> int:
    return time.time_ns() // 1_000_000


def _counters(table: str, step: int) -> dict[str, Any]:
    live = 41_000 + 90 * step if table == "user" else 7_200 + 4 * step
    return {
        "live": live,
        "admitted": live + 3_410,
        "unadmitted": 812,
        "expired": 3_100,
        "evicted": 310,
        "refused": 0,
        "stale": 0,
        "nonfinite": 0,
        "ahead": 0,
        "bytes": 96 * live,
    }


def publish_judgement(
    client: RedisClient, log: EventLog, experiment: Experiment, goals: Sequence[Goal], at: int
) -> None:
    """Publish what the log says of the experiment, as `recsys experiments --publish` does."""
    counts = LogCounts(experiment, 0, 0, goals=goals, watch=True)
    for chunks in read_partitions(log):
        counts.begin_partition()
        for chunk in chunks:
            counts.count(chunk.events)
    found = log_summary(experiment, counts, 1_700_000_000_000, 0, goals, [Guardrail("latency", margin=5.0)])
    publish_judged(client, JudgedExperiments(at, [found]))


@contextmanager
def shop(folder: Path, customers: int = 60, more: int = 0) -> Iterator[Shop]:
    """Open for as long as the block; its trainer speaks, and `more` customers come, every second."""
    letters = DeadLetters(folder / "dead_letters.jsonl")
    raw = b'{"type": "interaction", "time": "yesterday"}'
    letters.write(DeadLetter("events.jsonl", line, 0, "time: must be in ms", raw) for line in range(7))
    letters.write([DeadLetter("old.csv", 9, 0, "not JSON", b"<script>alert(1)</script>;12")])
    settings = Settings(
        redis_folder=folder / "redis",
        deadline=60_000,
        api_keys=[_CONFIGURED],
        dead_letters=letters.path,
        experiments=(EXPERIMENT,),
        deduplication_window=FEW_EVENTS,
    )
    closed = threading.Event()
    log = FileLog(folder / "log")
    with (
        closing(log),
        EmbeddedRedis(settings.redis_folder) as server,
        server.client() as client,
        running(build(settings, log, Graphs())) as http,
    ):
        http.headers["Authorization"] = f"Bearer {KEY}"
        opened = Shop(http, client)
        opened.open()
        opened.welcome(customers)
        publish_judgement(client, log, EXPERIMENT, GOALS, _now())

        def speak() -> None:
            while not closed.wait(1.0):
                opened.say()
                if more:
                    opened.welcome(more)

        speaker = threading.Thread(target=speak)
        speaker.start()
        try:
            yield opened
        finally:
            closed.set()
            speaker.join()
