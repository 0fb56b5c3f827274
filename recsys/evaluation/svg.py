"""Plots as SVG text, without clock time or random ids: equal figures give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e4e8ed"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "recsys",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "text.color": INK,
}


def svg(draw: Callable[[Axes], None], inches: tuple[float, float]) -> str:
    """A drawing of this width and height, for a page as well as for a file."""
    return figure(lambda canvas: draw(canvas.add_subplot()), inches)


def figure(draw: Callable[[Canvas], None], inches: tuple[float, float]) -> str:
    """As `svg`, of several drawings."""
    with matplotlib.rc_context(_STYLE):
        canvas = Canvas(figsize=inches, layout="constrained")
        draw(canvas)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
