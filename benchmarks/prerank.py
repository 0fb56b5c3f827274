"""A preranker before the model: what it saves of a request's time, and what it loses of the model's list.

AutoInt learns a simulated log once. Users then get 20 of 1,000 items, from the model over all of them and with 50 to
400 kept by the mean of an item's log odds, in turns and without HTTP. `kept` is the share of the model's own 20 that
came through; `worth` is the sum of the probabilities of the shown items over that of the model's own list.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result, Target, median
from recsys import wiring
from recsys.config.file import load
from serving.api.messages.schemas import RankRequest
from serving.local_ranking import Answer, LocalRanking
from serving.replication.embedded_redis import EmbeddedRedis

ITEMS, COUNT = 1_000, 20
KEPT = (50, 100, 200, 400)
FIRST = 40
"""Requests before those that are measured: the first twenty of a model are scored whole."""


def run(quick: bool) -> Result:
    users, days = (60, 0.5) if quick else (400, 4.0)
    with learned(200 if quick else 2_000, days) as config, ExitStack() as stack:
        settings = replace(wiring.server(config), max_candidates=ITEMS + 1)
        rankers: dict[int, LocalRanking] = {}
        for keep in (0, *KEPT):
            one = LocalRanking(replace(settings, prerank=keep), wiring.open_scorer(config))
            stack.callback(one.close)
            rankers[keep] = one
        seconds, kept, worth = _compared(rankers, users)
    figures = {
        str(keep): {
            "time": median(seconds[keep]) / median(seconds[0]),
            "kept": float(np.mean(kept[keep])),
            "worth": float(np.mean(worth[keep])),
        }
        for keep in KEPT
    }
    at = figures["200"]
    targets = [
        Target(f"time of a request, 200 of {ITEMS:,} kept over all", at["time"], 0.5, "lower"),
        Target(f"of the model's first {COUNT}, kept", at["kept"], 0.9),
        Target("worth of the list, over that of the model's own", at["worth"], 0.99),
    ]
    raw: dict[str, Any] = {"users": users, "all_ms": 1000 * median(seconds[0]), "by_kept": figures}
    return Result("prerank", targets, raw)


def _compared(
    rankers: dict[int, LocalRanking], users: int
) -> tuple[dict[int, list[float]], dict[int, list[float]], dict[int, list[float]]]:
    """By number kept: seconds of CPU, share kept and worth of each measured list."""
    rng, items = np.random.default_rng(0), [f"item-{number}" for number in range(ITEMS)]
    seconds, kept, worth = ({keep: list[float]() for keep in rankers} for _ in range(3))
    for number in range(FIRST + users):
        user = f"user-{rng.integers(users)}"
        everything = _ranked(rankers[0], user, items, ITEMS)[0]
        by_model = dict(zip(everything.shown.items, everything.shown.scores or [], strict=True))
        own = everything.shown.items[:COUNT]
        for keep, ranking in rankers.items():
            found, took = _ranked(ranking, user, items, COUNT)
            if found.degraded:
                raise AssertionError(f"a list of user {user} was degraded: {found.degraded}")
            if number >= FIRST:
                seconds[keep].append(took)
                kept[keep].append(len(set(found.shown.items) & set(own)) / COUNT)
                worth[keep].append(
                    sum(map(by_model.__getitem__, found.shown.items)) / sum(map(by_model.__getitem__, own))
                )
    return seconds, kept, worth


def _ranked(ranking: LocalRanking, user: str, items: list[str], count: int) -> tuple[Answer, float]:
    begin = time.process_time()
    return ranking.rank(RankRequest(user, items, count=count)), time.process_time() - begin


@contextmanager
def learned(users: int, days: float) -> Iterator[Any]:
    """The configuration of a model that has learned what simulated users did, and whose Redis runs."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = ["--users", str(users), "--items", str(ITEMS), "--days", str(days)]
        for command in (
            ["simulate", *numbers, "--out", "sim"],
            ["init", "--from", "sim/events.jsonl"],
            ["ingest", "sim/events.jsonl"],
            ["train", "--once"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "recsys", *command], cwd=folder, capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"recsys {command[0]}: {done.stderr[-2000:]}")
        config = load(Path(folder) / "recsys.toml")
        with EmbeddedRedis(config.redis.folder):
            yield config
