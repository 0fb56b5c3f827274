"""What ranking for tomorrow costs today: clicks against returns on Globo.com news, by the weights of two tasks.

One model learns the click and, as a second task with a wait of two days, whether who clicked is back on the next day.
It learns once, in order, all labels that are known when the last day begins; the lists of that day are then ordered by
click + w * return for several w. The idea of two rewards is DT4IER's (Liu et al., SIGIR 2024, arXiv 2404.03637).

Shape suffixes: R shown items, L lists, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.datasets.globo import CONTEXT
from recsys.datasets.globo_returns import RETURN
from recsys.evaluation.result_file import check_settings
from recsys.fit.parts import read_rows
from recsys.fit.studies.returns_result import CurvePoint, ReturnsResult, ReturnsRow
from recsys.training.learner import Learner
from serving.ranking.task_score import TaskScore
from streaming.encode.batch import TrainingBatch
from streaming.encode.row_keys import impression_numbers, shown_items
from streaming.log.memory_log import MemoryLog

TASKS = ("click", RETURN)
SCORES: dict[str, Mapping[str, float]] = {
    "click": {"click": 1.0},
    **{f"click + {weight:g} return": {"click": 1.0, RETURN: weight} for weight in (0.3, 1, 3, 10)},
    "return": {RETURN: 1.0},
}
_REQUEST = "".join(f'  {{ name = "{name}", source = "request.{name}" }},\n' for name in CONTEXT)
SETTINGS = f"""
[features]
fields = [
  {{ name = "user", source = "user" }},
  {{ name = "item", source = "item" }},
{_REQUEST}  {{ name = "hour", source = "time.hour" }},
]
[model]
name = "fm"
[training]
wait = "1s"
lateness = "0s"
labels = "held"
batch_size = 256
seed = 0
[[tasks]]
name = "{RETURN}"
actions = ["{RETURN}"]
wait = "2d"
"""


@dataclass(frozen=True, slots=True)
class JudgedDays:
    """Events of lists that are learned from, and of those from `start` (ms) on, which are judged."""

    events: pa.Table
    start: int
    named: dict[str, str]


class ReturnsStudy:
    """A row for each seed."""

    def __init__(self, period: JudgedDays, seeds: int, settings: str = SETTINGS) -> None:
        self._period, self._settings = period, settings
        self.tasks: Sequence[int] = range(seeds)

    def empty(self) -> ReturnsResult:
        return ReturnsResult(settings=self._settings, period=self._period.named)

    def rows(self, done: ReturnsResult, doing: Callable[[str], None]) -> Iterator[ReturnsRow]:
        """The rows that `done` has not. Raises InvalidValueError if it is of other settings."""
        check_settings((done.settings, done.period), (self._settings, self._period.named))
        log, left = MemoryLog(), [seed for seed in self.tasks if seed not in {row.seed for row in done.rows}]
        for batch in self._period.events.to_batches(max_chunksize=16_384):
            log.append(batch)
        judged: _Lists | None = None
        for seed in left:
            doing(f"seed {seed}")
            config = _config(self._settings, seed)
            learner = wiring.learner(config)
            for rows in wiring.feed(config, log).poll(until=self._period.start):
                learner.step(rows)
            judged = judged or _Lists.of(read_rows(config, log), self._period.start)
            yield ReturnsRow(seed=seed, lists=len(judged.labels_LAT), points=tuple(judged.points(learner)))


@dataclass(frozen=True, slots=True)
class _Lists:
    """Lists of two articles: their rows of each task, and the labels [L, A, T] of articles A."""

    rows_T: list[TrainingBatch]
    labels_LAT: npt.NDArray[np.float32]

    @staticmethod
    def of(rows: TrainingBatch, start: int) -> _Lists:
        """Those that were shown from `start` (ms) on."""
        shown = rows.take(np.flatnonzero(rows.times_B >= start))
        of_task = [shown.take(np.flatnonzero(shown.tasks_B == task)) for task in range(len(TASKS))]
        ordered = [each.take(np.argsort(shown_items(each.keys_B))) for each in of_task]
        first, *others = (shown_items(each.keys_B) for each in ordered)
        assert all(np.array_equal(first, other) for other in others), "a shown item has a label of each task"
        lists = impression_numbers(first)
        assert np.array_equal(lists[::2], lists[1::2]), "a list has two articles"
        labels_RT = np.stack([each.labels_B for each in ordered], 1)
        return _Lists(ordered, labels_RT.reshape(-1, 2, len(TASKS)))

    def points(self, learner: Learner) -> Iterator[CurvePoint]:
        """What is first by each score."""
        found_RT = np.stack([_scored(learner, rows) for rows in self.rows_T], 1)
        for name, weights in SCORES.items():
            scores_LA = TaskScore(weights).of(found_RT, TASKS).reshape(-1, 2)
            first_L = scores_LA.argmax(1)
            labels_LT = self.labels_LAT[np.arange(len(first_L)), first_L]
            clicks, returns = labels_LT.mean(0).tolist()
            yield CurvePoint(by=name, clicks=round(clicks, 6), returns=round(returns, 6))


def _scored(learner: Learner, rows: TrainingBatch) -> npt.NDArray[np.float32]:
    return np.concatenate([learner.score(part) for part in rows.cut(8192)])


def _config(settings: str, seed: int) -> Config:
    return parse(settings.replace("seed = 0", f"seed = {seed}"), Path("recsys.toml"))
