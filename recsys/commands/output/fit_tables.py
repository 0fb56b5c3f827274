"""Tables of a fit and of an evaluation."""

from __future__ import annotations

from rich.table import Table

from recsys.evaluation.metrics import METRICS
from recsys.fit.fit_result import Evaluation, Figures, FitResult


def epochs_table(result: FitResult) -> Table:
    """A line for each epoch and task; the best epoch has a star."""
    metrics = [metric.title for metric in METRICS.values()]
    table = Table("epoch", "task", "rate", "training log loss", *metrics, title="Figures of the validation part")
    for number, epoch in enumerate(result.epochs):
        for task, figures in epoch.validation.items():
            name = f"{number + 1}{' *' if number == result.best else ''}"
            table.add_row(name, task, f"{epoch.rate:.3g}", f"{epoch.training_log_loss:.4f}", *cells(figures))
    return table


def evaluation_table(result: Evaluation) -> Table:
    """A line for each task."""
    metrics = [metric.title for metric in METRICS.values()]
    table = Table("task", "rows", "positives", *metrics, title=f"The {result.part} part, after {result.steps:,} steps")
    for task, figures in result.tasks.items():
        table.add_row(task, f"{figures['rows']:,}", f"{figures['positives']:,.0f}", *cells(figures))
    return table


def cells(figures: Figures) -> list[str]:
    """The figures of all metrics, in their order."""
    values = [(figures[name], metric.digits) for name, metric in METRICS.items()]
    return ["-" if value is None else f"{value:.{digits}f}" for value, digits in values]
