"""What training reports of itself: validation over all and over recent rows, speed and lag."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from recsys.commands.output.training_progress import uninformed
from recsys.evaluation.progressive import Progressive
from recsys.training.progress import Progress
from streaming.encode.batch import Jagged, TrainingBatch


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def batch_of(
    rows: int, *, label: float | None = None, weight: float = 1.0, now: int = 0, task: int = 0
) -> TrainingBatch:
    """`rows` rows whose labels are all `label`, or else alternate between 0 and 1."""
    labels_B = (np.arange(rows) % 2 if label is None else np.full(rows, label)).astype(np.float32)
    return TrainingBatch(
        ids={"item": Jagged(np.arange(rows, dtype=np.uint64), np.ones(rows, np.int32))},
        numeric_BN=np.zeros((rows, 0), np.float32),
        labels_B=labels_B,
        counted_B=np.ones_like(labels_B),
        keys_B=np.arange(len(labels_B)),
        tasks_B=np.full(rows, task),
        weights_B=np.full(rows, weight, np.float32),
        propensities_B=np.ones(rows, np.float32),
        positions_B=np.zeros(rows, np.int32),
        times_B=np.full(rows, now, np.int64),
        now=now,
        cursor=(0,),
    )


def add(progress: Progress, batch: TrainingBatch, score: float = 0.5, *, events: int = 0, lag: int = 0) -> None:
    progress.add(batch, np.full(len(batch), score, np.float32), events=events, lag=lag)


def test_recent_forgets_rows_older_than_two_windows_and_total_none() -> None:
    progress = Progress(window=10, clock=Clock())
    add(progress, batch_of(10, label=1.0))
    assert (progress.recent().rows, progress.recent().positives) == (10, 10)
    add(progress, batch_of(6, label=0.0))
    assert (progress.recent().rows, progress.recent().positives) == (16, 10)
    add(progress, batch_of(6, label=0.0))  # fills the second window: the first is dropped
    assert (progress.recent().rows, progress.recent().positives) == (12, 0)
    add(progress, batch_of(3, label=0.0))
    assert progress.recent().rows == 15
    assert (progress.total().rows, progress.total().positives) == (25, 10)
    assert progress.rows == 25


def test_recent_has_the_figures_of_its_rows_alone() -> None:
    progress = Progress(window=10, clock=Clock())
    for _ in range(3):
        add(progress, batch_of(10), score=0.9)
    expected = Progressive(bins=1 << 12)
    for rows, score in ((10, 0.25), (5, 0.5)):
        batch = batch_of(rows)
        scores_B = np.where(batch.labels_B, score, 0.1).astype(np.float32)
        progress.add(batch, scores_B, events=0, lag=0)
        expected.add(batch.labels_B, scores_B)
    assert asdict(progress.recent()) == pytest.approx(asdict(expected.summary()))
    assert progress.recent().auc == pytest.approx(1.0)
    assert progress.total().auc < 0.9


def test_rows_count_by_their_weights() -> None:
    progress = Progress(window=10, clock=Clock())
    add(progress, batch_of(4, label=0.0, weight=3.0))
    add(progress, batch_of(2, label=1.0, weight=0.5))
    for summary in (progress.total(), progress.recent()):
        assert (summary.rows, summary.weight, summary.positives) == (6, 13, 1)


def test_rates_are_of_the_time_and_the_events_since_start() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    add(progress, batch_of(7), events=100, lag=50)
    clock.now += 1000
    progress.start(events=100)
    assert (progress.rows_per_second(), progress.events_per_second()) == (0, 0)
    clock.now += 4
    add(progress, batch_of(12), events=120, lag=30)
    add(progress, batch_of(8), events=140, lag=10)
    assert progress.rows_per_second() == 5
    assert progress.events_per_second() == 10
    assert progress.lag_events == 10
    clock.now += 4
    assert progress.rows_per_second() == 2.5
    assert progress.events_per_second() == 5


def test_now_is_the_newest_event_time() -> None:
    progress = Progress(clock=Clock())
    for now in (5, 9, 7):
        add(progress, batch_of(2, now=now))
    assert progress.now == 9


def test_a_restored_progress_goes_on_like_the_one_that_was_saved(tmp_path: Path) -> None:
    saved, restored = Progress(window=10, clock=Clock()), Progress(window=10, clock=Clock())
    for rows in (10, 6):
        add(saved, batch_of(rows, now=rows), score=0.3)
    saved.begin_save(tmp_path)()
    restored.load(tmp_path)
    assert (restored.rows, restored.now) == (16, 10)
    for _ in range(2):
        assert restored.total() == saved.total()
        assert restored.recent() == saved.recent()
        for progress in (saved, restored):
            add(progress, batch_of(5), score=0.6)
    assert restored.recent() == saved.recent()
    assert restored.recent().rows == 16  # 6 and 5 rows filled the window, 5 are in the next


def test_rates_after_a_restart_leave_out_the_rows_of_before(tmp_path: Path) -> None:
    saved, clock = Progress(clock=Clock()), Clock()
    add(saved, batch_of(1000), events=5000)
    saved.begin_save(tmp_path)()
    restored = Progress(clock=clock)
    restored.load(tmp_path)
    restored.start(events=5000)
    clock.now += 2
    add(restored, batch_of(10), events=5030)
    assert (restored.rows_per_second(), restored.events_per_second()) == (5, 15)


def test_a_save_holds_the_moment_at_which_it_began(tmp_path: Path) -> None:
    progress = Progress(window=10, clock=Clock())
    add(progress, batch_of(4, now=1))
    total, recent = progress.total(), progress.recent()
    write = progress.begin_save(tmp_path)
    add(progress, batch_of(12, now=2))
    write()
    restored = Progress(window=10, clock=Clock())
    restored.load(tmp_path)
    assert (restored.total(), restored.recent(), restored.now) == (total, recent, 1)


def test_each_task_has_figures_and_a_window_of_its_own(tmp_path: Path) -> None:
    def fresh() -> Progress:
        return Progress(window=10, clock=Clock(), tasks=("click", "buy"))

    progress = fresh()
    add(progress, batch_of(10, label=1.0), 0.9)
    add(progress, batch_of(4, label=0.0, task=1), 0.1)
    add(progress, batch_of(10, label=0.0), 0.9)
    found = {task: (progress.total(task).rows, progress.total(task).positives) for task in progress.tasks}
    assert found == {"click": (20, 10), "buy": (4, 0)}
    assert (progress.recent("click").rows, progress.recent("buy").rows, progress.rows) == (10, 4, 24)
    progress.begin_save(tmp_path)()
    restored = fresh()
    restored.load(tmp_path)
    for one in (progress, restored):
        add(one, batch_of(6, label=1.0, task=1), 0.1)  # fills the window of `buy`
        add(one, batch_of(1, label=1.0, task=1), 0.1)
    assert restored.recent("buy").rows == 11
    for task in progress.tasks:
        assert repr(restored.total(task)) == repr(progress.total(task))  # some figures are NaN
        assert repr(restored.recent(task)) == repr(progress.recent(task))
    assert repr(progress.total()) == repr(progress.total("click"))


def test_scores_that_say_less_than_the_mean_label_are_warned_of() -> None:
    progress = Progress(tasks=("click", "buy"))
    for task, score in enumerate((0.5, 0.9)):
        batch = batch_of(100, task=task)
        progress.add(batch, np.full(100, score, np.float32), events=0, lag=0)
    (warning,) = uninformed(progress)
    assert "Normalised entropy of recent rows of buy is 1.7" in warning
    assert "`recsys fit`" in warning
