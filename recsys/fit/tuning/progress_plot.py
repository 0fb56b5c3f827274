"""How the best figure of each model fell with the trials, as SVG text."""

from __future__ import annotations

import math
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from recsys.evaluation.metrics import METRICS
from recsys.evaluation.svg import svg
from recsys.fit.tuning.tune_result import TuneResult


def progress_plot(result: TuneResult) -> str:
    """A point for each trial, and a line through the best ones so far; a colour for each model."""
    better = max if result.metric == "auc" else min

    def draw(axes: Axes) -> None:
        for model, trials in result.trials.items():
            figures = [math.nan if trial.figure is None else trial.figure for trial in trials]
            numbers = range(1, len(figures) + 1)
            (points,) = axes.plot(numbers, figures, "o", alpha=0.4)
            best = accumulate(figures, lambda one, other: other if math.isnan(one) else better(one, other))
            axes.plot(numbers, list(best), label=model, color=points.get_color())
        axes.set(xlabel="trial", title=f"{METRICS[result.metric].title} of the validation part")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=9)

    return svg(draw, (7.2, 3.6))
