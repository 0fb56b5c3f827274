"""Methods of the table of next clicks, each with the settings that are tried."""

from __future__ import annotations

from collections.abc import Callable

from recsys.datasets.globo_sessions import Clicks
from recsys.retrieval_study.next_click.baselines import NextClicks, Popularity, SessionNeighbours
from recsys.retrieval_study.next_click.click_towers import ClickTowers

Make = Callable[[Clicks, int], NextClicks]
"""A method that knows nothing yet, from a seed."""
TOWERS, FROZEN = "two-tower, online", "two-tower, frozen"


def _neighbours(sessions: int, count: int) -> Make:
    return lambda clicks, _seed: SessionNeighbours(clicks, sessions, count)


def towers_of(temperature: float, batch: int, hard: int) -> Make:
    return lambda clicks, seed: ClickTowers(clicks, temperature, batch, hard, seed)


METHODS: dict[str, dict[str, Make]] = {
    "popularity of the last hour": {"": lambda clicks, _seed: Popularity(clicks)},
    "session kNN": {
        f"{sessions} sessions, {count} neighbours": _neighbours(sessions, count)
        for sessions, count in ((2_000, 100), (2_000, 500), (4_000, 500), (8_000, 500))
    },
    TOWERS: {
        f"temperature {heat}, {batch} clicks and {hard} hard negatives a step": towers_of(heat, batch, hard)
        for heat, batch, hard in ((0.05, 256, 0), (0.1, 256, 0), (0.05, 1024, 0), (0.05, 1024, 32))
    },
    FROZEN: {},
}
"""By method and settings; the frozen model has those of the one that goes on learning."""
SEEDED = (TOWERS, FROZEN)
"""The others have the same result whatever the seed."""
