"""Learning from a tenth of the rows without a positive: what it saves, and what it costs.

What it saves is the time of the online step from log to update (joiner, encoder, store and AutoInt, without
checkpoints and publication) on the log of `loop`: 39 fields, batch 1024, a tenth of the items clicked. What it costs is
judged as in `labels`, on a log with planted rates of .05 in the mean: log loss and AUC of all shown items as they would
have been scored live, and the mean score over the true rate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import loop
from benchmarks._label_schemes import SCHEMES
from benchmarks._planted_log import SHORT, planted_log
from benchmarks.harness import Result, Target, interleave, ratio
from benchmarks.labels import DELAY, final_rows, measure
from recsys import wiring
from recsys.config.schema import Config

RATE = 0.05
"""Of clicks in the planted log."""
WAYS: dict[str, dict[str, Any]] = {
    "all": {},
    "uniform": {"rate": 0.1},
    "score": {"rate": 0.1, "method": "score"},
}


def run(quick: bool) -> Result:
    seconds = _seconds(steps=4 if quick else 12, rounds=2 if quick else 3)
    found = _measured(quick)
    targets = [
        Target(f"{way}: times the rate of the online step", ratio(seconds["all"], seconds[way]), 1.3)
        for way in ("uniform", "score")
    ]
    for way in ("uniform", "score"):
        ratios = found[way]["calibration"]
        settled = np.mean(ratios[len(ratios) // 2 :])
        targets += [
            Target(f"{way}: AUC lost", found["all"]["auc"] - found[way]["auc"], 0.005, "lower"),
            Target(f"{way}: miss of the true rate, second half", float(abs(settled - 1)), 0.05, "lower"),
        ]
    return Result("negatives", targets, {"seconds": seconds, "planted": found})


def _seconds(steps: int, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of so many steps, in every round."""
    with tempfile.TemporaryDirectory() as folder:
        configs = {way: loop.config_in(Path(folder), {"negatives": options}) for way, options in WAYS.items()}
        wiring.set_threads(configs["all"])
        loop.fill(configs["all"], impressions=(steps + 2) * loop.BATCH // loop.ITEMS)
        return interleave({way: _steps(config) for way, config in configs.items()}, rounds)


def _steps(config: Config) -> Callable[[], None]:
    def work() -> None:
        learner, log = wiring.learner(config), wiring.event_log(config)
        for batch in wiring.feed(config, log).poll():
            learner.step(batch)
        log.close()

    return work


def _measured(quick: bool) -> dict[str, Any]:
    """By way, what `labels` measures of a log of rare clicks."""
    planted = planted_log(SHORT if quick else "steady", DELAY, seed=0, rate=RATE)
    configs = {way: Config.model_validate({"training": {"negatives": options}}) for way, options in WAYS.items()}
    rows = final_rows(configs["all"], planted)
    return {way: measure(config, planted, rows, SCHEMES["paced"]) for way, config in configs.items()}
