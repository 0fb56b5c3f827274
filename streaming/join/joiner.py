"""Impressions and what users did with them, joined in event time.

The clock is the largest event time seen; the watermark is the clock less `lateness`. An impression waits for
interactions up to and including its time + `wait`; when the watermark passes that moment its window closes. What comes
out depends on the sequence of events alone: not on how it is cut into batches, nor on where state is saved.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import pyarrow as pa

from recsys.errors import InvalidValueError, StateError
from streaming.events.columns import IMPRESSION, INTERACTION, kinds, times
from streaming.join.columns_to_rows import InteractionRow, impressions, interactions
from streaming.join.early_interactions import EarlyInteractions
from streaming.join.labeled_impression import LabeledImpression, LabelRule
from streaming.join.labeler import Labeler
from streaming.join.open_impression import OpenImpression
from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.recently_closed import RecentlyClosed
from streaming.join.silence.click_delays import ClickDelays
from streaming.join.silence.silences import Due, Silences
from streaming.join.window_queue import WindowQueue

__all__ = ["OUTCOMES", "TALLIES", "Joiner", "LabelRule", "LabeledImpression", "Labels"]

Labels = Literal["paced", "held"]
"""When labels are given out: a click at once and silence at the pace of clicks, or all when the window closes."""

MAX_PENDING = 200_000
"""Most impressions that are open at once."""


LAST = 2**63 - 1
"""The last event time there is (ms)."""


class _JoinerState(msgspec.Struct):
    """`held` is by number; `closed` has ids and when to forget them, oldest first."""

    clock: int
    sequence: int
    counts: dict[str, int]
    tallies: dict[str, int]
    waiting: list[OpenImpression]
    silences: tuple[bytes, int, list[Due]]
    held: list[tuple[int, InteractionRow]]
    closed: list[tuple[str, int]]


class Joiner:
    """Labels the positions of impressions.

    With `labels="paced"` a label is given out when an interaction decides it, and the items that nobody has decided are
    given out as negative at an age drawn from the delays of clicks (see `ClickDelays`): at any moment and under any
    traffic, clicks and items are in the proportion of the true rate. An item that is clicked after that comes out once
    more, positive and `learned`. With `labels="held"` each item comes out once, with its final label, when its window
    closes. Either way no label is known before it would have been live.

    At most `max_pending` impressions wait (beyond that the oldest closes early, and is counted) and as many
    interactions are held for an impression that is yet to come. Ids of closed impressions are remembered for `memory`
    of event time, `max_pending` of them at most, so that late interactions differ from unmatched ones, and duplicate
    impressions from new ones. All durations are in ms of event time. `task` is the number of the task that is labelled.
    """

    def __init__(
        self,
        rule: LabelRule,
        wait: int,
        lateness: int,
        max_pending: int = MAX_PENDING,
        memory: int = 3_600_000,
        labels: Labels = "paced",
        delays: ClickDelays | None = None,
        task: int = 0,
    ) -> None:
        for name, value, least in (("wait", wait, 0), ("lateness", lateness, 0), ("max_pending", max_pending, 1)):
            if value < least:
                raise InvalidValueError(f"{name} is {value}; it must be at least {least}")
        self.rule, self.wait, self.lateness, self._window = rule, wait, lateness, wait + lateness
        self._max_pending, self._memory = max_pending, memory
        self._clock = self._sequence = 0
        self._open: dict[str, OpenImpression] = {}
        self._paced = labels == "paced"
        self._silences = Silences(delays or ClickDelays(wait), wait + lateness)
        self._labeler = Labeler(rule, wait, self._silences, paced=self._paced, task=task)
        self._counts, self._tallies = self._labeler.counts, self._labeler.tallies
        self._waiting = WindowQueue()
        self._held = EarlyInteractions(max_pending)
        self._closed = RecentlyClosed(max_pending)

    @property
    def counts(self) -> dict[str, int]:
        """Events by outcome (see `OUTCOMES`); the sum is the number of events pushed."""
        return {**self._counts, "held": len(self._held)}

    @property
    def tallies(self) -> dict[str, int]:
        """Final labels by value, silences that a click corrected, and windows by how they closed."""
        return dict(self._tallies)

    @property
    def pending(self) -> int:
        """Impressions whose window is open."""
        return len(self._open)

    @property
    def sequence(self) -> int:
        """Events pushed so far."""
        return self._sequence

    @property
    def watermark(self) -> int:
        """No window that ends before this event time is open."""
        return self._clock - self.lateness

    def push(self, events: pa.RecordBatch) -> list[LabeledImpression]:
        """Take events (`EVENT_SCHEMA`); returns the labels they decided, in the order in which they became known."""
        shown, acted = impressions(events), interactions(events)
        for kind, time in zip(kinds(events).tolist(), times(events).tolist(), strict=True):
            self._sequence += 1
            if time > self._clock:
                self._advance(time)
            if kind == INTERACTION:
                self._act(next(acted))
            elif kind == IMPRESSION:
                self._show(next(shown))
            else:
                self._counts["updates"] += 1
        return self._labeler.take_out()

    def skip(self, events: pa.RecordBatch) -> list[LabeledImpression]:
        """Take only the times of events, which another joiner joins: windows close as if they were joined here."""
        for time in times(events).tolist():
            self._sequence += 1
            if time > self._clock:
                self._advance(time)
        self._counts["elsewhere"] += events.num_rows
        return self._labeler.take_out()

    def flush(self) -> list[LabeledImpression]:
        """End of a finite log: every window closes, every held interaction is unmatched."""
        while self._open:
            self._close()
        self._counts["unmatched"] += self._held.clear()
        return self._labeler.take_out()

    def state(self) -> bytes:
        """All that the future depends on, but not the settings."""
        for shown in self._open.values():
            shown.places = None
        state = _JoinerState(
            self._clock,
            self._sequence,
            self._counts,
            self._tallies,
            list(self._waiting),
            self._silences.state(),
            self._held.dump(),
            self._closed.dump(),
        )
        return msgspec.msgpack.encode(state)

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not a joiner's."""
        try:
            loaded = msgspec.msgpack.decode(state, type=_JoinerState)
            self._silences.restore(loaded.silences, loaded.waiting)
        except (msgspec.DecodeError, KeyError) as error:
            raise StateError(f"not a joiner's state: {error}") from error
        self._clock, self._sequence = loaded.clock, loaded.sequence
        self._counts.update(loaded.counts)
        self._tallies.update(loaded.tallies)
        self._open = {shown.id: shown for shown in loaded.waiting}
        self._waiting = WindowQueue()
        for shown in loaded.waiting:
            self._waiting.push(shown)
        self._held.load(loaded.held)
        self._closed.load(loaded.closed)

    def _advance(self, clock: int) -> None:
        """The clock moves on. What became known meanwhile comes out in the order in which it did."""
        self._clock = clock
        due, waiting = self._silences.queue, self._waiting
        while due.first < clock:
            moment, _, shown = due.pop()
            if waiting.first <= moment - self._window:
                self._close_until(moment - self._window)
            if not shown.silent:
                self._labeler.learn_silence(shown, moment + 1, self._sequence)
        if waiting.first < clock - self._window:
            self._close_until(clock - self._window - 1)
        if self._held.by_impression:
            self._counts["unmatched"] += self._held.expire(clock - self.lateness)

    def _close_until(self, time: int) -> None:
        """Close the windows of impressions up to `time`."""
        while self._waiting.first <= time:
            self._close()

    def _show(self, shown: OpenImpression) -> None:
        id_ = shown.id
        if id_ in self._open or id_ in self._closed.ids:
            self._counts["duplicate_impressions"] += 1
        elif shown.time < self._clock - self._window:
            self._counts["late_impressions"] += 1
            self._counts["late"] += len(self._held.take(id_))
            self._closed.add(id_, self._clock + self._memory, self.watermark)
        else:
            self._counts["impressions"] += 1
            self._open[id_] = shown
            shown.number, shown.clock = self._sequence, self._clock
            self._waiting.push(shown)
            if self._paced:
                self._silences.add(shown, self._clock, self._open.values())
            if id_ in self._held.by_impression:
                self._labeler.decide(shown, self._held.take(id_), self._clock, self._sequence)
            if len(self._open) > self._max_pending:
                self._close(early=True)
                self._silences.prune(2 * self._max_pending)

    def _act(self, acted: InteractionRow) -> None:
        if acted.action not in self.rule.actions:
            self._counts["ignored"] += 1
        elif (shown := self._open.get(acted.impression)) is not None:
            self._labeler.decide(shown, (acted,), self._clock, self._sequence)
        elif acted.impression in self._closed.ids:
            self._counts["late"] += 1
        elif acted.time < self.watermark:
            self._counts["unmatched"] += 1
        else:
            self._counts["unmatched"] += self._held.add(self._sequence, acted)

    def _close(self, early: bool = False) -> None:
        """Close the oldest window. Its labels are known when the watermark passes its end; if it is `early`, now."""
        shown = self._waiting.pop()
        clock, end = self._clock, shown.time + self.wait
        del self._open[shown.id]
        self._closed.add(shown.id, (end if end > clock else clock) + self._memory, clock - self.lateness)
        self._tallies["closed_early" if early else "closed"] += 1
        known = clock if early else end + self.lateness + 1
        self._labeler.close(shown, known if known < LAST else LAST, self._sequence)
