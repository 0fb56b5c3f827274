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
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import StateError
from serving.experiments.assignment import Experiment
from serving.experiments.goals import Floats, Goal, returns
from serving.experiments.guardrails import GuardrailCounts, Watched
from streaming.events.columns import ERASURE, IMPRESSION, INTERACTION

Counts = npt.NDArray[np.int64]
_MINUTE = 60_000
"""How long before its impression an interaction may come, by event time (ms)."""
_OF_USERS = pa.array([IMPRESSION, ERASURE], pa.uint8())
_NEVER = 2**62
"""As a time: of users who were not in the experiment."""
_COLUMNS = (
    *("kind", "time", "id", "user", "experiment", "arm", "items", "model"),
    *("impression", "item", "action", "value"),
)


@dataclass(frozen=True, slots=True)
class UnitCounts:
    """Impressions and clicked impressions of the users of an arm, since the start and in the time before it."""

    impressions_U: Counts
    clicks_U: Counts
    earlier_impressions_U: Counts
    earlier_clicks_U: Counts

    def __len__(self) -> int:
        return len(self.impressions_U)


@dataclass(slots=True)
class _User:
    number: int
    reached: list[float]
    """Two figures of each goal: since the start, and before it."""
    arms: set[str] = field(default_factory=set)
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    first: int = _NEVER
    """Time of the first impression in the experiment."""


@dataclass(slots=True)
class _Open:
    """An impression that can still be acted on."""

    user: _User
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
    window of a goal), and, if a goal is a return, 16 bytes for each impression since `since`. The clock is
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
        self._users: dict[str, _User] = {}
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
        counts = {name: [user.counts for user in users.values()] for name, users in self._assigned().items()}
        return {name: UnitCounts(*np.array(of, np.int64).reshape(-1, 4).T) for name, of in counts.items()}

    def goals(self) -> dict[str, dict[str, Floats]]:
        """By goal and arm, of its users: 1 (of a return: if it is known), the figure, and both before the start [4, U].

        Of a return nothing is known of before.
        """
        found: dict[str, dict[str, Floats]] = {goal.name: {} for goal in self._goals}
        users_V, times_V = (np.array(column, np.int64) for column in self._visits)
        firsts = np.array([user.first for user in self._users.values()], np.int64)
        back = {goal.name: returns(goal, firsts, users_V, times_V) for goal in self._goals if goal.kind == "return"}
        for arm, by_name in self._assigned().items():
            users = by_name.values()
            reached = np.array([user.reached for user in users], np.float64).reshape(len(users), 2 * len(self._goals)).T
            numbers, one = np.array([user.number for user in users], np.intp), np.ones(len(users))
            for place, goal in enumerate(self._goals):
                since, before = reached[2 * place : 2 * place + 2]
                if goal.kind == "return":
                    known, came = (column[numbers] for column in back[goal.name])
                    found[goal.name][arm] = np.stack([known, came, since, before])
                elif goal.kind == "conversion":
                    found[goal.name][arm] = np.stack([one, np.minimum(since, 1), one, np.minimum(before, 1)])
                else:
                    found[goal.name][arm] = np.stack([one, since, one, before])
        return found

    def watched(self, name: Watched) -> dict[str, Floats]:
        """What a guardrail watches, by arm: see `GuardrailCounts.columns`. Only with `watch`."""
        if self._watched is None:
            raise StateError("what guardrails watch was not counted: make these counts with watch=True")
        return self._watched.columns(name, self._assigned())

    @property
    def exposed_to_several(self) -> int:
        """Users who were shown more than one arm: by a change of weights, or by an error in assignment."""
        return sum(len(user.arms) > 1 for user in self._users.values())

    def _assigned(self) -> dict[str, dict[str, _User]]:
        """The users of each arm, by name, without those who were shown several."""
        found: dict[str, dict[str, _User]] = {arm.name: {} for arm in self._experiment.arms}
        for name, user in self._users.items():
            if len(user.arms) == 1:
                found[next(iter(user.arms))][name] = user
        return found

    def _user(self, name: str) -> _User:
        if name not in self._users:
            self._users[name] = _User(len(self._users), [0.0] * (2 * len(self._goals)))
        return self._users[name]

    def _forget(self, name: str) -> None:
        """Count nothing of a user who was erased, until the user comes back."""
        user = self._users.get(name)
        if user is not None:
            self._users[name] = _User(user.number, [0.0] * (2 * len(self._goals)))
            self._open = {id_: shown for id_, shown in self._open.items() if shown.user is not user}
            if self._watched:
                self._watched.forget(name)

    def _shown(self, name: str, time: int, user_name: str, said: dict[str, Any], items: Iterable[str]) -> None:
        if name in self._open:
            return
        earlier = time < self._since
        if self._returns and not earlier:
            self._visits[0].append(self._user(user_name).number)
            self._visits[1].append(time)
        if not earlier:
            if said["experiment"] != self._experiment.name or not self._experiment.lasts(time):
                return
            if said["arm"] not in self._arms:
                self.unknown_arms += 1
                return
        user = self._user(user_name)
        if not earlier:
            if self._watched:
                self._watched.count(user_name, said, first=not user.arms)
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
