"""kill -9 of a random process every 20 seconds, under traffic: what is lost, doubled, unanswered or served wrong?

The whole loop through a real Kafka, a trainer of two workers under Ray, Redis and a server. The log of the demo lies in
Kafka when it begins, and a producer appends Globo-shaped events, ten million or `--events`, while processes are killed
for ten minutes: two articles by a Zipf law with six features of the visit, one of them clicked. Users ask the server
for rankings of ten, and click. A supervisor starts again what ends; Redis is started again by those who use it, workers
by Ray. At the end one process learns what the workers have left, and the log is counted without the joiner, and joined
once more without interruption.

The quick run has one worker, without Ray, one kill of each of four processes, and no log of the demo.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import _chaos_audit as audit
from benchmarks._chaos_traffic import Producer, Users, items
from benchmarks._event_hashes import Hashes, hashes, pairs
from benchmarks._settings import toml
from benchmarks._shown_events import ShownEvents
from benchmarks._storm import Storm
from benchmarks.harness import ROOT, Result, Target
from deploy.kafka.broker import Broker
from recsys import wiring
from recsys.commands.demo.ports import free_port
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.datasets.globo import CONTEXT
from recsys.datasets.movielens import movielens_small
from streaming.log.partitioning import split

_FIELDS = {"user": "user", "item": "item"} | {name: f"request.{name}" for name in CONTEXT}
"""Sources by name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is killed, and the seconds before each kill; events a second that are appended meanwhile, and how many.

    They are killed in this order, but whoever has still to start again lets the next go first. Without `events` the
    producer ends with the last kill, otherwise when it has appended them.
    """

    victims: Sequence[str]
    pause: float
    rate: float
    events: int | None = None
    demo: bool = False
    """Whether the log of the demo comes before."""
    workers: int = 1
    checkpoint_every: int = 20


QUICK = Plan(("trainer", "server", "broker", "redis"), 2.0, rate=100)
SECONDS, EVENTS = 600.0, 10_000_000


def drawn(seconds: float, events: int, pause: float = 20.0, seed: int = 0) -> Plan:
    """Victims at random, in rounds in which each kind has its turn; two workers."""
    rng, kills = np.random.default_rng(seed), int(seconds / pause)
    kinds = (*Storm.KINDS, "worker 0", "worker 1")
    order = [kind for _ in range(kills) for kind in rng.permutation(kinds).tolist()]
    return Plan(order[:kills], pause, events / seconds, events, demo=True, workers=2, checkpoint_every=50)


def run(quick: bool, events: int | None = None) -> Result:
    """With `events` the full plan with as many, at a rate at which they take the ten minutes."""
    return endured(QUICK if quick else drawn(SECONDS, events or EVENTS))


def endured(plan: Plan, graphs: Path | None = None) -> Result:
    """What is found after a storm as planned; the trainer keeps traced graphs in the folder `graphs`, if given."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = Broker(folder / "kafka")
        stack.callback(broker.kill)
        broker.start()
        (folder / "recsys.toml").write_text(_settings(plan, broker, port := free_port()))
        config = load(folder / "recsys.toml")
        if graphs:
            config.training.checkpoints.mkdir(parents=True)
            (config.training.checkpoints / "graphs").symlink_to(graphs)
        if plan.demo:
            _append_demo(config)
        stack.enter_context(wiring.running_redis(config))
        storm = Storm(folder, broker, f"http://127.0.0.1:{port}")
        stack.callback(storm.close)
        producer, users = _weathered(storm, config, plan)
        return _found(storm, config, plan, producer, users)


def _settings(plan: Plan, broker: Broker, port: int) -> str:
    sections = {
        "log": {"url": f"kafka://{broker.address}/clicks"},
        "features": {"dim": 8, "fields": [{"name": name, "source": source} for name, source in _FIELDS.items()]},
        "model": {"name": "fm"},
        "training": {
            "workers": plan.workers,
            "checkpoint_every": plan.checkpoint_every,
            "batch_size": 1024,
            "wait": "10s",
            "positive": ["click", "like"],
            "max_pending": 1_000_000,
        },
        "serving": {"port": port},
    }
    return toml(sections)


def _append_demo(config: Config) -> None:
    with closing(wiring.event_log(config)) as log:
        for events in movielens_small(ROOT / "examples" / "ml-latest-small"):
            for partition, part in split(events, log.partitions):
                log.append(part, partition)


def _weathered(storm: Storm, config: Config, plan: Plan) -> tuple[Producer, Users]:
    """The traffic, which has ended, as all windows in the log have."""
    with (
        closing(Producer(config, plan.rate, plan.events)) as producer,
        closing(Users(storm.url, storm.server)) as users,
    ):
        with producer:
            storm.await_checkpoint()
            storm.await_model()
            with users:
                storm.kill_each(plan.victims, plan.pause)
                time.sleep(plan.pause)
                storm.await_all()
            users.settle()
            if plan.events:
                producer.done.wait()
        producer.end_windows()
    storm.trainer.stop()
    return producer, users


def _found(storm: Storm, config: Config, plan: Plan, producer: Producer, users: Users) -> Result:
    with closing(wiring.event_log(config)) as log:
        shown = ShownEvents.of(log, config.training.wait)
    by_trainer = audit.trained(config)
    wrong, rows = audit.wrong_rows_at_the_end(config)
    learned, uninterrupted = audit.learned(config), audit.uninterrupted(config)
    none = [
        ("examples lost by training", max(shown.items - learned.items, 0)),
        ("examples doubled by training", max(learned.items - shown.items, 0)),
        ("clicks lost or doubled by training", abs(len(shown.clicks_C) - learned.clicked)),
        ("acknowledged impressions not in the log", _missing(np.concatenate(producer.acknowledged), shown.lists_L)),
        ("acknowledged clicks not in the log", _missing(_clicks(users, shown), shown.clicks_C)),
        ("states of the stream unlike an uninterrupted run's", learned.state != uninterrupted.state),
        ("rows in Redis that are not the trainer's", wrong),
        ("answers with 5xx", users.errors),
        ("requests that a living server did not answer", users.unanswered),
        ("largest difference of a score served", _difference(storm, config)),
    ]
    targets = [Target("processes killed with -9", len(storm.kills), len(plan.victims))]
    targets += [Target(what, float(value), 0.0, "lower") for what, value in none]
    raw: dict[str, object] = {"kills": [kind for kind, _ in storm.kills], "of_each": Counter(plan.victims)}
    raw |= {"plan": asdict(plan), "events": shown.events, "examples": shown.items, "clicks": len(shown.clicks_C)}
    raw |= {"examples_by_the_trainer_of_the_storm": by_trainer, "rows": rows}
    raw |= {"events_twice_in_the_log": shown.repeated, "rankings": users.answers}
    raw |= {"degraded": users.degraded, "posts_repeated": users.retries, "appends_repeated": producer.refusals}
    raw |= {"trainer_goes_on": storm.goes_on, "learned": asdict(learned), "uninterrupted": asdict(uninterrupted)}
    return Result("chaos", targets, raw)


def _missing(acknowledged: Hashes, known: Hashes) -> int:
    return len(np.setdiff1d(acknowledged, known))


def _clicks(users: Users, shown: ShownEvents) -> Hashes:
    """Those that are acknowledged, of lists that are in the log: the server answers before it has written a list."""
    lists, items = zip(*users.acknowledged, strict=True)
    of_C = hashes(lists)
    return pairs(of_C, hashes(items))[np.isin(of_C, shown.lists_L)]


def _difference(storm: Storm, config: Config) -> float:
    return audit.served_otherwise(config, storm.url, items(np.random.default_rng(3), 50, 10))
