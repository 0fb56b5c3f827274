"""Two workers against one: the same batches, 39 fields in 26 tables, batch 1024, AutoInt.

One worker is the learner of `recsys train` as it is by default, over the local store; two are its group over TorchRec's
sharded store. They take turns: while the one learns, the second process waits without using a core. The share of the
exchange is what look-ups and updates of two workers take beyond those of one, as a share of a step of two.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks._processes import together
from benchmarks.harness import Result, Target, interleave, median, ratio
from benchmarks.loop import BATCH, ITEMS, config_in, fill
from recsys import wiring
from recsys.config.schema import Config
from recsys.training.learner import Learner
from recsys.wiring.group import channel, follower, leading_learner
from streaming.encode.batch import TrainingBatch

Seconds = dict[str, list[float]]
STEPS = 4
"""In a turn."""


def run(quick: bool) -> Result:
    rounds = 6 if quick else 20
    with tempfile.TemporaryDirectory() as folder:
        config = config_in(Path(folder))
        fill(config, impressions=(rounds + 1) * STEPS * BATCH // ITEMS + 500)
        seconds: Seconds = together(2, _member, config, rounds)
    exchange = median(seconds["rows of two"]) - median(seconds["rows of one"])
    raw = {"batch": BATCH, "fields": 39, "steps_per_turn": STEPS, "seconds": seconds}
    raw |= {"share of the exchange": exchange / median(seconds["two"])}
    return Result("workers", [Target("steps of two workers over one", ratio(seconds["one"], seconds["two"]), 1.5)], raw)


def _member(rank: int, config: Config, rounds: int) -> Seconds:
    link = channel()
    if rank:
        follower(config, link).run()
        return {}
    leading = leading_learner(config, link)
    seconds = _turns(config, leading, rounds)
    leading.dismiss()
    return seconds


def _turns(config: Config, group: Learner, rounds: int) -> Seconds:
    log = wiring.event_log(config)
    batches = [batch for batch in wiring.feed(config, log).poll() if len(batch) == BATCH]
    log.close()
    learners = {"one": wiring.learner(config), "two": group}
    rows: Seconds = {f"rows of {name}": [] for name in learners}
    turns = {name: _turn(learner, iter(batches), rows[f"rows of {name}"]) for name, learner in learners.items()}
    seconds = interleave(turns, rounds, clock=time.perf_counter)
    return seconds | {name: spent[1:] for name, spent in rows.items()}


def _turn(learner: Learner, batches: Iterator[TrainingBatch], rows: list[float]) -> Callable[[], None]:
    """Learns from the next `STEPS` batches; seconds of look-ups and updates are added to `rows`."""
    spent: list[float] = []
    layer = learner._layer
    layer.lookup = _timing(layer.lookup, spent)  # type: ignore[method-assign]
    layer.apply = _timing(layer.apply, spent)  # type: ignore[method-assign]

    def turn() -> None:
        spent.clear()
        some = list(islice(batches, STEPS))
        if len(some) < STEPS:
            raise ValueError("the log holds too few batches")
        for batch in some:
            learner.step(batch, scored=False)
        rows.append(sum(spent))

    return turn


def _timing(work: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*arguments, **options)
        finally:
            spent.append(time.perf_counter() - start)

    return timed
