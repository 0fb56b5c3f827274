"""Replays of a log with different settings of the embedding store, all else equal.

Shape suffixes: W windows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from embedding.local.store import LocalStore
from recsys import wiring
from recsys.config.schema import Config
from recsys.config.sections.features import TableSection
from recsys.errors import InvalidValueError
from recsys.evaluation.memory_study.difference import differences
from recsys.evaluation.memory_study.setting import Setting, unbounded, usual, with_sections
from recsys.evaluation.memory_study.study_result import MeasuredReplay, MeasuredSetting, StudyResult
from recsys.evaluation.replay.arm_figures import figures, gain, window_auc
from recsys.evaluation.replay.arms import online
from recsys.evaluation.replay.learned_batches import read_once
from recsys.evaluation.replay.online_stage import Share, online_stage
from recsys.evaluation.replay.training_pass import Replay, ReplayProgress
from recsys.evaluation.result_settings import settings_of
from streaming.log.event_log import EventLog

Report = Callable[[str, ReplayProgress], None]
"""Called with the setting and seed, and the progress of their replay."""
SHOWN = 6
"""Most differences to another study listed in a message."""


def _quiet(_name: str, _progress: ReplayProgress) -> None:
    pass


class SizedStore(LocalStore):
    """A store that records its size before each sweep, which a learner starts every hour of event time."""

    most_bytes = 0

    def bytes(self) -> int:
        return sum(self.counters(table)["bytes"] for table in self.tables)

    def expire(self, now: int) -> int:
        self.most_bytes = max(self.most_bytes, self.bytes())
        return super().expire(now)


class MemoryStudy:
    """Replays settings on the online stage from `batch_until` to `until`, with one arm that refreshes by `refresh`.

    Raises InvalidValueError if there is nothing to evaluate.
    """

    def __init__(
        self, config: Config, log: EventLog, batch_until: int | Share, refresh: str, until: int | None = None
    ) -> None:
        self.config, self.log, self.refresh = config, log, refresh
        with read_once(config, log) as learned:
            self._stage = online_stage(learned, 1 + len(config.tasks), batch_until, until)
        self._rows = self._stage.rows.of_task(0)
        self._points: dict[str, MeasuredSetting] = {}

    def resume(self, earlier: StudyResult) -> None:
        """Keep all replays of an earlier result. Raises InvalidValueError, listing the
        differences, if it belongs to another study."""
        if found := differences(earlier, self._result()):
            more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise InvalidValueError(f"this result belongs to another study: {', '.join(found[:SHOWN])}{more}")
        self._points = {point.name: point for point in earlier.points}

    def missing(self, settings: Sequence[Setting] = (), seeds: int = 2) -> list[tuple[Setting, int]]:
        """The (setting, seed) pairs still to replay, in order.

        All are replayed with the configured seed, the unbounded store first, then with the next seed, and so on.
        Without settings the `usual` ones are tried on the table that takes most memory.
        """
        first = self.config.training.seed
        tried = (unbounded, *self._tried(settings))
        known = {setting: {run.seed for run in self._runs(setting)} for setting in tried}
        every = [(setting, seed) for seed in range(first, first + seeds) for setting in tried]
        return [(setting, seed) for setting, seed in every if seed not in known[setting]]

    def results(
        self, settings: Sequence[Setting] = (), seeds: int = 2, report: Report = _quiet
    ) -> Iterator[StudyResult]:
        """Yield the result so far: first that of earlier replays, if any, then after each of the `missing` ones.

        Points are in the order of `settings`; other known points follow.
        """
        if self._points:
            yield self._result(settings)
        while missing := self.missing(settings, seeds):
            setting, seed = missing[0]
            self._add(setting, self._replay(setting, seed, report))
            yield self._result(settings)

    def _add(self, setting: Setting, run: MeasuredReplay) -> None:
        if not self._points:
            _check_unbounded(run)
        runs = [*self._runs(setting), run]
        base = runs if setting == unbounded else self._runs(unbounded)[: len(runs)]
        tables = {name: section.model_dump(mode="json") for name, section in self._sections(setting).items()}
        over = gain(unbounded.name, _windows(runs), _windows(base))
        self._points[setting.name] = MeasuredSetting(setting.name, setting.family, tables, runs, over)

    def _replay(self, setting: Setting, seed: int, report: Report) -> MeasuredReplay:
        config = with_sections(self.config, self._sections(setting), seed)
        rows, end = self._rows, self._stage.end
        store = SizedStore(wiring.tables(config), seed=seed)
        arm = online(self.refresh, self._stage.start, rows.times_R)
        replay = Replay(wiring.learner(config.without_retrieval(), store), wiring.feed(config, self.log), rows, [arm])
        (scored,) = replay.run(end, lambda progress: report(f"{setting.name}, seed {seed}", progress))
        return MeasuredReplay(
            seed=seed,
            scored=figures(rows, scored.scores_R),
            window_auc=[
                None if math.isnan(auc) else round(auc, 6) for auc in window_auc(rows, scored.scores_R).tolist()
            ],
            bytes=store.bytes(),
            most_bytes=max(store.most_bytes, store.bytes()),
            tables={name: store.counters(name) for name in store.tables},
            scores_sha256=hashlib.sha256(scored.scores_R.tobytes()).hexdigest(),
        )

    def _sections(self, setting: Setting) -> dict[str, TableSection]:
        return setting.sections(self.config, self._of_unbounded("live"))

    def _tried(self, settings: Sequence[Setting]) -> list[Setting]:
        sizes = self._of_unbounded("bytes")
        return list(dict.fromkeys(settings)) or usual(max(sizes, key=sizes.__getitem__))

    def _of_unbounded(self, counter: str) -> dict[str, int]:
        """Live ids of each table after the first replay of the unbounded store; 0 before."""
        runs = self._runs(unbounded)
        names = [table.name for table in wiring.tables(self.config)]
        return {name: runs[0].tables[name][counter] if runs else 0 for name in names}

    def _runs(self, setting: Setting) -> list[MeasuredReplay]:
        known = self._points.get(setting.name)
        return known.runs if known else []

    def _result(self, settings: Sequence[Setting] = ()) -> StudyResult:
        tried = [unbounded, *self._tried(settings)]
        order = dict.fromkeys([*(setting.name for setting in tried), *self._points])
        points = [self._points[name] for name in order if name in self._points]
        return StudyResult(
            batch_until=self._stage.start,
            until=self._stage.end,
            refresh=self.refresh,
            counts=self._counts(),
            config=settings_of(self.config),
            points=points,
            seed_deviation=deviation([_auc_of(point.runs) for point in points]),
            gain_deviation=deviation([_over(point.runs, points[0].runs) for point in points[1:]]),
        )

    def _counts(self) -> dict[str, int]:
        rows = self._rows
        counts = {"rows_scored": len(rows), "positives_scored": int(rows.labels_R.sum())}
        return {"items_shown": self._stage.shown} | counts | self._stage.lost


def deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation within groups, pooled; None where no group has two members.

    >>> deviation([[0.70, 0.72], [0.5], [0.61, 0.61]])
    0.01
    """
    squares = sum(float(np.var(group)) * len(group) for group in groups if len(group) > 1)
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    return round(math.sqrt(squares / freedom), 6) if freedom else None


def _windows(runs: Sequence[MeasuredReplay]) -> npt.NDArray[np.float64]:
    auc_SW = np.array([run.window_auc for run in runs], np.float64)
    return np.asarray(auc_SW.mean(0))


def _auc_of(runs: Sequence[MeasuredReplay]) -> list[float]:
    return [auc for run in runs if (auc := run.scored["auc"]) is not None]


def _over(runs: Sequence[MeasuredReplay], base: Sequence[MeasuredReplay]) -> list[float]:
    pairs = zip(_auc_of(runs), _auc_of(base), strict=False)
    return [auc - reference for auc, reference in pairs]


def _check_unbounded(run: MeasuredReplay) -> None:
    """Raises InvalidValueError if the reference store is itself bounded."""
    for name, counters in run.tables.items():
        if counters["evicted"] or counters["refused"]:
            raise InvalidValueError(
                f"the log has more ids than table {name} can hold, so there is no unbounded store to compare with: "
                f"raise features.tables.{name}.capacity (memory grows with the ids, but for a count filter)"
            )
