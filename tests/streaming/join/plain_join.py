"""The joiner's rules once more, as plainly as they can be written: every step looks at everything there is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from streaming.events.schema import Erasure, Event, Impression, Interaction
from streaming.join.labeled_impression import LabelRule

Label = tuple[str, int, float, int, int, bool]
"""Impression, position, label, the clock at which it is known, the number of the event, whether it corrects."""


@dataclass
class Opened:
    """An impression whose window is open."""

    event: Impression
    number: int
    clock: int
    decided: dict[int, str] = field(default_factory=dict)
    clicked: set[int] = field(default_factory=set)
    silent: bool = False


class Moment(NamedTuple):
    """Something that happens when the clock reaches `clock`; windows close before silence is learned."""

    clock: int
    learns: bool
    order: tuple[int, int]
    opened: Opened


class PlainJoin:
    """Labels of `events`, pushed one by one. Silence is learned at `age`; `paced` or when the window closes."""

    def __init__(
        self, rule: LabelRule, wait: int, lateness: int, max_pending: int, memory: int, *, paced: bool, age: int
    ) -> None:
        self.rule, self.wait, self.lateness = rule, wait, lateness
        self.max_pending, self.memory, self.paced, self.age = max_pending, memory, paced, age
        self.clock = self.sequence = 0
        self.opened: list[Opened] = []
        self.held: list[tuple[int, Interaction]] = []
        self.closed: list[tuple[str, int]] = []
        self.counts, self.tallies = Counter[str](), Counter[str]()
        self.out: list[Label] = []

    def push(self, event: Event) -> None:
        self.sequence += 1
        if event.time > self.clock:
            self._move(event.time)
        if isinstance(event, Impression):
            self._show(event)
        elif isinstance(event, Interaction):
            self._act(event)
        else:
            self.counts["updates"] += 1
        if isinstance(event, Erasure):
            self.forget(event.user)

    def forget(self, user: str) -> None:
        own = [opened for opened in self.opened if opened.event.user == user]
        self.opened = [opened for opened in self.opened if opened not in own]
        self.tallies["forgotten"] += len(own)

    def flush(self) -> None:
        for opened in sorted(self.opened, key=lambda o: (o.event.time, o.number)):
            self._close(opened, min(opened.event.time + self.wait + self.lateness + 1, 2**63 - 1))
        self.counts["unmatched"] += len(self.held)
        self.held = []

    def _move(self, clock: int) -> None:
        """Everything that happens until `clock`, in its order."""
        moments = []
        for opened in self.opened:
            end = opened.event.time + self.wait
            moments.append(Moment(end + self.lateness + 1, False, (end, opened.number), opened))
            if self.paced and not opened.silent:
                due = opened.clock + self.age
                moments.append(Moment(due + 1, True, (due, opened.number), opened))
        self.clock = clock
        for moment in sorted(m for m in moments if m.clock <= clock):
            if not moment.learns:
                self._close(moment.opened, moment.clock)
            elif not moment.opened.silent:
                self._learn_silence(moment.opened, moment.clock)
        gone = [pair for pair in self.held if pair[1].time < clock - self.lateness]
        self.held = [pair for pair in self.held if pair not in gone]
        self.counts["unmatched"] += len(gone)

    def _show(self, event: Impression) -> None:
        if event.id in (o.event.id for o in self.opened) or event.id in (id_ for id_, _ in self.closed):
            self.counts["duplicate_impressions"] += 1
            return
        waiting = [acted for _, acted in self.held if acted.impression == event.id]
        self.held = [pair for pair in self.held if pair[1].impression != event.id]
        if event.time + self.wait < self.clock - self.lateness:
            self.counts["late_impressions"] += 1
            self.counts["late"] += len(waiting)
            self._remember(event.id, self.clock + self.memory)
            return
        self.counts["impressions"] += 1
        opened = Opened(event, self.sequence, self.clock)
        self.opened.append(opened)
        self._decide(opened, waiting)
        if len(self.opened) > self.max_pending:
            self.tallies["closed_early"] += 1
            self.tallies["closed"] -= 1
            self._close(min(self.opened, key=lambda o: (o.event.time, o.number)), self.clock)

    def _act(self, event: Interaction) -> None:
        found = [o for o in self.opened if o.event.id == event.impression]
        if event.action not in self.rule.actions:
            self.counts["ignored"] += 1
        elif found:
            self._decide(found[0], [event])
        elif event.impression in (id_ for id_, _ in self.closed):
            self.counts["late"] += 1
        elif event.time < self.clock - self.lateness:
            self.counts["unmatched"] += 1
        else:
            self.held.append((self.sequence, event))
            if len(self.held) > self.max_pending:
                self.held.remove(min(self.held, key=lambda pair: (pair[1].time, pair[0])))
                self.counts["unmatched"] += 1

    def _decide(self, opened: Opened, interactions: list[Interaction]) -> None:
        for event in interactions:
            outcome = self._outcome(opened, event)
            self.counts[outcome] += 1
            if outcome == "joined":
                self._label(opened, opened.event.items.index(event.item), event)

    def _outcome(self, opened: Opened, event: Interaction) -> str:
        if event.time > opened.event.time + self.wait:
            return "late"
        if event.item not in opened.event.items:
            return "unknown_items"
        action = opened.decided.get(opened.event.items.index(event.item))
        return "joined" if action is None else "duplicates" if action == event.action else "duplicate_labels"

    def _label(self, opened: Opened, position: int, event: Interaction) -> None:
        opened.decided[position] = event.action
        label = self.rule.label(event.value)
        self.tallies["positives" if label else "negatives"] += 1
        if label:
            opened.clicked.add(position)
        if opened.silent and label:
            self.tallies["corrected"] += 1
        if self.paced and (label or not opened.silent):
            self._give_out(opened, position, label, self.clock, corrects=opened.silent)

    def _learn_silence(self, opened: Opened, known: int) -> None:
        opened.silent = True
        for position in range(len(opened.event.items)):
            if position not in opened.decided:
                self._give_out(opened, position, 0.0, known)

    def _close(self, opened: Opened, known: int) -> None:
        self.tallies["closed"] += 1
        self.tallies["negatives"] += len(opened.event.items) - len(opened.decided)
        if not self.paced:
            for position in range(len(opened.event.items)):
                self._give_out(opened, position, float(position in opened.clicked), known)
        elif not opened.silent:
            self._learn_silence(opened, known)
        opened.silent = True
        self.opened.remove(opened)
        self._remember(opened.event.id, max(opened.event.time + self.wait, self.clock) + self.memory)

    def _remember(self, id_: str, until: int) -> None:
        self.closed.append((id_, until))
        while self.closed[0][1] < self.clock - self.lateness or len(self.closed) > self.max_pending:
            del self.closed[0]

    def _give_out(self, opened: Opened, position: int, label: float, known: int, *, corrects: bool = False) -> None:
        self.out.append((opened.event.id, position, label, known, self.sequence, corrects))
