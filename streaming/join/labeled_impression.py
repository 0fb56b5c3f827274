"""What the joiner makes of events: shown items with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from recsys.errors import InvalidValueError
from streaming.events.schema import Features, Value

MAX_TASKS = 32
"""Most tasks that one shown item is labelled for."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Which interactions decide a label.

    An interaction with one of `actions` makes its item positive. With `min_value`, a lower value makes it negative
    instead: a user who rates a film with one star has answered, and there is nothing to wait for.

    >>> LabelRule(frozenset({"rate"}), min_value=4.0).label(3.5)
    0.0
    """

    actions: frozenset[str] = frozenset({"click"})
    min_value: float | None = None

    def __post_init__(self) -> None:
        if not self.actions:
            raise InvalidValueError("a label rule without actions makes every label negative; name at least one action")

    def label(self, value: float) -> float:
        """The label that one of `actions` with this value decides."""
        return 1.0 if self.min_value is None or value >= self.min_value else 0.0


class LabeledImpression(msgspec.Struct, gc=False):
    """Items of one impression whose labels became known at the same moment.

    `positions` are indices into `items`, `labels` go with them. `decided` is the event time (ms) at which they became
    known, `sequence` the number of the event (from 1) that made them known.
    `number` is that of the impression's own event, `task` that of the task whose labels these are. `learned`: these
    items were given out before, as silent, and the labels now correct that; each shown item counts once for each task.
    `latest_user` and `latest_items` (one per position) are the updates in force at the impression's time;
    `EntityState.resolve` fills them in. Containers may be shared between labeled impressions: do not change them.
    """

    id: str
    time: int
    user: str
    items: tuple[str, ...]
    features: Features
    item_features: dict[str, list[Value]]
    propensities: tuple[float, ...]
    experiment: str
    arm: str
    model: str
    positions: tuple[int, ...]
    labels: tuple[float, ...]
    decided: int
    sequence: int
    number: int = 0
    learned: bool = False
    task: int = 0
    latest_user: Features = {}
    latest_items: Sequence[Features] = ()
