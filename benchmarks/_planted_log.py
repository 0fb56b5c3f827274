"""Logs of lists whose true click rates, delays of clicks and traffic are planted.

Shape suffixes: I lists, L items of a list, R shown items in order of time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.log.memory_log import MemoryLog

Floats = npt.NDArray[np.float64]
MINUTE, HOUR = 60.0, 3600.0
START = 1_700_000_000_000
ITEMS, USERS, LIST = 200, 500, 5
RATE = 0.35
WAIT = 1800.0
NEW_ITEMS, SHORT = "new items", "new items, short"
LIFETIME = 30 * MINUTE
"""Of each item in traffic of new items; then another takes its place, with another taste."""


def _bursts(rng: np.random.Generator, *parts: tuple[float, float, float]) -> Floats:
    """Times (s) of lists: `parts` are begin, end, lists a second."""
    return np.concatenate([np.sort(rng.uniform(begin, end, int((end - begin) * rate))) for begin, end, rate in parts])


TRAFFIC: dict[str, Callable[[np.random.Generator], Floats]] = {
    "steady": lambda rng: _bursts(rng, (0, 2 * HOUR, 3)),
    "nightly": lambda rng: _bursts(rng, (0, 1.5 * HOUR, 3), (9.5 * HOUR, 10.25 * HOUR, 3)),
    "bursty": lambda rng: _bursts(rng, *((k * 20 * MINUTE, k * 20 * MINUTE + 3 * MINUTE, 15) for k in range(7))),
    "growing": lambda rng: _bursts(rng, *((k * 10 * MINUTE, (k + 1) * 10 * MINUTE, 0.4 * 1.4**k) for k in range(10))),
    NEW_ITEMS: lambda rng: _bursts(rng, (0, 2 * HOUR, 3)),
    SHORT: lambda rng: _bursts(rng, (0, HOUR, 1.2)),
}
DELAYS = {"20 s": 20.0, "3 min": 180.0}
"""Means of exponential delays, s."""


@dataclass(frozen=True, slots=True)
class PlantedLog:
    """A log of lists and clicks, with the truth about it."""

    log: MemoryLog
    known: MemoryLog
    """The same, but each click comes with its list."""
    rates_R: Floats
    """The true click rate of each shown item."""
    delay: float
    """Mean delay of a click, s."""
    end: int
    """Event time (ms) after the last list."""


def planted_log(traffic: str, delay: str, seed: int, rate: float = RATE) -> PlantedLog:
    """A log of one of `TRAFFIC` with one of `DELAYS`, whose items are clicked at this `rate` in the mean."""
    rng = np.random.default_rng(seed)
    times_I = TRAFFIC[traffic](rng)
    lists = len(times_I)
    users_I, items_IL = rng.integers(0, USERS, lists), np.argsort(rng.random((lists, ITEMS)), 1)[:, :LIST]
    if traffic in (NEW_ITEMS, SHORT):
        began = rng.uniform(0, LIFETIME, ITEMS)
        items_IL = items_IL + ITEMS * ((times_I[:, None] + began[items_IL]) // LIFETIME).astype(np.int64)
    tastes_IL = rng.normal(0, 0.5, USERS)[users_I][:, None] + rng.normal(0, 1.0, items_IL.max() + 1)[items_IL]
    rates_IL = 1 / (1 + np.exp(-tastes_IL - _intercept(tastes_IL, rate)))
    delays_IL = rng.exponential(DELAYS[delay], lists * LIST).reshape(lists, LIST)
    clicked_IL = (rng.random((lists, LIST)) < rates_IL) & (delays_IL <= WAIT)
    shown = [
        Impression(id=f"l{n}", time=START + int(time * 1000), user=f"u{user}", items=[f"i{item}" for item in items])
        for n, (time, user, items) in enumerate(zip(times_I.tolist(), users_I.tolist(), items_IL.tolist(), strict=True))
    ]
    return PlantedLog(
        _log(shown, clicked_IL, delays_IL),
        _log(shown, clicked_IL, np.zeros_like(delays_IL)),
        rates_IL.ravel(),
        DELAYS[delay],
        START + int((times_I[-1] + 1) * 1000),
    )


def _log(shown: list[Impression], clicked_IL: npt.NDArray[np.bool_], delays_IL: Floats) -> MemoryLog:
    events: list[Event] = [*shown]
    for n, k in np.argwhere(clicked_IL).tolist():
        one = shown[n]
        events.append(Interaction(time=one.time + int(delays_IL[n, k] * 1000), impression=one.id, item=one.items[k]))
    events.sort(key=lambda event: event.time)
    log = MemoryLog()
    log.append(encode_events(events))
    return log


def _intercept(tastes: Floats, rate: float) -> float:
    """What makes the mean rate that."""
    low, high = -10.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-tastes - middle))).mean() < rate else (low, middle)
    return low
