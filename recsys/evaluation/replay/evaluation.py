"""Replay of a configuration on a log: how good the model would have been, had it been live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.evaluation.replay.arm_figures import arm_results, windows
from recsys.evaluation.replay.arms import frozen, online
from recsys.evaluation.replay.learned_batches import BatchFeed, kept_run, read_once
from recsys.evaluation.replay.online_stage import OnlineStage, Share, online_stage
from recsys.evaluation.replay.orders import Rule, orders
from recsys.evaluation.replay.replay_result import ReplayResult, TaskResult
from recsys.evaluation.replay.scored_rows import ScoredRows
from recsys.evaluation.replay.training_pass import Replay, ReplayProgress, Scored
from recsys.evaluation.result_settings import settings_of
from recsys.off_policy.policies import policy
from recsys.unlearned import REMEDY, not_learned
from serving.ranking.task_score import TaskScore
from streaming.log.event_log import EventLog


def evaluate(
    config: Config,
    log: EventLog,
    *,
    batch_until: int | Share,
    refreshes: Sequence[str],
    until: int | None = None,
    batches: Path | None = None,
    report: Callable[[ReplayProgress], None] = lambda _progress: None,
) -> ReplayResult:
    """Train on everything before `batch_until`, then evaluate the frozen weights and one online arm per refresh rule.

    `batch_until` and `until` (exclusive; the end of the log by default) are event times in ms; `batch_until` may be a
    share of the shown items. A refresh rule is an interval (`1h`) or a number of time slices with equally many rows
    (`50 slices`). The same log, configuration and rules give the same result, byte for byte. `batches` is a folder of
    what a trainer kept of a run, which is read in place of the log. Raises InvalidValueError if there is nothing to
    evaluate.
    """
    with read_once(config, log) if batches is None else nullcontext(kept_run(config, batches)) as learned:
        stage = online_stage(learned, 1 + len(config.tasks), batch_until, until)
        start = stage.start
        arms = [frozen(start), *(online(refresh, start, stage.rows.times_R) for refresh in refreshes)]
        replay = Replay(wiring.learner(config.without_retrieval()), BatchFeed(learned), stage.rows, arms)
        scored = replay.run(stage.end, report)
    if not replay.trained:
        raise InvalidValueError(_unlearned(config, stage.lost))
    return _result(config, stage, replay.trained, scored)


def _result(config: Config, stage: OnlineStage, trained: int, scored: Sequence[Scored]) -> ReplayResult:
    rows, names = stage.rows, [task.name for task in wiring.tasks(config)]
    judged = orders(rows, scored, _rule(config, names))
    first, *further = [_of_task(rows, scored, task) for task in range(len(names))]
    return ReplayResult(
        batch_until=stage.start,
        until=stage.end,
        counts={
            "items_shown": stage.shown,
            "examples_learned": trained,
            "rows_scored": len(rows),
            "positives_scored": int(rows.labels_R.sum()),
        }
        | stage.lost,
        config=settings_of(config),
        windows=first.windows,
        arms=first.arms,
        tasks=dict(zip(names[1:], further, strict=True)) or msgspec.UNSET,
        orders=judged or msgspec.UNSET,
    )


def _rule(config: Config, tasks: Sequence[str]) -> Rule:
    """How a server of this configuration orders."""
    users = [field.name for field in config.features.fields if field.source == "user"]
    order = policy(config.serving.exploration, config.serving.temperature, config.serving.epsilon)
    return Rule(tasks, TaskScore(config.serving.score), order, users[0] if users else None)


def _of_task(rows: ScoredRows, scored: Sequence[Scored], task: int) -> TaskResult:
    """The figures of one task, from the rows and scores of all."""
    own, places_R = rows.of_task(task), rows.places(task)
    return TaskResult(windows(own), arm_results(own, [one.take(places_R) for one in scored]))


def _unlearned(config: Config, lost: Mapping[str, int]) -> str:
    """Why nothing was learned, as far as the counts show."""
    if words := not_learned(lost, 1 + len(config.tasks)):
        return f"no example was learned. Not learned from, in the whole log: {words}: {REMEDY}"
    return (
        f"no example was learned: not even one batch of {config.training.batch_size} labels was known before the last "
        "refresh. Choose a later end of the batch stage, refresh more often, or lower training.batch_size or "
        "training.wait"
    )
