"""Off-policy estimates: a million impressions of five items that were drawn, judged for one arm as a replay does it."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.harness import Result, Target, median
from recsys.evaluation.replay.arms import frozen
from recsys.evaluation.replay.orders import Rule, orders
from recsys.evaluation.replay.scored_rows import ScoredRows
from recsys.evaluation.replay.training_pass import Scored
from recsys.off_policy.policies import PlackettLucePolicy
from serving.ranking.exploration import PlackettLuce
from serving.ranking.task_score import TaskScore
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.row_keys import row_keys

ITEMS = 5
SECONDS = 30.0
"""For a million impressions."""
_ORDERS = 1_000
"""Different draws that the impressions repeat."""


def run(quick: bool) -> Result:
    """100,000 impressions when quick, else a million."""
    lists, rounds = (100_000, 3) if quick else (1_000_000, 5)
    rows = _rows(lists)
    scores_R = np.random.default_rng(1).random(len(rows)).astype(np.float32)
    scored = [Scored(frozen(0), scores_R, {})]
    rule = Rule(["click"], TaskScore({"click": 1.0}), PlackettLucePolicy(1.0), "user")
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        judged = orders(rows, scored, rule)
        seconds.append(time.perf_counter() - begin)
        if judged is None or judged.lists != lists:
            raise AssertionError("every list was drawn, and is judged by")
    share = median(seconds) / (SECONDS * lists / 1_000_000)
    target = Target("time for an arm, share of 30 s a million impressions", share, 1.0, "lower")
    return Result("ope", [target], {"lists": lists, "items": ITEMS, "seconds": seconds})


def _rows(lists: int) -> ScoredRows:
    rng = np.random.default_rng(0)
    drawn = [PlackettLuce(1.0).order(rng.random(ITEMS), ITEMS, rng)[1] for _ in range(_ORDERS)]
    rows = lists * ITEMS
    positions_B = np.tile(np.arange(ITEMS, dtype=np.int32), lists)
    numbers_B = np.repeat(np.arange(lists, dtype=np.int64), ITEMS)
    tasks_B, ones_B = np.zeros(rows, np.int64), np.ones(rows, np.float32)
    users_B = (numbers_B % 50_000).astype(np.uint64)
    batch = TrainingBatch(
        ids={"user": Jagged(users_B, np.ones(rows, np.int32))},
        numeric_BN=np.zeros((rows, 0), np.float32),
        labels_B=(rng.random(rows) < 0.1).astype(np.float32),
        counted_B=ones_B,
        keys_B=row_keys(tasks_B, numbers_B, positions_B),
        tasks_B=tasks_B,
        weights_B=ones_B,
        propensities_B=np.resize(np.concatenate(drawn), rows).astype(np.float32),
        positions_B=positions_B,
        times_B=numbers_B,
        now=lists,
        cursor=(),
    )
    return ScoredRows([batch], 0, lists)
