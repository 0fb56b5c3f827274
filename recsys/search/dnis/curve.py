"""The curve of accuracy against size as SVG text."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from recsys.evaluation.svg import MUTED, figure
from recsys.search.dnis.dnis_result import DnisResult

_COLOURS = {"dnis": "#c2571a", "magnitude": "#1f6fb2", "tables": "#7a5195", "uniform": "#3b8f5a"}
_COLOURS |= {"mde": "#8a6d1f", "random": MUTED}


def curve(result: DnisResult) -> str:
    """AUC and log loss of the first task on the test part, a line for each method; dashed, the whole model."""
    task = next(iter(result.whole))

    def draw_one(axes: Axes, metric: str, title: str) -> None:
        axes.axhline(_value(result.whole[task][metric]), color=MUTED, lw=0.8, ls=(0, (2, 3)))
        for method, colour in _COLOURS.items():
            points = sorted((p for p in result.points if p.method == method), key=lambda point: point.values)
            sizes = [point.values / result.values for point in points]
            values = [_value(point.test[task][metric]) for point in points]
            axes.plot(sizes, values, "o-", color=colour, label=method, ms=4)
        axes.set(xscale="log", xlabel="share of the embedding values", title=title)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.3g}"))
        axes.legend(fontsize=9)

    def draw(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2)
        draw_one(left, "auc", "AUC")
        draw_one(right, "log_loss", "log loss")

    return figure(draw, (9.6, 3.8))


def _value(figure: float | None) -> float:
    return math.nan if figure is None else figure
