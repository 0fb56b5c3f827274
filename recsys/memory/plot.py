"""AUC against memory: a point a setting, a line for all that vary the same thing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator
from matplotlib.transforms import Bbox

from recsys.memory.report import MIB
from recsys.memory.result import Point, Result
from recsys.svg import GRID, INK, MUTED, svg

COLOURS = ("#1f6fb4", "#c2571a", "#2a8a4a", "#8a4fb0", "#9a7412", "#b33a5e", "#4a5a6a")
MARGIN = 2
"""Standard deviations between seeds that the grey band spans on both sides."""
_PLACES = ((7, 0, "left", "center"), (0, 7, "center", "bottom"), (0, -7, "center", "top"), (-7, 0, "right", "center"))


def auc_against_memory(result: Result) -> str:
    """Means of the seeds; bars are the 95 % interval of the difference to the unbounded store."""

    def draw(axes: Axes) -> None:
        _unbounded(axes, result)
        families: dict[str, list[Point]] = {}
        labels = [(result.points[0], result.points[0].name, INK)]
        for point in result.points[1:]:
            families.setdefault(point.family, []).append(point)
        for colour, (family, points) in zip(cycle(COLOURS), families.items(), strict=False):
            _line(axes, points, colour)
            labels += _labels(family, points, colour)
        _memory_axis(axes)
        axes.set_ylabel("AUC")
        _place(axes, labels)

    return svg(draw, (9.6, 5.4))


def _unbounded(axes: Axes, result: Result) -> None:
    """The reference, and how far from it another seed may be."""
    reference = result.points[0]
    if reference.auc is None:
        return
    axes.axhline(reference.auc, color=MUTED, lw=0.8, ls=(0, (2, 3)))
    spread = MARGIN * (result.gain_deviation or 0)
    axes.axhspan(reference.auc - spread, reference.auc + spread, color=GRID, alpha=0.7, lw=0)
    axes.plot(reference.most_bytes / MIB, reference.auc, "D", color=INK, ms=7, zorder=4)


def _line(axes: Axes, points: list[Point], colour: str) -> None:
    chosen = sorted((p for p in points if p.auc is not None), key=lambda point: point.most_bytes)
    mib, auc = [p.most_bytes / MIB for p in chosen], [p.auc or 0.0 for p in chosen]
    axes.errorbar(mib, auc, yerr=_bars(chosen), fmt="o-", color=colour, ms=6, lw=1.6, elinewidth=1.1, capsize=2.5)


def _bars(points: list[Point]) -> tuple[list[float], list[float]]:
    gains = [(p.gain.auc or 0.0, p.gain.low, p.gain.high) for p in points]
    below = [0.0 if low is None else auc - low for auc, low, _ in gains]
    return below, [0.0 if high is None else high - auc for auc, _, high in gains]


def _memory_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda mib, _: f"{mib:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.margins(x=0.1, y=0.08)
    axes.set_xlabel("MiB of the embedding store at its largest")


Label = tuple[Point, str, str]


def _labels(family: str, points: list[Point], colour: str) -> Iterator[Label]:
    """The value at each point, and at the smallest what is varied."""
    smallest = min(points, key=lambda point: point.most_bytes)
    for point in points:
        value = " ".join(part.partition("=")[2] for part in point.name.split())
        yield point, f"{family} {value}" if point is smallest else value, colour


def _place(axes: Axes, labels: list[Label]) -> None:
    """Beside its point, where no other label or point is."""
    axes.get_figure(root=True).draw_without_rendering()
    spots = [(p.most_bytes / MIB, p.auc) for p, _, _ in labels if p.auc is not None]
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in axes.transData.transform(spots)]
    for point, text, colour in labels:
        if point.auc is None or math.isnan(point.auc):
            continue
        spot = (point.most_bytes / MIB, point.auc)
        tried = [_beside(axes, spot, text, colour, place) for place in _PLACES]
        free = [note for note in tried if not _hidden(axes, note, taken)] or tried
        for note in tried:
            if note is not free[0]:
                note.remove()
        taken.append(free[0].get_window_extent())


def _beside(
    axes: Axes, spot: tuple[float, float], text: str, colour: str, place: tuple[int, int, str, str]
) -> Annotation:
    right, up, horizontal, vertical = place
    return axes.annotate(
        text, spot, (right, up), textcoords="offset points", ha=horizontal, va=vertical, color=colour, fontsize=9
    )


def _hidden(axes: Axes, note: Annotation, taken: list[Bbox]) -> bool:
    box = note.get_window_extent()
    inside = axes.get_window_extent()
    return box.x0 < inside.x0 or box.x1 > inside.x1 or any(box.overlaps(other) for other in taken)
