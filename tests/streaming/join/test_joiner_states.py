"""The joiner under any stream: against a plain model, and against itself cut into batches and restored anywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from streaming.events.schema import Erasure, Event, Impression, Interaction, UserUpdate
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabeledImpression, LabelRule, Labels
from tests.streaming.fixed_age import FixedAge
from tests.streaming.join.plain_join import Label, PlainJoin

LAST = 2**63 - 1
YEAR = 366 * 86_400_000
RULE = LabelRule(frozenset({"click", "buy"}), min_value=0.5)
SMALL = {"ENOUGH": 2, "REFRESH": 3, "MEMORY": 40, "MOVED": 0.01}
"""Constants of the estimate of delays at which a short stream gets one, again and again."""

names, items, users = st.sampled_from("ABCDEFGH"), st.sampled_from("wxyz"), st.sampled_from("uv")
steps = st.one_of(st.integers(-40, 40), st.just(0), st.sampled_from([YEAR, 10 * YEAR, -YEAR]))
actions = st.sampled_from(["click", "click", "buy", "view"])
values = st.sampled_from([1.0, 0.0, -1.0, -1e308, 1e308])


def flat(impressions: Sequence[LabeledImpression]) -> Iterator[Label]:
    for e in impressions:
        for position, label in zip(e.positions, e.labels, strict=True):
            yield e.id, position, label, e.decided, e.sequence, e.learned


def pushed(joiner: Joiner, events: Sequence[Event]) -> list[LabeledImpression]:
    """Labels of events, after each erasure of which its user is forgotten."""
    out: list[LabeledImpression] = []
    start = 0
    for n, event in enumerate(events, 1):
        if isinstance(event, Erasure):
            out += joiner.push(encode_events(events[start:n]))
            joiner.forget(event.user)
            start = n
    return out + joiner.push(encode_events(events[start:]))


class Streams(RuleBasedStateMachine):
    """Joiners of the same stream: one event at a time (`whole`), and in batches with restarts (`cut`)."""

    @initialize(
        wait=st.integers(0, 30),
        lateness=st.integers(0, 20),
        max_pending=st.integers(1, 6),
        memory=st.integers(0, 60),
        labels=st.sampled_from(["paced", "held"]),
        age=st.sampled_from([0, 7, 30, None]),
        start=st.sampled_from([0, 1_700_000_000_000, LAST - 100]),
    )
    def start(self, wait: int, lateness: int, max_pending: int, memory: int, labels: Labels, **how: Any) -> None:
        self.bounds: dict[str, Any] = {"wait": wait, "lateness": lateness, "max_pending": max_pending, "memory": memory}
        self.labels, self.age = labels, how["age"]
        self.clock: int = how["start"]
        self.stack = ExitStack()
        for name, value in SMALL.items():
            self.stack.enter_context(patch(f"streaming.join.click_delays.{name}", value))
        age = self.age if self.age is not None else 0
        self.model = PlainJoin(RULE, **self.bounds, paced=labels == "paced", age=age)
        self.whole, self.cut = self.joiner(), self.joiner()
        self.events: list[Event] = []
        self.found: list[Label] = []
        self.found_cut: list[Label] = []
        self.saved: tuple[bytes, int] | None = None

    def joiner(self) -> Joiner:
        delays = FixedAge(self.age) if self.age is not None else None
        return Joiner(RULE, **self.bounds, labels=self.labels, delays=delays)

    def time(self, step: int) -> int:
        """So far from the clock, which never falls."""
        time = min(max(self.clock + step, 0), LAST)
        self.clock = max(self.clock, time)
        return time

    def take(self, event: Event) -> None:
        self.events.append(event)
        self.model.push(event)
        self.found += flat(pushed(self.whole, [event]))

    @rule(id_=names, step=steps, user=users, shown=st.lists(items, min_size=1, unique=True))
    def show(self, id_: str, step: int, user: str, shown: list[str]) -> None:
        self.take(Impression(id=id_, time=self.time(step), user=user, items=shown))

    @rule(id_=names, step=steps, item=items, action=actions, value=values)
    def act(self, id_: str, step: int, item: str, action: str, value: float) -> None:
        self.take(Interaction(time=self.time(step), impression=id_, item=item, action=action, value=value))

    @rule(step=steps)
    def update(self, step: int) -> None:
        self.take(UserUpdate(time=self.time(step), user="u", features={}))

    @rule(user=users)
    def erase(self, user: str) -> None:
        self.take(Erasure(time=self.clock, user=user))

    @precondition(lambda self: self.events)
    @rule(back=st.integers(1, 10))
    def repeat(self, back: int) -> None:
        self.take(self.events[-min(back, len(self.events))])

    @rule()
    def push(self) -> None:
        """What came since the last push, as one batch."""
        new = self.events[self.cut.sequence :]
        self.found_cut += flat(pushed(self.cut, new))
        self.compare()

    @rule()
    def restart(self) -> None:
        state = self.cut.state()
        self.cut = self.joiner()
        self.cut.restore(state)
        assert self.cut.state() == state

    @rule()
    def save(self) -> None:
        self.saved = self.cut.state(), len(self.found_cut)

    @precondition(lambda self: self.saved is not None)
    @rule()
    def go_back(self) -> None:
        """A joiner that has gone on forgets what it knows when an earlier state is restored."""
        assert self.saved is not None
        state, found = self.saved
        self.cut.restore(state)
        assert self.cut.state() == state
        del self.found_cut[found:]

    def compare(self) -> None:
        assert self.found_cut == self.found
        assert (self.cut.counts, self.cut.tallies) == (self.whole.counts, self.whole.tallies)
        assert self.cut.state() == self.whole.state()
        assert all(label[3] <= LAST for label in self.found)
        assert sum(self.whole.counts.values()) == len(self.events)
        self.compare_with_model()

    def compare_with_model(self) -> None:
        counts = self.model.counts | {"held": len(self.model.held)}
        assert {name: n for name, n in self.whole.counts.items() if n} == {n: c for n, c in counts.items() if c}
        assert self.whole.pending == len(self.model.opened)
        tallies = {name: n for name, n in self.model.tallies.items() if n}
        if self.age is not None or self.labels == "held":
            assert self.found == self.model.out
            assert {name: n for name, n in self.whole.tallies.items() if n} == tallies
        else:  # only the moment at which silence is learned is not the model's
            erased = {event.user for event in self.events if isinstance(event, Erasure)}
            shown = [event for event in self.events if isinstance(event, Impression)]
            kept = {event.id for event in shown} - {event.id for event in shown if event.user in erased}
            assert final(self.found, kept) == final(self.model.out, kept)

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        with self.stack:
            self.push()
            self.model.flush()
            self.found += flat(self.whole.flush())
            self.found_cut += flat(self.cut.flush())
            self.compare()


def final(labels: Sequence[Label], ids: Collection[str]) -> dict[tuple[str, int], float]:
    """The last label of each position of these impressions, which counts."""
    return {(id_, position): label for id_, position, label, *_ in labels if id_ in ids}


TestStreams = Streams.TestCase
TestStreams.settings = settings(stateful_step_count=60, max_examples=60, deadline=None)
TestStreams = pytest.mark.slow(TestStreams)
