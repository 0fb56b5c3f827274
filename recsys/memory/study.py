"""A log replayed with one setting of the embedding store after the other, all else alike.

Shape suffixes: W windows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from embedding.local import LocalStore
from recsys import build
from recsys.config import Config
from recsys.memory.result import Point, Result, Run
from recsys.memory.setting import Setting, unbounded, usual, with_sections
from recsys.replay.arms import online
from recsys.replay.figures import figures, gain, window_auc
from recsys.replay.judge import online_stage, settings_of
from recsys.replay.run import Progress, Replay
from streaming.log import EventLog

Report = Callable[[str, Progress], None]
"""Told the setting with its seed, and how far its replay is."""


def _quiet(_name: str, _progress: Progress) -> None:
    pass


class SizedStore(LocalStore):
    """Notes its size whenever it is about to be swept, which a learner does each hour of event time."""

    most_bytes = 0

    def bytes(self) -> int:
        return sum(self.counters(table)["bytes"] for table in self.tables)

    def expire(self, now: int) -> int:
        self.most_bytes = max(self.most_bytes, self.bytes())
        return super().expire(now)


class Study:
    """Replays settings on the online stage from `batch_until` to `until`, one arm that syncs by `sync`.

    Raises ValueError where there is nothing to judge.
    """

    def __init__(self, config: Config, log: EventLog, batch_until: int, sync: str, until: int | None = None) -> None:
        self.config, self.log, self.batch_until, self.sync = config, log, batch_until, sync
        self._stage = online_stage(config, log, batch_until, until)
        self._live = {table.name: 0 for table in build.tables(config)}
        self._runs: dict[Setting, list[Run]] = {}
        self._known: dict[tuple[str, int], Run] = {}

    def resume(self, earlier: Result) -> int:
        """Take over an earlier result's replays, if log, configuration and stage are the same. Returns how many."""
        mine = (self.batch_until, self._stage.end, self.sync, self._counts(), settings_of(self.config))
        if mine != (earlier.batch_until, earlier.until, earlier.sync, earlier.counts, earlier.config):
            return 0
        self._known = {(point.name, run.seed): run for point in earlier.points for run in point.runs}
        return len(self._known)

    def results(self, settings: Sequence[Setting] = (), seeds: int = 2, report: Report = _quiet) -> Iterator[Result]:
        """What is known after each replay, the unbounded store's being first.

        All settings are replayed with the configured seed, then with the next, and so on; what was taken over is there
        before. Without settings it tries the `usual` ones on the table that takes most memory.
        """
        first = self.config.training.seed
        yield self._with(unbounded, first, report)
        settings = list(dict.fromkeys(settings)) or usual(self._largest())
        self._runs |= {setting: [] for setting in settings}
        every = [(setting, seed) for seed in range(first, first + seeds) for setting in (unbounded, *settings)]
        for setting, seed in sorted(every[1:], key=lambda one: (one[0].name, one[1]) not in self._known):
            yield self._with(setting, seed, report)

    def _with(self, setting: Setting, seed: int, report: Report) -> Result:
        run = self._known.get((setting.name, seed)) or self._replay(setting, seed, report)
        self._runs.setdefault(setting, []).append(run)
        if setting == unbounded and len(self._runs[setting]) == 1:
            _check_unbounded(run)
            self._live = {name: counters["live"] for name, counters in run.tables.items()}
        return self._result()

    def _replay(self, setting: Setting, seed: int, report: Report) -> Run:
        config = with_sections(self.config, setting.sections(self.config, self._live), seed)
        rows, end = self._stage.rows, self._stage.end
        store = SizedStore(build.tables(config), seed=seed)
        arm = online(self.sync, self.batch_until, rows.times_R)
        replay = Replay(build.learner(config, store), build.feed(config, self.log), rows, [arm])
        (scored,) = replay.run(end, lambda progress: report(f"{setting.name}, seed {seed}", progress))
        return Run(
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

    def _largest(self) -> str:
        tables = self._runs[unbounded][0].tables
        return max(tables, key=lambda name: tables[name]["bytes"])

    def _result(self) -> Result:
        points = [self._point(setting, runs) for setting, runs in self._runs.items() if runs]
        return Result(
            batch_until=self.batch_until,
            until=self._stage.end,
            sync=self.sync,
            counts=self._counts(),
            config=settings_of(self.config),
            points=points,
            seed_deviation=deviation([_auc_of(point.runs) for point in points]),
            gain_deviation=deviation([_over(point.runs, points[0].runs) for point in points[1:]]),
        )

    def _counts(self) -> dict[str, int]:
        rows = self._stage.rows
        counts = {"rows_scored": len(rows), "positives_scored": int(rows.labels_R.sum())}
        return {"items_shown": self._stage.shown} | counts | self._stage.lost

    def _point(self, setting: Setting, runs: Sequence[Run]) -> Point:
        base = self._runs[unbounded][: len(runs)]
        sections = setting.sections(self.config, self._live)
        told = {name: section.model_dump(mode="json") for name, section in sections.items()}
        over = gain(unbounded.name, _windows(runs), _windows(base))
        return Point(setting.name, setting.family, told, list(runs), over)


def deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation within groups, pooled; None where no group has two members.

    >>> deviation([[0.70, 0.72], [0.5], [0.61, 0.61]])
    0.01
    """
    squares = sum(float(np.var(group)) * len(group) for group in groups if len(group) > 1)
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    return round(math.sqrt(squares / freedom), 6) if freedom else None


def _windows(runs: Sequence[Run]) -> npt.NDArray[np.float64]:
    auc_SW = np.array([run.window_auc for run in runs], np.float64)
    return np.asarray(auc_SW.mean(0))


def _auc_of(runs: Sequence[Run]) -> list[float]:
    return [run.scored.auc for run in runs if run.scored.auc is not None]


def _over(runs: Sequence[Run], base: Sequence[Run]) -> list[float]:
    pairs = zip(_auc_of(runs), _auc_of(base), strict=False)
    return [auc - reference for auc, reference in pairs]


def _check_unbounded(run: Run) -> None:
    """Raises ValueError where the reference itself is bounded."""
    for name, counters in run.tables.items():
        if counters["evicted"] or counters["refused"]:
            raise ValueError(
                f"the log has more ids than table {name} may hold, so there is nothing unbounded to compare with: "
                f"raise features.tables.{name}.capacity (memory is taken as ids come)"
            )
