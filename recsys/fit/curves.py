"""The curves of a fit as SVG text."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from recsys.evaluation.svg import INK, MUTED, figure
from recsys.fit.fit_result import FitResult

_COLOURS = ("#1f6fb2", "#c2571a", "#3b8f5a", "#7a5195")


def curves(result: FitResult) -> str:
    """Log loss of training and validation, and AUC of validation, by epoch; a line at the best one."""

    def draw(canvas: Canvas) -> None:
        losses, areas = canvas.subplots(1, 2)
        numbers = range(1, len(result.epochs) + 1)
        losses.plot(numbers, [epoch.training_log_loss for epoch in result.epochs], "o-", color=MUTED, label="training")
        for axes, metric, title in ((losses, "log_loss", "log loss"), (areas, "auc", "AUC of the validation part")):
            _of_tasks(axes, result, metric)
            axes.set(xlabel="epoch", title=title)
            axes.axvline(result.best + 1, color=INK, lw=0.8, ls=(0, (2, 3)))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(fontsize=9)

    return figure(draw, (9.6, 3.6))


def _of_tasks(axes: Axes, result: FitResult, metric: str) -> None:
    numbers = range(1, len(result.epochs) + 1)
    tasks = list(result.epochs[0].validation)
    for number, task in enumerate(tasks):
        values = [epoch.validation[task][metric] for epoch in result.epochs]
        known = [math.nan if value is None else value for value in values]
        label = "validation" if len(tasks) == 1 else f"validation, {task}"
        axes.plot(numbers, known, "o-", color=_COLOURS[number % len(_COLOURS)], label=label)
