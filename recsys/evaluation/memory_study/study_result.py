"""The result file of a study: plain data, the same bytes for the same log, configuration and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from recsys.evaluation.replay.replay_result import Figure, Figures, Gain
from recsys.evaluation.result_file import ResultFile

MIB = 1 << 20


class MeasuredReplay(msgspec.Struct, frozen=True):
    """One replay. `tables` are the store's counters at its end, `bytes` is the sum of theirs.

    `most_bytes` is the maximum of hourly samples (event time). `window_auc` has a figure for each of up to 96
    windows of equally many rows.
    """

    seed: int
    scored: Figures
    window_auc: list[Figure]
    bytes: int
    most_bytes: int
    tables: dict[str, dict[str, int]]
    scores_sha256: str

    def total(self, counter: str) -> int:
        """A counter's sum over all tables."""
        return sum(table[counter] for table in self.tables.values())


class MeasuredSetting(msgspec.Struct, frozen=True):
    """A setting and its runs, one per seed. `family` names what varies, `settings` has the settings of each table.

    `gain` is the AUC over the unbounded store's with the same seeds, by windows (the mean of the seeds).
    """

    name: str
    family: str
    settings: dict[str, dict[str, Any]]
    runs: list[MeasuredReplay]
    gain: Gain

    @property
    def auc(self) -> Figure:
        """Mean of the seeds."""
        return mean([run.scored["auc"] for run in self.runs])

    @property
    def log_loss(self) -> Figure:
        """Mean of the seeds."""
        return mean([run.scored["log_loss"] for run in self.runs])

    @property
    def most_bytes(self) -> float:
        """Mean of the seeds."""
        return mean([run.most_bytes for run in self.runs]) or 0.0


class StudyResult(ResultFile, frozen=True):
    """What a study found. Times are event times in ms. The first point is the unbounded store.

    `seed_deviation` is the standard deviation of a point's AUC between seeds, pooled over all points with several;
    `gain_deviation` that of its difference to the unbounded store with the same seed.
    """

    made_by = "recsys memory"
    batch_until: int
    until: int
    refresh: str
    counts: dict[str, int]
    config: dict[str, Any]
    points: list[MeasuredSetting]
    seed_deviation: Figure
    gain_deviation: Figure

    @property
    def chance(self) -> Figure:
        """A smaller gain may be due to the seed: two standard errors of the mean over the fewest seeds."""
        fewest = min(len(point.runs) for point in self.points)
        return None if self.gain_deviation is None else 2 * self.gain_deviation / math.sqrt(fewest)

    def point(self, name: str) -> MeasuredSetting:
        """Raises KeyError, which lists the names, if there is no such setting."""
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(f"no setting {name!r}; there are {[point.name for point in self.points]}")


def mean(values: Sequence[Figure]) -> Figure:
    """The mean of defined values; None if there are none.

    >>> mean([0.5, None, 0.7]), mean([None])
    (0.6, None)
    """
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
