"""What each field attends to, as a heat map."""

from __future__ import annotations

from matplotlib.axes import Axes

from recsys.evaluation.svg import svg
from recsys.fit.fit_result import FieldAttention

_WRITTEN = 12
"""Fields up to which each square has its figure."""


def attention_plot(attention: FieldAttention) -> str:
    """SVG text: a row for each field, whose squares sum to 1."""
    fields = range(len(attention.fields))

    def draw(axes: Axes) -> None:
        axes.imshow(attention.weights, cmap="Blues", vmin=0)
        axes.set_xticks(fields, attention.fields, rotation=45, ha="right")
        axes.set_yticks(fields, attention.fields)
        axes.set(xlabel="attends to", title="Attention between fields, mean over rows, layers and heads")
        axes.grid(visible=False)
        if len(fields) > _WRITTEN:
            return
        middle = max(map(max, attention.weights)) / 2
        for a, row in enumerate(attention.weights):
            for b, weight in enumerate(row):
                axes.text(
                    b, a, f"{weight:.2f}", ha="center", va="center", color="white" if weight > middle else "black"
                )

    side = 2.5 + 0.45 * len(fields)
    return svg(draw, (max(side, 5.5), side))
