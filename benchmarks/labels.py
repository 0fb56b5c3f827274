"""Are scores calibrated whatever the traffic? Schemes of giving labels out, under planted rates and delays of clicks.

A model with default settings learns a log whose true click rate is constant, serving takes its weights every
`REFRESH`, and every shown item is scored as it would have been live. Figures are mean score over true rate in windows
of `WINDOW` shown items, after the first `SETTLED`.

| scheme | silence is learned |
|---|---|
| paced | at an age drawn from the delays of clicks (the default) |
| at once | when the list is shown; the click corrects it (fake negatives, Ktena et al. 2019, with exact weights) |
| after wait | when the window closes, clicks at once (biased by every change of traffic) |
| held | everything when the window closes (late) |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmarks.harness import Result, Target
from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.evaluation.metrics import auc
from recsys.evaluation.replay.arms import online
from recsys.evaluation.replay.run import Replay
from recsys.evaluation.replay.scored_rows import ScoredRows, outcomes
from recsys.evaluation.svg import GRID, figure
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.events.schema import Event, Impression, Interaction
from streaming.feed import Feed
from streaming.ingest.codec import encode_events
from streaming.join.click_delays import ClickDelays
from streaming.join.joiner import Joiner, LabelRule
from streaming.log.memory_log import MemoryLog

Times = npt.NDArray[np.float64]
MINUTE, HOUR = 60.0, 3600.0
START = 1_700_000_000_000
ITEMS, USERS, LIST = 200, 500, 5
RATE = 0.35
WAIT = 1800.0
REFRESH = "15s"
WINDOW, SETTLED = 2000, 8000

Scheme = Literal["paced", "at once", "after wait", "held"]
SCHEMES: tuple[Scheme, ...] = ("paced", "at once", "after wait", "held")


class FixedAge(ClickDelays):
    """Silence is learned at one age (ms), whatever the clicks do."""

    def __init__(self, wait: int, age: int) -> None:
        super().__init__(wait)
        self._age = age
        self.counts.ages[:] = age

    def draw_ages(self) -> npt.NDArray[np.int64]:
        return np.full_like(self.counts.ages, self._age)


def _bursts(rng: np.random.Generator, *parts: tuple[float, float, float]) -> Times:
    """Times (s) of lists: `parts` are begin, end, lists a second."""
    return np.concatenate([np.sort(rng.uniform(begin, end, int((end - begin) * rate))) for begin, end, rate in parts])


TRAFFIC: dict[str, Callable[[np.random.Generator], Times]] = {
    "steady": lambda rng: _bursts(rng, (0, 2 * HOUR, 3)),
    "nightly": lambda rng: _bursts(rng, (0, 1.5 * HOUR, 3), (9.5 * HOUR, 10.25 * HOUR, 3)),
    "bursty": lambda rng: _bursts(rng, *((k * 20 * MINUTE, k * 20 * MINUTE + 3 * MINUTE, 15) for k in range(7))),
    "growing": lambda rng: _bursts(rng, *((k * 10 * MINUTE, (k + 1) * 10 * MINUTE, 0.4 * 1.4**k) for k in range(10))),
}
DELAYS: dict[str, Callable[[np.random.Generator, int], Times]] = {
    "20 s": lambda rng, count: rng.exponential(20, count),
    "3 min": lambda rng, count: rng.exponential(180, count),
}


@dataclass(frozen=True, slots=True)
class World:
    """A log of lists and clicks, with the true click rate of the shown items."""

    log: MemoryLog
    rate: float
    end: int


def world(traffic: str, delay: str, seed: int) -> World:
    rng = np.random.default_rng(seed)
    times_I = TRAFFIC[traffic](rng)
    lists = len(times_I)
    users_I, items_IL = rng.integers(0, USERS, lists), np.argsort(rng.random((lists, ITEMS)), 1)[:, :LIST]
    tastes = rng.normal(0, 0.5, USERS)[users_I][:, None] + rng.normal(0, 1.0, ITEMS)[items_IL]
    rates_IL = 1 / (1 + np.exp(-tastes - _intercept(tastes)))
    delays_IL = DELAYS[delay](rng, lists * LIST).reshape(lists, LIST)
    clicked_IL = (rng.random((lists, LIST)) < rates_IL) & (delays_IL <= WAIT)
    events: list[Event] = []
    for i, time in enumerate(times_I.tolist()):
        shown = START + int(time * 1000)
        items = [f"i{item}" for item in items_IL[i].tolist()]
        events.append(Impression(id=f"l{i}", time=shown, user=f"u{users_I[i]}", items=items))
        events += [
            Interaction(time=shown + int(delays_IL[i, k] * 1000), impression=f"l{i}", item=items[k])
            for k in np.flatnonzero(clicked_IL[i]).tolist()
        ]
    events.sort(key=lambda event: event.time)
    log = MemoryLog()
    log.append(encode_events(events))
    return World(log, float(clicked_IL.mean()), START + int((times_I[-1] + 1) * 1000))


def _intercept(tastes: npt.NDArray[np.float64]) -> float:
    """Makes the mean rate RATE."""
    low, high = -10.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-tastes - middle))).mean() < RATE else (low, middle)
    return low


def feed_of(config: Config, log: MemoryLog, scheme: Scheme) -> Feed:
    wait, lateness = config.training.wait, config.training.lateness
    fixed = {"at once": FixedAge(wait, 0), "after wait": FixedAge(wait, wait)}
    labels: Literal["paced", "held"] = "held" if scheme == "held" else "paced"
    joiner = Joiner(LabelRule(), wait, lateness, labels=labels, delays=fixed.get(scheme))
    encoder = Encoder(wiring.spec(config))
    return Feed(log, joiner, EntityState(1000), encoder, config.training.batch_size)


def measure(config: Config, world: World, scheme: Scheme) -> tuple[npt.NDArray[np.float64], float]:
    """Mean score over true rate in each window, and the AUC of the settled rows."""
    rows = ScoredRows(outcomes(feed_of(config, world.log, "held")), START, world.end)
    arm = online(REFRESH, START, rows.times_R)
    replay = Replay(wiring.learner(config), feed_of(config, world.log, scheme), rows, [arm])
    scores_R = replay.run(world.end)[0].scores_R[SETTLED:].astype(np.float64)
    whole = len(scores_R) // WINDOW * WINDOW
    ratios_W = scores_R[:whole].reshape(-1, WINDOW).mean(1) / world.rate
    return ratios_W, auc(rows.labels_R[SETTLED:], scores_R)


def _cases(quick: bool) -> Iterator[tuple[str, str]]:
    yield from (("nightly", "20 s"),) if quick else ((traffic, delay) for traffic in TRAFFIC for delay in DELAYS)


def run(quick: bool) -> Result:
    config = parse("", Path("recsys.toml"))
    raw: dict[str, dict[str, dict[str, object]]] = {}
    worst = 0.0
    for traffic, delay in _cases(quick):
        here = raw.setdefault(f"{traffic}, clicks after {delay}", {})
        made = world(traffic, delay, seed=0)
        for scheme in SCHEMES if not quick else SCHEMES[:2]:
            ratios_W, auc_ = measure(config, made, scheme)
            here[scheme] = {"calibration": [round(ratio, 3) for ratio in ratios_W.tolist()], "auc": round(auc_, 4)}
            print(
                traffic, delay, scheme, f"{ratios_W.min():.2f} to {ratios_W.max():.2f}", f"AUC {auc_:.4f}", flush=True
            )
            if scheme == "paced":
                worst = max(worst, float(np.abs(ratios_W - 1).max()))
    return Result("labels", [Target("paced: largest miss of the true rate in a window", worst, 0.1, "lower")], raw)


COLOURS: dict[Scheme, str] = {"paced": "#1f6feb", "at once": "#d9822b", "after wait": "#c23030", "held": "#8a9ba8"}


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

    return figure(draw, (10, 11))
