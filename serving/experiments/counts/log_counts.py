"""Counts of an experiment from the event log, which has every impression with its arm.

A server that was killed, a Redis that was emptied or several servers change nothing. As in `counters`, an impression
counts once, as clicked or not, and an interaction if the impression showed its item and within `attribution` after
it, here by event time. Each user is a unit of its own. Users who were shown more than one arm are left out of all,
and counted.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import StateError
from serving.experiments.assignment import Experiment
from serving.experiments.counts.counted_users import CountedUser, CountedUsers, UnitCounts
from serving.experiments.goals import Floats, Goal
from serving.experiments.guardrails import GuardrailCounts, Watched
from streaming.events.columns import ERASURE, IMPRESSION, INTERACTION

_MINUTE = 60_000
"""How long before its impression an interaction may come, by event time (ms)."""
_OF_USERS = pa.array([IMPRESSION, ERASURE], pa.uint8())
_COLUMNS = (
    *("kind", "time", "id", "user", "experiment", "arm", "items", "model"),
    *("impression", "item", "action", "value"),
)


@dataclass(slots=True)
class _Open:
    """An impression that can still be acted on."""

    user: CountedUser
    time: int
    items: frozenset[str]
    earlier: bool
    clicked: bool = False


class _Act(NamedTuple):
    time: int
    item: str
    action: str
    value: float


class LogCounts:
    """Counts `experiment` in events of a log, in order. Times are event times in ms.

    Memory: each user with an impression since `before`, the impressions of the last `attribution` (or the longest
    window of a goal), and, if a goal is a return, 16 bytes for each impression since `before`. The clock is
    the earliest time in the last two batches, so that events of a clock that is ahead make nothing forgotten.
    """

    def __init__(
        self,
        experiment: Experiment,
        since: int,
        before: int,
        actions: AbstractSet[str] = frozenset({"click"}),
        attribution: int = 21_600_000,
        goals: Sequence[Goal] = (),
        *,
        watch: bool = False,
    ) -> None:
        """Impressions of all kinds from `before` to `since` say what users did before they were assigned.

        `watch`: whether to count what guardrails watch.
        """
        self._arms = {arm.name for arm in experiment.arms}
        self._experiment, self._since, self._before = experiment, since, before
        self._actions, self._attribution, self._goals = actions, attribution, goals
        self._counted = pa.array(sorted(actions | {name for goal in goals for name in goal.actions}), pa.string())
        self._longest = max([attribution, *(goal.window for goal in goals if goal.actions)])
        self._returns = any(goal.kind == "return" for goal in goals)
        self._watched = GuardrailCounts(experiment) if watch else None
        self._visits = array("q"), array("q")
        self._users = CountedUsers([arm.name for arm in experiment.arms], len(goals))
        self._open: dict[str, _Open] = {}
        self._early = defaultdict[str, list[_Act]](list)
        self._earliest, self._swept = 0, 0
        self.unknown_arms = 0
        """Impressions of arms that the experiment does not have."""

    def begin_partition(self) -> None:
        """Interactions are in the partition of their impression, whose events come next."""
        self._open, self._early = {}, defaultdict(list)
        self._earliest, self._swept = 0, 0

    def count(self, events: pa.RecordBatch) -> None:
        """Count events (`EVENT_SCHEMA`) of one partition."""
        kinds = events.column("kind")
        acted = pc.and_(pc.equal(kinds, INTERACTION), pc.is_in(events.column("action"), self._counted))
        chosen = events.filter(pc.or_(pc.is_in(kinds, _OF_USERS), acted))
        for event in chosen.select(_COLUMNS).to_pylist():
            if event["kind"] == IMPRESSION:
                if event["time"] >= self._before:
                    self._shown(event["id"], event["time"], event["user"], event, event["items"])
            elif event["kind"] == ERASURE:
                self._forget(event["user"])
            else:
                self._acted(event["impression"], _Act(*(event[name] for name in _Act._fields)))
        if len(chosen):
            earliest = pc.min(chosen.column("time")).as_py()
            self._sweep(min(self._earliest, earliest))
            self._earliest = earliest

    def arms(self) -> dict[str, UnitCounts]:
        """The users of each arm, in the order of the experiment's arms."""
        return self._users.arms()

    def goals(self) -> dict[str, dict[str, Floats]]:
        """See `CountedUsers.goals`."""
        return self._users.goals(self._goals, self._visits, self._since)

    def watched(self, name: Watched) -> dict[str, Floats]:
        """What a guardrail watches, by arm: see `GuardrailCounts.columns`. Only with `watch`."""
        if self._watched is None:
            raise StateError("what guardrails watch was not counted: make these counts with watch=True")
        return self._watched.columns(name, self._users.assigned())

    @property
    def exposed_to_several(self) -> int:
        """Users who were shown more than one arm: by a change of weights, or by an error in assignment."""
        return self._users.in_several_arms

    def _forget(self, name: str) -> None:
        """Count nothing of a user who was erased, until the user comes back."""
        if (user := self._users.forget(name)) is not None:
            self._open = {id_: shown for id_, shown in self._open.items() if shown.user is not user}
            if self._watched:
                self._watched.forget(name)

    def _shown(self, name: str, time: int, user_name: str, said: dict[str, Any], items: Iterable[str]) -> None:
        if name in self._open:
            return
        earlier = time < self._since
        if self._returns:
            self._visits[0].append(self._users.of(user_name).number)
            self._visits[1].append(time)
        if not earlier:
            if said["experiment"] != self._experiment.name or not self._experiment.lasts(time):
                return
            if said["arm"] not in self._arms:
                self.unknown_arms += 1
                return
        user = self._users.of(user_name)
        if self._watched:
            self._watched.count(user_name, said, first=not earlier and not user.arms, earlier=earlier)
        if earlier:
            user.first_before = min(user.first_before, time)
        else:
            user.arms.add(said["arm"])
            user.first = min(user.first, time)
        user.counts[2 if earlier else 0] += 1
        self._open[name] = _Open(user, time, frozenset(items), earlier)
        for act in self._early.pop(name, ()):
            self._acted(name, act)

    def _acted(self, impression: str, act: _Act) -> None:
        """Count it. What comes after the start tells nothing of the time before it, whatever it is on."""
        shown = self._open.get(impression)
        if shown is None:
            self._early[impression].append(act)
            return
        after = act.time - shown.time
        if act.item not in shown.items or after < -_MINUTE or (shown.earlier and act.time >= self._since):
            return
        if act.action in self._actions and not shown.clicked and after <= self._attribution:
            shown.user.counts[3 if shown.earlier else 1] += 1
            shown.clicked = True
        for place, goal in enumerate(self._goals):
            if goal.counts(act.action, act.value, after):
                shown.user.reached[2 * place + shown.earlier] += act.value if goal.kind == "value" else 1.0

    def _sweep(self, now: int) -> None:
        """Forget what can no longer meet, once a tenth of the longest wait has passed."""
        if abs(now - self._swept) < self._longest // 10:
            return
        self._swept = now
        least = now - self._longest - _MINUTE
        self._open = {name: shown for name, shown in self._open.items() if shown.time >= least}
        for name in [name for name, acts in self._early.items() if acts[0].time < least]:
            del self._early[name]
