"""What the trainer reports of itself, as servers and the console show it."""

from __future__ import annotations

import math

from recsys.evaluation.metrics import Summary
from recsys.training.learner import Learner
from recsys.training.progress import Progress


def trainer_report(learner: Learner, progress: Progress) -> dict[str, object]:
    """Figures by name, or groups of figures: how far training is, how well it does, and what its tables hold.

    Of several workers, which share the tables, `workers` has the figures of each.
    """
    workers = learner.workers()
    return {
        "step": learner.steps,
        "event_time": progress.now,
        "lag_events": progress.lag_events,
        "events_per_second": progress.events_per_second(),
        "rows_per_second": progress.rows_per_second(),
        "rows": progress.rows,
        "tasks": {task: figures_of(progress.recent(task)) for task in progress.tasks},
        "left_out": learner.left_out,
        **learner.beside.report,
        **({"workers": workers} if workers else {}),
        "tables": {table: learner.store.counters(table) for table in learner.store.tables},
    }


def figures_of(summary: Summary) -> dict[str, float]:
    """Those that are defined."""
    figures = {
        "auc": summary.auc,
        "log_loss": summary.log_loss,
        "calibration": summary.calibration,
        "normalised_entropy": summary.normalised_entropy,
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}
