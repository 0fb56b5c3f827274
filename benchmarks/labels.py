"""What delayed clicks cost, by the scheme of giving labels out: calibration and log loss, under planted rates.

A model with default settings learns a log whose true click rate is constant in the mean, serving takes its weights
every `REFRESH`, and every shown item is scored as it would have been live. Calibration is mean score over true rate in
windows of `WINDOW` shown items, after the first `SETTLED`; the share of the gap is that of the log loss between `held`
and `oracle`.

| scheme | silence is learned |
|---|---|
| paced | at an age drawn from the delays of clicks (the default) |
| at once | when the list is shown; the click corrects it (fake negatives, with exact weights) |
| FNW | the same, with importance weights instead of the correction (Ktena et al. 2019) |
| ES-DFM | after a short time, in which half of the clicks come, with importance weights (Yang et al. 2021) |
| after wait | when the window closes, clicks at once (biased by every change of traffic) |
| held | everything when the window closes (late) |
| oracle | at once, and clicks, too, as if they were known then |
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks._gap_table import Measured, share_of_gap
from benchmarks._label_schemes import SCHEMES, Scheme, feed_of, learner_of
from benchmarks._planted_log import NEW_ITEMS, SHORT, START, PlantedLog, planted_log
from benchmarks.harness import Result, Target
from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.evaluation.metrics import auc, log_loss
from recsys.evaluation.replay.arms import online
from recsys.evaluation.replay.scored_rows import ScoredRows, outcomes
from recsys.evaluation.replay.training_pass import Replay
from recsys.evaluation.svg import GRID, figure

REFRESH = "15s"
WINDOW, SETTLED = 2000, 8000
TRAFFICS, DELAY = (NEW_ITEMS, "bursty", "nightly", "steady", "growing"), "3 min"
"""Clicks that come sooner differ little between schemes, whatever the traffic."""
SHARE = 0.36
"""Of the gap: what ES-DFM closes on Criteo's conversions (its table 1, AUC)."""


def final_rows(config: Config, planted: PlantedLog) -> ScoredRows:
    """All items shown, in order of time."""
    return ScoredRows(outcomes(feed_of(config, planted, SCHEMES["held"])), START, planted.end)


def measure(config: Config, planted: PlantedLog, rows: ScoredRows, scheme: Scheme) -> Measured:
    """Mean score over true rate in each window, AUC and log loss, all of the settled rows."""
    arm = online(REFRESH, START, rows.times_R)
    replay = Replay(learner_of(config, planted, scheme), feed_of(config, planted, scheme), rows, [arm])
    scores_R = replay.run(planted.end)[0].scores_R[SETTLED:].astype(np.float64)
    labels_R, rates_R = rows.labels_R[SETTLED:], planted.rates_R[SETTLED:]
    windows = len(scores_R) // WINDOW
    scores_W, rates_W = (each[: windows * WINDOW].reshape(-1, WINDOW).mean(1) for each in (scores_R, rates_R))
    return {
        "calibration": np.round(scores_W / rates_W, 3).tolist(),
        "auc": round(auc(labels_R, scores_R), 4),
        "log_loss": round(log_loss(labels_R, scores_R), 5),
    }


def measure_case(case: tuple[str, str, tuple[str, ...]]) -> tuple[str, dict[str, Measured]]:
    """Each of the schemes on one traffic and delay of clicks."""
    traffic, delay, schemes = case
    config = parse("", Path("recsys.toml"))
    wiring.set_threads(config)
    planted, found = planted_log(traffic, delay, seed=0), {}
    rows = final_rows(config, planted)
    for name in schemes:
        found[name] = one = measure(config, planted, rows, SCHEMES[name])
        ratios = one["calibration"]
        print(traffic, delay, name, f"{min(ratios)} to {max(ratios)}", one["auc"], one["log_loss"], flush=True)
    return f"{traffic}, clicks after {delay}", found


def run(quick: bool) -> Result:
    if quick:
        raw = dict([measure_case((SHORT, DELAY, ("paced", "held", "oracle")))])
    else:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            raw = dict(pool.map(measure_case, [(traffic, DELAY, tuple(SCHEMES)) for traffic in TRAFFICS]))
    return Result("labels", targets(raw), raw)


def targets(raw: Mapping[str, Mapping[str, Measured]]) -> list[Target]:
    worst = max(abs(ratio - 1) for case in raw.values() for ratio in case["paced"]["calibration"])
    least = min(share_of_gap(case, "paced") for case in raw.values())
    return [
        Target("paced: largest miss of the true rate in a window", worst, 0.1, "lower"),
        Target("paced: least share of the gap from held to oracle", least, SHARE),
    ]


COLOURS = {
    "paced": "#1f6feb",
    "at once": "#d9822b",
    "FNW": "#8250df",
    "ES-DFM": "#2da44e",
    "after wait": "#c23030",
    "held": "#8a9ba8",
    "oracle": "#24292f",
}


def plot(raw: Mapping[str, Any]) -> str:
    """The calibration of each scheme over the shown items, a drawing for each traffic and delay."""

    def draw(canvas: Figure) -> None:
        axes = canvas.subplots(-(-len(raw) // 2), 2, squeeze=False, sharey=True)
        for (case, schemes), axis in zip(raw.items(), axes.flat, strict=False):
            axis.axhspan(0.9, 1.1, color=GRID)
            for scheme, measured in schemes.items():
                ratios = measured["calibration"]
                shown = [(SETTLED + WINDOW * (number + 0.5)) / 1000 for number in range(len(ratios))]
                axis.plot(shown, ratios, color=COLOURS[scheme], linewidth=1.5, label=scheme)
            axis.set(title=case, yscale="log", ylim=(0.2, 4), xlabel="thousands of shown items")
            axis.set_yticks([0.25, 0.5, 1, 2], ["1/4", "1/2", "1", "2"])
            axis.minorticks_off()
        axes[0, 0].set_ylabel("mean score / true rate")
        axes[0, 0].legend(ncols=2)

    return figure(draw, (10, 14))
