"""Replay of a configuration on a log: how good the model would have been, had it been live.

Shape suffixes: R rows, I impressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.evaluation.replay.arms import frozen, online
from recsys.evaluation.replay.figures import arm_results, windows
from recsys.evaluation.replay.result import Result
from recsys.evaluation.replay.run import Progress, Replay
from recsys.evaluation.replay.scored_rows import ScoredRows, outcomes
from recsys.unlearned import LOST, REMEDY, not_learned
from streaming.events.columns import IMPRESSION
from streaming.log.event_log import EventLog, read_range

SETTINGS = {"features", "model", "training"}
PLACES = {"threads", "checkpoints", "checkpoint_every", "keep", "export_every"}
"""Settings of training that say where and how, and don't belong into a result."""


def judge(
    config: Config,
    log: EventLog,
    *,
    batch_until: int,
    syncs: Sequence[str],
    until: int | None = None,
    report: Callable[[Progress], None] = lambda _progress: None,
) -> Result:
    """Train on everything before `batch_until`, then judge the frozen weights and one online arm per rule in `syncs`.

    `batch_until` and `until` (exclusive; the end of the log by default) are event times in ms. A sync rule is an
    interval (`1h`) or a number of parts with equal rows (`50 shards`). The same log, configuration and rules give the
    same result, byte for byte. Raises ValueError where there is nothing to judge.
    """
    stage = online_stage(config, log, batch_until, until)
    rows, end = stage.rows, stage.end
    arms = [frozen(batch_until), *(online(sync, batch_until, rows.times_R) for sync in syncs)]
    replay = Replay(wiring.learner(config), wiring.feed(config, log), rows, arms)
    scored = replay.run(end, report)
    if not replay.trained:
        raise InvalidValueError(_unlearned(config, stage.lost))
    return Result(
        batch_until=batch_until,
        until=end,
        counts={
            "items_shown": stage.shown,
            "examples_learned": replay.trained,
            "rows_scored": len(rows),
            "positives_scored": int(rows.labels_R.sum()),
        }
        | stage.lost,
        config=settings_of(config),
        windows=windows(rows),
        arms=arm_results(rows, scored),
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """What is judged: the rows from the end of the batch stage up to `end` (exclusive, ms)."""

    rows: ScoredRows
    end: int
    shown: int
    """Items shown in the whole log."""
    lost: dict[str, int]
    """Events of the whole log that nothing could be learned from, and what rows were made without, by reason."""


def online_stage(config: Config, log: EventLog, batch_until: int, until: int | None = None) -> Stage:
    """The rows to score; tables and model of the configuration have no part in them.

    Raises ValueError where there is nothing to judge.
    """
    shown_R = shown_times(log)
    end = until if until is not None else int(shown_R[-1]) + 1 if len(shown_R) else batch_until
    feed = wiring.feed(config, log)
    rows = ScoredRows(outcomes(feed), batch_until, end)
    if not len(rows) or batch_until <= shown_R[0]:
        raise InvalidValueError(_nothing(shown_R, batch_until, end))
    lost = {name: feed.joiner.counts[name] for name in LOST}
    impaired = {name: count for name, count in feed.losses.items() if count}
    return Stage(rows, end, len(shown_R), lost | impaired)


def shown_times(log: EventLog) -> npt.NDArray[np.int64]:
    """Times of all impressions in the log, one per shown item, rising.

    Reads the whole log, but only two of its columns.
    """
    times = [np.zeros(0, np.int64)]
    for partition, (offset, end) in enumerate(zip(log.begin(), log.end(), strict=True)):
        times += [_shown_times(chunk.events) for chunk in read_range(log, partition, offset, end)]
    return np.sort(np.concatenate(times))


def share_of(shown_R: npt.NDArray[np.int64], share: float) -> int:
    """The event time (ms) before which this share of the shown items lies.

    >>> share_of(np.array([10, 20, 30, 40, 50]), 0.8)
    50
    """
    check_share(share)
    if not len(shown_R):
        raise InvalidValueError("the log has no impressions: ingest some first")
    return int(shown_R[int(share * len(shown_R))])


def check_share(share: float) -> None:
    """Raises ValueError for what is no share of a log, or all of it."""
    if not 0 < share < 1:
        raise InvalidValueError(f"a share is between 0 and 1, such as 0.8, got {share}")


def _shown_times(events: pa.RecordBatch) -> npt.NDArray[np.int64]:
    impressions = events.filter(pc.equal(events["kind"], IMPRESSION))
    lengths_I = pc.fill_null(pc.list_value_length(impressions["items"]), 0).to_numpy(zero_copy_only=False)
    times_R: npt.NDArray[np.int64] = np.repeat(impressions["time"].to_numpy(), lengths_I)
    return times_R


def settings_of(config: Config) -> dict[str, Any]:
    """What of a configuration a result depends on."""
    settings = config.model_dump(mode="json", include=SETTINGS)
    settings["training"] = {name: value for name, value in settings["training"].items() if name not in PLACES}
    return settings


def _nothing(shown_R: npt.NDArray[np.int64], start: int, end: int) -> str:
    if not len(shown_R):
        return "the log has no impressions, so there is nothing to judge: ingest some first"
    first, last = (_iso(int(time)) for time in (shown_R[0], shown_R[-1]))
    if start <= shown_R[0]:
        problem = f"--batch-until {_iso(start)} is not after the first impression: there would be no batch stage"
    else:
        problem = f"no impression from --batch-until {_iso(start)} up to --until {_iso(end)}"
    return f"{problem}; the log's are from {first} to {last}: let the batch stage end between these"


def _unlearned(config: Config, lost: Mapping[str, int]) -> str:
    """Why nothing was learned, as far as the counts tell."""
    if words := not_learned(lost):
        return f"no example was learned. Not learned from, in the whole log: {words}: {REMEDY}"
    return (
        f"no example was learned: before the last sync not even one batch of {config.training.batch_size} labels was "
        "known. Let --batch-until be later, sync more often, or make training.batch_size or training.wait smaller"
    )


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="seconds")
