"""Plots of a replay as SVG text, without clock time or random ids: equal results give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import matplotlib
from matplotlib.axes import Axes

from recsys.evaluation.replay.arms import FROZEN
from recsys.evaluation.replay.replay_result import ArmResult, ReplayResult
from recsys.evaluation.svg import GRID, INK, MUTED, svg

COLD = "#c2571a"
NEAR_CHANCE = 0.6
"""An AUC axis that begins below this shows where 0.5, guessing, is."""


def over_time(result: ReplayResult) -> str:
    """AUC of each window of the online stage, a line per arm; the horizontal axis counts rows, labelled in time."""

    def draw(axes: Axes) -> None:
        ends, total = [], 0
        for window in result.windows:
            total += window.rows
            ends.append(total - window.rows / 2)
        for arm, colour in _colours(result):
            values = [math.nan if value is None else value for value in arm.window_auc]
            cold = arm.name == FROZEN
            axes.plot(ends, values, color=colour, label=arm.name, lw=1.8, zorder=2 if cold else 3)
        if axes.get_ylim()[0] < NEAR_CHANCE:
            axes.axhline(0.5, color=MUTED, lw=0.8, ls=(0, (2, 3)))
        axes.set_ylabel("AUC")
        axes.set_xlim(0, max(total, 1))
        _time_axis(axes, result)
        axes.legend(ncols=6, loc="lower left", bbox_to_anchor=(-0.01, 1.0), fontsize=9, handlelength=1.4)

    return svg(draw, (9.6, 3.9))


def by_interval(result: ReplayResult) -> str:
    """Row-weighted mean AUC of each online arm's refresh intervals, beside the frozen weights on the same intervals."""
    arms = [(arm, colour) for arm, colour in _colours(result) if arm.name != FROZEN]

    def draw(axes: Axes) -> None:
        for place, (arm, colour) in enumerate(arms):
            if arm.interval_auc is None or arm.frozen_interval_auc is None:
                continue
            auc, base = arm.interval_auc, arm.frozen_interval_auc
            axes.plot([base, auc], [place, place], color=GRID, lw=5, solid_capstyle="round")
            axes.plot(base, place, "o", color=COLD, ms=8)
            axes.plot(auc, place, "o", color=colour, ms=10)
            axes.annotate(f"{auc:.4f}", (auc, place), (9, -3.5), textcoords="offset points")
        axes.set_yticks(range(len(arms)), [arm.name.removeprefix("online@") for arm, _ in arms], color=INK)
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("row-weighted mean AUC of the refresh intervals   (orange: frozen weights, same intervals)")

    return svg(draw, (9.6, 0.9 + 0.48 * max(len(arms), 1)))


def reliability(result: ReplayResult) -> str:
    """Observed against predicted rate."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (2, 3)))
        for arm, colour in _colours(result):
            total = sum(b.rows for b in arm.reliability)
            kept = [b for b in arm.reliability if b.rows >= 0.001 * total]
            points = [b.predicted for b in kept], [b.observed for b in kept]
            axes.plot(*points, "o-", color=colour, label=arm.name, ms=3.5, lw=1.5)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="observed rate")
        axes.set_aspect("equal")
        axes.legend(loc="upper left", fontsize=8.5, handlelength=1.4)

    return svg(draw, (4.7, 4.5))


def slices(result: ReplayResult) -> str:
    """AUC on rows whose user or item was known or new at the end of the batch stage."""
    names = list(result.arms[0].slices) if result.arms else []

    def draw(axes: Axes) -> None:
        arms = list(_colours(result))
        step = 0.7 / max(len(arms) - 1, 1)
        for number, (arm, colour) in enumerate(arms):
            points = [(place - 0.35 + step * number, arm.slices[name]["auc"]) for place, name in enumerate(names)]
            defined = [(y, auc) for y, auc in points if auc is not None]
            axes.plot([auc for _, auc in defined], [y for y, _ in defined], "o", color=colour, label=arm.name, ms=7)
        axes.set_yticks(range(len(names)), [_slice_label(result, name) for name in names], color=INK)
        axes.set_ylim(len(names) - 0.4, -0.6)
        for place in range(1, len(names)):
            axes.axhline(place - 0.5, color=GRID, lw=0.8)
        if axes.get_xlim()[0] < NEAR_CHANCE:
            axes.axvline(0.5, color=MUTED, lw=0.8, ls=(0, (2, 3)))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("AUC")

    return svg(draw, (4.7, 4.5))


def _slice_label(result: ReplayResult, name: str) -> str:
    frozen = result.arms[0]
    percent = 100 * (frozen.slices[name]["rows"] or 0) / (frozen.all["rows"] or 1)
    return f"{name}\n{'< 1' if 0 < percent < 0.5 else f'{percent:.0f}'} % of rows"


def _colours(result: ReplayResult) -> Iterable[tuple[ArmResult, str]]:
    """Orange for the frozen arm, then from light to dark blue in the order of the arms."""
    shades = matplotlib.colormaps["Blues"]
    online = sum(arm.name != FROZEN for arm in result.arms)
    rank = 0
    for arm in result.arms:
        if arm.name == FROZEN:
            yield arm, COLD
        else:
            share = rank / max(online - 1, 1) if online > 1 else 0.7
            yield arm, matplotlib.colors.to_hex(shades(0.38 + 0.6 * share))
            rank += 1


def _time_axis(axes: Axes, result: ReplayResult) -> None:
    """About eight labels at window borders; the time of day only where it tells windows apart."""
    count = len(result.windows)
    if not count:
        axes.set_xticks([])
        return
    step = max(1, math.ceil(count / 8))
    starts = [sum(w.rows for w in result.windows[:k]) for k in range(0, count, step)]
    times = [datetime.fromtimestamp(result.windows[k].start / 1000, UTC) for k in range(0, count, step)]
    days = len({time.date() for time in times}) == len(times)
    labels = [f"{time:%d %b %Y}" if days else f"{time:%d %b}\n{time:%H:%M}" for time in times]
    axes.set_xticks(starts, labels, fontsize=9)
