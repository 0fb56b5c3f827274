"""From scores to the figures of a result.

Shape suffixes: R rows, W windows, S bootstrap samples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from recsys.evaluation import metrics
from recsys.evaluation.replay.arms import FROZEN
from recsys.evaluation.replay.replay_result import ArmResult, Bin, Figure, Figures, Gain, Window
from recsys.evaluation.replay.scored_rows import ScoredRows
from recsys.evaluation.replay.training_pass import Scored

MOST_WINDOWS = 96
LEAST_WINDOW = 500
"""Rows below which a window's AUC is mostly noise."""
SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class _Truth:
    """Shared by all arms: labels, and slices of the rows."""

    rows: ScoredRows
    slices: dict[str, npt.NDArray[np.bool_]]
    frozen: Scored


def windows(rows: ScoredRows) -> list[Window]:
    """The online stage in parts of equally many rows, so that each says equally much."""
    cuts = _cuts(len(rows))
    return [Window(int(rows.times_R[a]), b - a) for a, b in pairwise(cuts)]


def window_auc(rows: ScoredRows, scores_R: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """AUC in each of `windows`; NaN where it is undefined."""
    cuts = _cuts(len(rows))
    windows_R = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    groups = metrics.by_group(windows_R, rows.labels_R, scores_R)
    return np.array([groups[str(window)].auc for window in range(len(groups))], np.float64)


def figures(
    rows: ScoredRows, scores_R: npt.NDArray[np.float32], chosen_R: npt.NDArray[np.bool_] | None = None
) -> Figures:
    """`rows`, `positives` and every registered metric, over all rows or those chosen."""
    chosen_R = np.ones(len(rows), np.bool_) if chosen_R is None else chosen_R
    labels_R, weights_R = rows.labels_R[chosen_R].astype(np.float64), rows.weights_R[chosen_R].astype(np.float64)
    counts: Figures = {"rows": int(chosen_R.sum()), "positives": _round(float((weights_R * labels_R).sum()))}
    data = labels_R, scores_R[chosen_R], weights_R
    return counts | {name: _figure(metric.compute(*data)) for name, metric in metrics.METRICS.items()}


def arm_results(rows: ScoredRows, scored: Sequence[Scored]) -> list[ArmResult]:
    """Figures of every arm. The first must be the frozen one: its end of the batch stage defines the slices."""
    if not scored or scored[0].arm.name != FROZEN:
        raise ValueError(f"the first arm must be {FROZEN!r}, so that the others have something to be compared with")
    truth = _Truth(rows, _slices(scored[0]), scored[0])
    auc_of = {one.arm.name: window_auc(rows, one.scores_R) for one in scored}
    return [
        _arm_result(truth, one, auc_of[one.arm.name], _gains(one, previous, auc_of))
        for previous, one in zip([None, *scored], scored, strict=False)
    ]


def _arm_result(truth: _Truth, scored: Scored, window_auc_W: npt.NDArray[np.float64], gains: list[Gain]) -> ArmResult:
    rows = truth.rows
    intervals_R = scored.arm.intervals(rows.times_R)
    bins = metrics.reliability(rows.labels_R, scored.scores_R, rows.weights_R, bins=20)
    return ArmResult(
        name=scored.arm.name,
        refreshes=len(scored.arm.refreshes),
        all=figures(rows, scored.scores_R),
        interval_auc=_figure(metrics.grouped_auc(intervals_R, rows.labels_R, scored.scores_R)),
        interval_auc_mean=_figure(metrics.grouped_auc(intervals_R, rows.labels_R, scored.scores_R, row_weighted=False)),
        frozen_interval_auc=_figure(metrics.grouped_auc(intervals_R, rows.labels_R, truth.frozen.scores_R)),
        window_auc=[_figure(value) for value in window_auc_W.tolist()],
        gains=gains,
        reliability=[Bin(_round(b.predicted), _round(b.observed), b.weight) for b in bins],
        slices={name: figures(rows, scored.scores_R, rows_R) for name, rows_R in truth.slices.items()},
        known_users=_share(scored.known_R.get("user")),
        known_items=_share(scored.known_R.get("item")),
        scores_sha256=hashlib.sha256(scored.scores_R.tobytes()).hexdigest(),
    )


def _cuts(rows: int) -> list[int]:
    count = max(1, min(MOST_WINDOWS, rows // LEAST_WINDOW))
    return [rows * k // count for k in range(count + 1)] if rows else [0]


def _slices(frozen: Scored) -> dict[str, npt.NDArray[np.bool_]]:
    """By whether users and items were known at the end of the batch stage."""
    slices: dict[str, npt.NDArray[np.bool_]] = {}
    for kind, known_R in frozen.known_R.items():
        slices |= {f"known {kind}": known_R, f"new {kind}": ~known_R}
    return slices


def _gains(scored: Scored, previous: Scored | None, auc_of: dict[str, npt.NDArray[np.float64]]) -> list[Gain]:
    """Over the frozen arm, and over the arm before it."""
    if previous is None:
        return []
    names = dict.fromkeys((FROZEN, previous.arm.name))
    return [gain(name, auc_of[scored.arm.name], auc_of[name]) for name in names]


def gain(over: str, auc_W: npt.NDArray[np.float64], base_W: npt.NDArray[np.float64]) -> Gain:
    """Mean difference over windows with a 95 % paired bootstrap interval (windows are drawn, always the same draws).

    Windows in which either AUC is undefined are left out; with fewer than two windows there is no interval.
    """
    difference_W = auc_W - base_W
    difference_W = difference_W[np.isfinite(difference_W)]
    if len(difference_W) < 2:
        return Gain(over, _figure(float(difference_W.mean())) if len(difference_W) else None, None, None)
    draws_SW = np.random.default_rng(0).integers(len(difference_W), size=(SAMPLES, len(difference_W)))
    low, high = np.quantile(difference_W[draws_SW].mean(1), (0.025, 0.975))
    return Gain(over, _round(float(difference_W.mean())), _round(float(low)), _round(float(high)))


def _share(known_R: npt.NDArray[np.bool_] | None) -> Figure:
    return _round(float(known_R.mean())) if known_R is not None and len(known_R) else None


def _figure(value: float) -> Figure:
    return None if math.isnan(value) else _round(value)


def _round(value: float) -> float:
    """Six digits: more than any significant difference."""
    return round(float(value), 6)
