"""`recsys replay` from a log in files, and from what a trainer has kept, to its report, beside the steps alone.

The log has the shape of clicks on news: lists of two articles that are read for a few hours, one of them clicked, and
six columns of context. A DeepFM learns from all of it; the last four fifths are scored by frozen weights and by weights
that are a minute old. The steps alone learn from the same batches, which are ready, on a learner that knows their ids.
One thread, CPU seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks._training_sides import turn
from benchmarks.harness import Result, Target, interleave, median, ratio
from recsys import wiring
from recsys.config.schema import Config
from recsys.evaluation.replay.evaluation import evaluate
from recsys.evaluation.replay.online_stage import Share
from recsys.evaluation.replay.report import replay_report
from streaming.encode.batch import TrainingBatch
from streaming.events.schema import Event, Features, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.kept.kept_batches import KeptBatches
from streaming.log.event_log import EventLog

MINUTE, LIFETIME = 60_000, 3 * 3_600_000
START = 1_700_000_000_000
LISTS = 90
"""A minute; on a day of Globo.com there are 90 pairs."""
ARTICLES, USERS = 300, 50_000
CONTEXT = {"environment": 4, "device": 5, "os": 10, "country": 11, "region": 28, "referrer": 7}
"""Values of each column."""


def run(quick: bool) -> Result:
    torch.set_num_threads(1)
    minutes = 120 if quick else 720
    with tempfile.TemporaryDirectory() as name:
        config = _config(Path(name))
        log = wiring.event_log(config)
        for hour in range(0, minutes, 60):
            log.append(encode_events(_events(hour, min(60, minutes - hour))))
        batches = list(wiring.feed(config, log).poll())
        rows = sum(len(batch) for batch in batches)
        steps = turn(wiring.learner(config), batches, len(batches))
        kept, out = _keep(config, batches, Path(name) / "batches"), Path(name) / "report"
        sides = {"replay": _replay(config, log, out), "kept": _replay(config, log, out, kept), "steps": steps}
        seconds = interleave(sides, rounds=3 if quick else 5)
    names = {"replay": "rate of the steps alone, share that a replay reaches", "kept": "the same, from kept batches"}
    shares = [Target(name, ratio(seconds["steps"], seconds[side]), 0.35) for side, name in names.items()]
    rates = {side: rows / median(times) for side, times in seconds.items()}
    return Result("replay", shares, {"rows": rows, "rows_per_s": rates, "seconds": seconds})


def _config(folder: Path) -> Config:
    fields = [{"name": "user", "source": "user"}, {"name": "item", "source": "item"}]
    fields += [{"name": name, "source": f"request.{name}"} for name in CONTEXT]
    return Config.model_validate(
        {
            "log": {"url": "file:log"},
            "features": {"fields": fields},
            "model": {"name": "fm", "mlp": [64, 32]},
            "training": {"positive": ["click"], "wait": "1m", "lateness": "0s"},
        }
    ).rooted(folder)


def _keep(config: Config, batches: Sequence[TrainingBatch], folder: Path) -> Path:
    """As a trainer does."""
    kept = KeptBatches(folder, wiring.batch_origin(config))
    kept.begin("run", 0)
    for step, batch in enumerate(batches, 1):
        kept.add(step, batch)
        if step % config.training.checkpoint_every == 0:
            kept.end_file()()
    kept.end_file()()
    return folder


def _replay(config: Config, log: EventLog, out: Path, kept: Path | None = None) -> Callable[[], None]:
    def work() -> None:
        result = evaluate(config, log, batch_until=Share(0.2), refreshes=["1m"], batches=kept)
        replay_report.write(result, out)

    return work


def _events(first: int, minutes: int) -> list[Event]:
    """The lists and clicks of so many minutes from the minute `first`."""
    rng = np.random.default_rng([0, first])
    count = LISTS * minutes
    times_I = START + first * MINUTE + np.sort(rng.integers(0, minutes * MINUTE, count))
    users_I = rng.zipf(1.2, count) % USERS
    articles_I2 = np.stack([rng.permutation(ARTICLES)[:2] for _ in range(count)])
    born = articles_I2 * LIFETIME // ARTICLES  # articles take turns in making room for their successors
    articles_I2 = articles_I2 + ARTICLES * ((times_I[:, None] + born) // LIFETIME)
    context = {name: rng.zipf(1.5, count) % values for name, values in CONTEXT.items()}
    events: list[Event] = []
    for n, (time, user, pair) in enumerate(zip(times_I.tolist(), users_I.tolist(), articles_I2.tolist(), strict=True)):
        items = [f"a{article}" for article in pair]
        features: Features = {name: str(values_I[n]) for name, values_I in context.items()}
        one = Impression(id=f"{first}-{n}", time=time, user=f"u{user}", items=items, features=features)
        liked = int(pair[1] * 7919 % 101 > pair[0] * 7919 % 101)
        events += [one, Interaction(time=time, impression=one.id, item=items[liked])]
    return events
