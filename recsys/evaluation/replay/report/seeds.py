"""One table of the results of several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from recsys.evaluation.replay.replay_result import ArmResult, ReplayResult

HEADER = "| arm | AUC by interval | gain over frozen | log loss | calibration |\n|---|---:|---:|---:|---:|\n"


def markdown(results: Sequence[ReplayResult]) -> str:
    """Mean and standard deviation over seeds, an arm a line. `results` are of the same arms, at least two of them."""
    every = zip(*(result.arms for result in results), strict=True)
    return HEADER + "".join(f"| {arms[0].name} | {' | '.join(_cells(arms))} |\n" for arms in every)


def _cells(arms: Sequence[ArmResult]) -> list[str]:
    gains = [(arm.interval_auc or 0) - (arm.frozen_interval_auc or 0) for arm in arms]
    figures = [arm.interval_auc or 0 for arm in arms], gains, *([arm.all[key] or 0 for arm in arms] for key in _ALL)
    return [f"{mean(values):.4f} ± {stdev(values):.4f}" for values in figures]


_ALL = ("log_loss", "calibration")
