"""The next click on Globo.com news, asked while the log goes on: who finds it among 20 articles.

Protocol: clicks that follow another one of their session are asked for, in their order of time. A method knows all
clicks up to the last full five minutes, and of the reader those before, as servers do; it learns those five minutes
after they were asked. Articles that can be found are those clicked within a day (for towers: within their window), but
what the reader read before. A click hits if its article is among the 20 with the greatest scores: no negative is
sampled. Settings are chosen with seed 0 on a day before. Shape suffixes: Q queries, C candidates, K places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.datasets.event_batches import Ints
from recsys.datasets.globo import millis
from recsys.datasets.globo_sessions import Clicks, globo_sessions
from recsys.evaluation.result_file import check_settings
from recsys.retrieval_study.next_click.baselines import HISTORY, HOUR, NextClicks
from recsys.retrieval_study.next_click.click_towers import SETTINGS
from recsys.retrieval_study.next_click.next_click_methods import FROZEN, METHODS, SEEDED, TOWERS
from recsys.retrieval_study.next_click.next_click_result import Hour, NextClickResult, NextClickRow

REFRESH = 5 * 60 * 1000
PLACES = 20
OCTOBER = tuple(date(2017, 10, day) for day in range(9, 14))
DAY = 24 * HOUR
TEST, VALIDATION = "test", "validation"
Task = tuple[int, str, str]
"""Seed, method, and what is tried on the validation period; the latter is empty for a row of the table."""


@dataclass(frozen=True)
class Period:
    """Clicks to learn from, all before `start` (ms), and then to be asked for, one after the other."""

    clicks: Clicks
    start: int

    @cached_property
    def births(self) -> Ints:
        """See `Clicks.births`."""
        return self.clicks.births()

    @property
    def settings(self) -> dict[str, int]:
        first, last = (int(self.clicks.times_P[at]) for at in (0, -1))
        return {"from": first, "start": self.start, "until": last, "clicks": len(self.clicks.times_P)}


def globo_periods(path: Path) -> tuple[Period, Period]:
    """What is asked of the table, two days, and a day before it where settings are chosen; a day is learned before."""
    validation = Period(globo_sessions(path, OCTOBER[0], OCTOBER[2]), millis(OCTOBER[1], 0))
    return Period(globo_sessions(path, OCTOBER[1], OCTOBER[4]), millis(OCTOBER[2], 0)), validation


class NextClickStudy:
    """A row for each try, then one for each method and seed; a seed comes before the next."""

    def __init__(self, test: Period, validation: Period, seeds: int) -> None:
        self._periods, self._seeds = {TEST: test, VALIDATION: validation}, seeds

    @property
    def tasks(self) -> Sequence[Task]:
        tries = [(0, method, one) for method, tried in METHODS.items() if len(tried) > 1 for one in tried]
        first = [(0, method, "") for method in METHODS]
        return [*tries, *first, *((seed, method, "") for seed in range(1, self._seeds) for method in SEEDED)]

    def empty(self) -> NextClickResult:
        periods = {name: period.settings for name, period in self._periods.items()}
        return NextClickResult(settings={"towers": SETTINGS, "refresh_ms": REFRESH}, periods=periods)

    def rows(self, done: NextClickResult, doing: Callable[[str], None]) -> Iterator[NextClickRow]:
        """The rows that `done` has not. Raises InvalidValueError if it is of other settings or clicks."""
        check_settings((done.settings, done.periods), (self.empty().settings, self.empty().periods))
        rows = {_task(row): row for row in done.rows}
        for task in self.tasks:
            if task not in rows:
                seed, method, tried = task
                setting, period = tried or _chosen(rows, method), VALIDATION if tried else TEST
                doing(f"{method}, {f'trying {tried}' if tried else f'seed {seed}'}")
                clicks = self._periods[period]
                learner = METHODS[TOWERS if method == FROZEN else method][setting](clicks.clicks, seed)
                hours = asked(clicks, learner, frozen=method == FROZEN)
                rows[task] = NextClickRow(method=method, seed=seed, period=period, setting=setting, hours=tuple(hours))
                yield rows[task]


def asked(period: Period, method: NextClicks, *, frozen: bool = False) -> list[Hour]:
    """What `method` finds in each hour from the start, learning between; `frozen`: only before the start."""
    clicks, rows = period.clicks, period.clicks.rows
    method.learn(clicks.until(period.start))
    hours: dict[int, list[tuple[int, int, int, int]]] = {}
    for time in range(period.start, int(clicks.times_P[-1]) + 1, REFRESH):
        known, end = clicks.until(time), clicks.until(time + REFRESH)
        if not frozen and time > period.start:
            method.learn(known)
        rows_Q = rows[np.searchsorted(rows, known) : np.searchsorted(rows, end)]
        if len(rows_Q):
            hours.setdefault(time // HOUR * HOUR, []).append(_counts(period, method, rows_Q, time))
    return [Hour(hour, *np.sum(found, axis=0).tolist()) for hour, found in hours.items()]


def _counts(period: Period, method: NextClicks, rows_Q: Ints, time: int) -> tuple[int, int, int, int]:
    """Of the clicks that are asked for at a time: how many, and hits; the same of articles younger than an hour."""
    clicks = period.clicks
    items_C = np.unique(clicks.items_P[clicks.until(time - DAY) : clicks.until(time)])
    hit_Q = found(clicks, method, rows_Q, items_C)
    young_Q = period.births[clicks.items_P[rows_Q]] > time - HOUR
    return len(rows_Q), int(hit_Q.sum()), int(young_Q.sum()), int((hit_Q & young_Q).sum())


def found(clicks: Clicks, method: NextClicks, rows_Q: Ints, items_C: Ints) -> npt.NDArray[np.bool_]:
    """Whether the article of each click [Q] is among the first places; those that its reader read before are hidden."""
    scores_QC = np.array(method.scores(rows_Q, items_C), np.float32)
    before_QH = clicks.before(rows_Q, HISTORY)
    read_QH = np.where(before_QH >= 0, clicks.items_P[before_QH], -1)
    at_QH = np.minimum(np.searchsorted(items_C, read_QH), len(items_C) - 1)
    query, place = np.nonzero(items_C[at_QH] == read_QH)
    scores_QC[query, at_QH[query, place]] = -np.inf
    places = min(PLACES, len(items_C))
    first_QK = np.argpartition(-scores_QC, places - 1, axis=1)[:, :places]
    shown_QK = np.isfinite(np.take_along_axis(scores_QC, first_QK, 1))
    return np.asarray(((items_C[first_QK] == clicks.items_P[rows_Q][:, None]) & shown_QK).any(1))


def _task(row: NextClickRow) -> Task:
    return row.seed, row.method, row.setting if row.period == VALIDATION else ""


def _chosen(rows: dict[Task, NextClickRow], method: str) -> str:
    """The setting of a method that was best on the validation period; the first of equal ones."""
    tried = METHODS[TOWERS if method == FROZEN else method]
    of = TOWERS if method == FROZEN else method
    if len(tried) == 1:
        return next(iter(tried))
    return max(tried, key=lambda one: rows[0, of, one].recall)
