"""AUC against memory: one point per setting; a line joins settings that vary the same thing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from recsys.evaluation.memory_study.study_result import MIB, MeasuredSetting, StudyResult
from recsys.evaluation.svg import GRID, INK, MUTED, svg

COLOURS = ("#1f6fb4", "#c2571a", "#2a8a4a", "#8a4fb0", "#9a7412", "#b33a5e", "#4a5a6a")
_NEAR = ((7, 0), (0, 7), (0, -7), (-7, 0))
_FAR = tuple((right, up) for far in (14, 24, 36, 50) for right in (far, -far, 0) for up in (far, -far))
"""Possible places of a label, as offsets in points; a line connects a distant label to its point."""


def auc_against_memory(result: StudyResult) -> str:
    """Points are means over seeds; bars are the 95 % interval of the difference to the unbounded store."""

    def draw(axes: Axes) -> None:
        _unbounded(axes, result)
        families: dict[str, list[MeasuredSetting]] = {}
        labels = [(result.points[0], result.points[0].name, INK)]
        for point in result.points[1:]:
            families.setdefault(point.family, []).append(point)
        for colour, (family, points) in zip(cycle(COLOURS), families.items(), strict=False):
            _line(axes, family, points, colour)
            labels += _labels(points, colour)
        _memory_axis(axes)
        axes.set_ylabel("AUC")
        if families:
            axes.legend(loc="lower right", labelcolor="linecolor", fontsize=10.5)
        _place(axes, labels)

    return svg(draw, (9.6, 5.8))


def _unbounded(axes: Axes, result: StudyResult) -> None:
    """The reference, and a band of differences that may be chance."""
    reference = result.points[0]
    if reference.auc is None:
        return
    axes.axhline(reference.auc, color=MUTED, lw=0.8, ls=(0, (2, 3)))
    spread = result.chance or 0.0
    axes.axhspan(reference.auc - spread, reference.auc + spread, color=GRID, alpha=0.7, lw=0)
    axes.plot(reference.most_bytes / MIB, reference.auc, "D", color=INK, ms=7, zorder=4)


def _line(axes: Axes, family: str, points: list[MeasuredSetting], colour: str) -> None:
    chosen = sorted((p for p in points if p.auc is not None), key=lambda point: point.most_bytes)
    mib, auc = [p.most_bytes / MIB for p in chosen], [p.auc or 0.0 for p in chosen]
    axes.errorbar(
        mib, auc, _bars(chosen), fmt="o-", label=family, color=colour, ms=6, lw=1.6, elinewidth=1.1, capsize=2
    )


def _bars(points: list[MeasuredSetting]) -> tuple[list[float], list[float]]:
    gains = [(p.gain.auc or 0.0, p.gain.low, p.gain.high) for p in points]
    below = [0.0 if low is None else auc - low for auc, low, _ in gains]
    return below, [0.0 if high is None else high - auc for auc, _, high in gains]


def _memory_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda mib, _: f"{mib:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.1, y=0.08)
    axes.set_xlabel("MiB of the embedding store at its largest")


Label = tuple[MeasuredSetting, str, str]


def _labels(points: list[MeasuredSetting], colour: str) -> Iterator[Label]:
    """Label each point with its value; the legend says what varies."""
    for point in points:
        yield point, " ".join(part.partition("=")[2] for part in point.name.split()), colour


def _place(axes: Axes, labels: list[Label]) -> None:
    """Put each label beside its point, clear of other labels and points."""
    if (canvas := axes.get_figure(root=True)) is not None:
        canvas.draw_without_rendering()  # label sizes and places are known only after drawing
    taken = [_extent(axes, point) for point, _, _ in labels if point.auc is not None]
    for point, text, colour in labels:
        if point.auc is not None:
            taken.append(_label(axes, (point.most_bytes / MIB, point.auc), text, colour, taken))


def _extent(axes: Axes, point: MeasuredSetting) -> Bbox:
    """The box of a point's marker and bar, in pixels."""
    (below,), (above,) = _bars([point])
    auc, mib = point.auc or 0.0, point.most_bytes / MIB
    (x, low), (_, high) = axes.transData.transform([(mib, auc - below), (mib, auc + above)])
    return Bbox.from_extents(x - 4, low - 4, x + 4, high + 4)


def _label(axes: Axes, spot: tuple[float, float], text: str, colour: str, taken: list[Bbox]) -> Bbox:
    """Put a label in the first free place, or else the last."""
    for place in (*_NEAR, *_FAR):
        note = _beside(axes, spot, text, colour, place)
        note.get_window_extent()  # puts it where it belongs; with its line, so:
        box = Text.get_window_extent(note)
        if place == _FAR[-1] or not _hidden(axes, box, taken):
            break
        note.remove()
    return box


def _beside(axes: Axes, spot: tuple[float, float], text: str, colour: str, place: tuple[int, int]) -> Annotation:
    right, up = place
    return axes.annotate(
        text,
        spot,
        place,
        textcoords="offset points",
        ha="left" if right > 0 else "right" if right < 0 else "center",
        va="bottom" if up > 0 else "top" if up < 0 else "center",
        color=colour,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
        if place in _FAR
        else None,
    )


def _hidden(axes: Axes, box: Bbox, taken: list[Bbox]) -> bool:
    inside = axes.get_window_extent()
    beyond = box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
    return beyond or any(box.overlaps(other) for other in taken)
