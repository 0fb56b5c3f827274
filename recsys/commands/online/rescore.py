"""`recsys rescore`: score what was shown again, and compare with what servers have logged."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import redis
from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys import wiring
from recsys.commands.options.iso_time import parse_time
from recsys.commands.output.terminal import READING, plain_console
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import RedisServerError
from recsys.evaluation.rescored_lists import Outcome, PublishedModel, RescoredLists, Tally, explained
from serving.ranking.group_scores import GroupScores
from serving.ranking.task_score import TaskScore
from serving.replication.connection.redis_client import RedisClient
from serving.replication.shared_reads import served
from serving.replication.trainer_status import rows_changed
from streaming.events.schema import Impression
from streaming.log.event_log import read_partitions


def run(path: Path, *, since: str | None, as_json: bool) -> None:
    """Print how many lists came out the same, and why others did not. Exits with 1 if that is unexplained of any."""
    config = load(path)
    console = plain_console()
    with console.status(READING):
        tallies = rescored(config, parse_time(since, "--since") if since else 0)
    if as_json:
        by_outcome = {outcome: {"lists": one.lists, "largest": one.largest} for outcome, one in tallies.items()}
        console.out(msgspec.json.encode(by_outcome).decode(), highlight=False)
    else:
        console.print(_table(tallies))
    if "unexplained" in tallies:
        sys.exit(1)


def rescored(config: Config, since: int = 0) -> dict[Outcome, Tally]:
    """Of the lists since an event time (ms). Raises RedisServerError if Redis does not answer."""
    log = wiring.event_log(config)
    try:
        with wiring.running_redis(config), wiring.redis_client(config) as client:
            models = [
                PublishedModel(model, _changed(client, model.name)) for model in wiring.published_models(config, client)
            ]
            lists = RescoredLists(models, _scores(config), _now)
            for chunks in read_partitions(log):
                for chunk in chunks:
                    lists.take(chunk.events, since, chunk.partition)
            for one in models:
                if _changed(client, one.model.name) != one.changed:  # a trainer has published meanwhile
                    lists.changed(one.model.name)
            return lists.tallies
    except redis.RedisError as error:
        raise RedisServerError(f"Redis does not answer: {error}") from error
    finally:
        log.close()


def _changed(client: RedisClient, name: str) -> int | None:
    """When its rows changed last, see `PublishedModel.changed`."""
    return rows_changed(client, client.names.model(name, served(client, name) or ""))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _scores(config: Config) -> Callable[[Impression], TaskScore]:
    """What the arm of a list ranks by, or the group of its user."""
    serving = config.serving
    usual = GroupScores(TaskScore(serving.score), serving.score_by, serving.scores)
    own = {
        (experiment.name, arm.name): TaskScore(arm.score)
        for experiment in config.experiments
        for arm in experiment.arms
        if arm.score
    }
    return lambda shown: own.get((shown.experiment, shown.arm)) or usual.of(shown.features)


def _table(tallies: dict[Outcome, Tally]) -> Table:
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("scores, computed again", overflow="fold")
    for name in ("lists", "largest difference"):
        drawn.add_column(name, justify="right")
    drawn.add_column("such as", overflow="fold")
    for meaning, one in explained(tallies):
        drawn.add_row(meaning, f"{one.lists:,}", f"{one.largest:.2g}" if one.largest else "", one.example)
    return drawn
